"""Plants that are not affine in their inputs: features of the inputs."""

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from koopman_control import KoopmanMPC, Search
from koopman_control.common.arrays import Array
from koopman_control.features import Coordinates, PolynomialFeatures, SampledFeatures
from koopman_control.identification import (
    EDMDc,
    LiftedModel,
    Rollout,
    adapt,
    reduced,
    refine_over_horizon,
    stabilized,
    to_dlti,
)
from koopman_control.identification.regression import Coupling
from koopman_control.trajectories import Trajectory

Plant = Callable[[Array, Array], Array]


def plant(x: Array, u: Array) -> Array:
    """x+ = a x + b u^2 + c x u^3."""
    return 0.8 * x + 0.5 * u**2 - 0.3 * x * u**3


def runs(step: Plant = plant, n_runs: int = 6, seed: int = 0, n: int = 1) -> list[Trajectory]:
    rng, data = np.random.default_rng(seed), []
    for _ in range(n_runs):
        x, U = [rng.normal(size=n)], rng.uniform(-1.0, 1.0, (40, n))
        for u in U:
            x.append(step(x[-1], u))
        box = np.array([[-1.0] * n, [1.0] * n])
        data.append(Trajectory(np.array(x), U, dt=0.1, action_bounds=box))
    return data


def fitted(coupling: Coupling = "bilinear", data: list[Trajectory] | None = None) -> LiftedModel:
    return (
        EDMDc(
            PolynomialFeatures(1),
            coupling=coupling,
            input_features=PolynomialFeatures(3),
            regularization=0.0,
        )
        .fit(runs() if data is None else data)
        .model_
    )


@pytest.mark.parametrize("rollout", ["bilinear", "relifted"])
def test_a_plant_with_powers_of_its_input_is_recovered_exactly(rollout: Rollout) -> None:
    unseen = runs(n_runs=1, seed=9)[0]
    predicted = fitted().predict(unseen.observations[0], unseen.actions, rollout)
    np.testing.assert_allclose(predicted, unseen.observations[1:], atol=1e-10)


@pytest.mark.parametrize("rollout", ["linear", "relifted"])
def test_without_couplings_the_input_enters_by_its_features_alone(rollout: Rollout) -> None:
    def hammerstein(x: Array, u: Array) -> Array:
        return 0.8 * x + 0.5 * u**2 - u**3

    unseen = runs(hammerstein, n_runs=1, seed=9)[0]
    model = fitted("linear", runs(hammerstein))
    predicted = model.predict(unseen.observations[0], unseen.actions, rollout)
    np.testing.assert_allclose(predicted, unseen.observations[1:], atol=1e-10)
    plain = EDMDc(PolynomialFeatures(1)).fit(runs(hammerstein)).model_
    assert np.abs(plain.predict(unseen.observations[0], unseen.actions) - predicted).max() > 0.1


def two_inputs(x: Array, u: Array) -> Array:
    return np.array([0.9 * x[0] + 0.1 * np.sin(x[1]) + u[0] * u[1], 0.8 * x[1] + u[1] ** 2 * x[0]])


@pytest.mark.parametrize(
    ("coupling", "rollout"),
    [
        ("linear", "linear"),
        ("linear", "relifted"),
        ("bilinear", "bilinear"),
        ("bilinear", "relifted"),
    ],
)
def test_sensitivities_match_finite_differences(coupling: Coupling, rollout: Rollout) -> None:
    estimator = EDMDc(
        SampledFeatures(8, random_state=0),
        coupling=coupling,
        input_features=PolynomialFeatures(2),
        horizon=5,
    )
    model = estimator.fit(runs(two_inputs, n=2)).model_
    rng = np.random.default_rng(1)
    x0, U = rng.normal(size=2), rng.uniform(-1.0, 1.0, (4, 2))
    _, Gamma = model.linearize(x0, U, rollout)
    assert Gamma.shape == (8, 8)
    for j in range(U.size):
        h = np.zeros(U.size)
        h[j] = 1e-6
        above, below = (
            model.predict(x0, U + sign * h.reshape(U.shape), rollout) for sign in (1.0, -1.0)
        )
        np.testing.assert_allclose(Gamma[:, j], (above - below).ravel() / 2e-6, atol=1e-7)
    F, G = model.one_step.jacobians(x0[None], U[:1])
    step = np.array([[1e-6, 0.0]])
    measured = (
        model.one_step.step(x0[None] + step, U[:1]) - model.one_step.step(x0[None] - step, U[:1])
    ) / 2e-6
    np.testing.assert_allclose(F[0, :, 0], measured[0], atol=1e-8)
    assert G.shape == (1, 2, 2)


def test_a_saved_model_predicts_the_same_bits(tmp_path: Path) -> None:
    model, U = fitted(), runs(seed=3)[0].actions
    model.save(tmp_path / "model.npz")
    loaded = LiftedModel.load(tmp_path / "model.npz")
    assert loaded.n_inputs == 1
    for rollout in ("bilinear", "relifted"):
        expected = model.predict([0.3], U, rollout)
        np.testing.assert_array_equal(loaded.predict([0.3], U, rollout), expected)


def test_a_controller_plans_through_them() -> None:
    mpc = KoopmanMPC(
        fitted(), 5, Q=1.0, R=1e-6, reference=0.5, rollout="relifted", search=Search(iterations=5)
    )
    x = np.array([0.0])
    for _ in range(10):
        x = plant(x, mpc.act(x))
    np.testing.assert_allclose(x, 0.5, atol=1e-3)


def test_a_linear_controller_refuses_them() -> None:
    model = fitted("linear", runs(lambda x, u: 0.8 * x + u**2))
    with pytest.raises(ValueError, match="not linear in its inputs, and the linear roll-out"):
        KoopmanMPC(model, 5, Q=1.0, rollout="linear")


def test_what_needs_plain_inputs_says_so() -> None:
    data = runs(lambda x, u: 0.8 * x + u**2)
    model = fitted("linear", data)
    for change in (
        lambda: reduced(model, 1),
        lambda: adapt(model, data),
        lambda: to_dlti(model),
    ):
        with pytest.raises(ValueError, match="the model has input_features"):
            change()


def test_corrections_keep_an_exact_model_exact() -> None:
    data = runs(lambda x, u: 0.8 * x + u**2)
    model, unseen = fitted("linear", data), data[0]
    for other in (
        refine_over_horizon(model, data, 5),
        stabilized(model, 0.9, data),
    ):
        predicted = other.predict(unseen.observations[0], unseen.actions, "linear")
        np.testing.assert_allclose(predicted, unseen.observations[1:], atol=1e-8)


def test_continued_fits_and_scores_keep_the_features_of_the_first_data() -> None:
    estimator = EDMDc(
        PolynomialFeatures(1),
        coupling="bilinear",
        input_features=SampledFeatures(5, random_state=0),
        horizon=3,
    )
    fit = estimator.partial_fit(runs()).partial_fit(runs(seed=1))
    assert fit.score(runs(seed=2)) > -0.05
    assert fit.score_left_out(runs(), runs(seed=2)) > -0.05


def test_inputs_with_too_few_levels_for_their_powers_are_noticed() -> None:
    rng, data = np.random.default_rng(0), []
    for _ in range(4):
        x, U = [rng.normal(size=1)], rng.choice([-1.0, 0.0, 1.0], (40, 1))
        for u in U:
            x.append(0.8 * x[-1] + u)
        data.append(Trajectory(np.array(x), U))
    with pytest.warns(UserWarning, match="take 3 different values in data, which leaves their 3"):
        EDMDc(PolynomialFeatures(1), input_features=PolynomialFeatures(3), regularization=1e-9).fit(
            data
        )


def test_what_is_no_feature_map_is_refused() -> None:
    with pytest.raises(TypeError, match="input_features is 'poly'; expected a feature map"):
        EDMDc(input_features="poly").fit(runs())  # type: ignore[arg-type]


def test_with_a_memory_the_past_inputs_stay_plain(tmp_path: Path) -> None:
    estimator = EDMDc(
        PolynomialFeatures(1), input_features=PolynomialFeatures(2), memory=2, regularization=0.0
    )
    model = estimator.fit(runs(lambda x, u: 0.8 * x + u**2)).model_
    assert model.coordinates == Coordinates(1, (0,), 2, 1)
    model.save(tmp_path / "model.npz")
    assert LiftedModel.load(tmp_path / "model.npz").coordinates == model.coordinates
