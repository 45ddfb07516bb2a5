import re
from typing import Any

import numpy as np
import pytest
from sklearn.base import clone

from koopman_control.common.arrays import Array
from koopman_control.features import SampledFeatures
from koopman_control.identification import EDMDc, LeastSquares, LiftedModel, prediction_error
from koopman_control.trajectories import Trajectory

A = np.array([[0.9, 0.2], [-0.3, 0.8]])
B = np.array([[0.0, 0.5], [1.0, -0.2]])
N = np.array([[[0.1, 0.0], [0.2, -0.1]], [[0.0, 0.3], [0.0, 0.1]]])
FEW = SampledFeatures(3, random_state=0)


def run(
    n_steps: int, seed: int, couplings: Array = 0.0 * N, noise: float = 0.0, **known: Any
) -> Trajectory:
    """Simulate x+ = (A + sum_i u_i N_i) x + B u."""
    rng = np.random.default_rng(seed)
    U = rng.uniform(-1.0, 1.0, (n_steps, 2))
    X = [rng.normal(size=2)]
    for u in U:
        X.append((A + np.tensordot(u, couplings, 1)) @ X[-1] + B @ u)
    measured = np.array(X) + noise * rng.normal(size=(n_steps + 1, 2))
    return Trajectory(measured, U, **known)


def runs(n_runs: int = 6, n_steps: int = 20, **settings: Any) -> list[Trajectory]:
    return [run(n_steps, seed, **settings) for seed in range(n_runs)]


def jacobians(model: LiftedModel, x: Array, u: Array) -> tuple[Array, Array]:
    F, G = model.one_step.jacobians(x[None], u[None])
    return F[0], G[0]


@pytest.mark.parametrize("data", [runs(), runs(n_runs=120, n_steps=1), run(120, seed=0)])
def test_a_linear_plant_is_recovered(data: list[Trajectory] | Trajectory) -> None:
    model = EDMDc(FEW, regularization=0.0).fit(data).model_
    rng = np.random.default_rng(9)
    for _ in range(5):
        F, G = jacobians(model, rng.normal(size=2), rng.normal(size=2))
        np.testing.assert_allclose(F, A, atol=1e-10)
        np.testing.assert_allclose(G, B, atol=1e-10)
    np.testing.assert_allclose(model.C @ model.B, B, atol=1e-10)
    held_out = run(50, seed=99)
    for rollout in ("linear", "relifted"):
        predicted = model.predict(held_out.observations[0], held_out.actions, rollout)
        np.testing.assert_allclose(predicted, held_out.observations[1:], atol=1e-8)


def test_a_bilinear_plant_is_recovered() -> None:
    data = runs(couplings=N)
    model = EDMDc(FEW, coupling="bilinear", regularization=0.0).fit(data).model_
    rng = np.random.default_rng(9)
    for _ in range(5):
        x, u = rng.normal(size=2), rng.normal(size=2)
        F, G = jacobians(model, x, u)
        np.testing.assert_allclose(F, A + np.tensordot(u, N, 1), atol=1e-9)
        np.testing.assert_allclose(G, B + (N @ x).T, atol=1e-9)
    held_out = run(50, seed=99, couplings=N)
    for rollout in ("bilinear", "relifted"):
        assert prediction_error(model, held_out, 20, rollout).max() < 1e-7


def test_linear_coupling_does_not_suffice_for_a_bilinear_plant() -> None:
    data = runs(couplings=N)
    scores = [EDMDc(FEW, coupling=c).fit(data).choices_[0].score for c in ("linear", "bilinear")]
    assert scores[0] > 0.05
    assert scores[1] < 1e-6


def rotation(n_steps: int, seed: int) -> tuple[Trajectory, Array]:
    """Turn by 0.3 + 0.1 u a step; the angle is seen as (cosine, sine)."""
    U = np.random.default_rng(seed).uniform(-1.0, 1.0, (n_steps, 1))
    theta = seed + np.concatenate([[0.0], np.cumsum(0.3 + 0.1 * U[:, 0])])
    return Trajectory(np.stack([np.cos(theta), np.sin(theta)], axis=1), U), theta


def test_a_turning_plant_is_recovered_across_the_seam() -> None:
    data = [rotation(60, seed)[0] for seed in range(3)]
    model = EDMDc(FEW, angles=[(0, 1)], regularization=0.0).fit(data).model_
    held_out, theta = rotation(100, seed=7)  # about five turns
    x0 = model.state(held_out.observations[0])
    for rollout in ("linear", "relifted"):
        predicted = model.predict(x0, held_out.actions, rollout)[:, 0]
        np.testing.assert_allclose(predicted - x0[0], theta[1:] - theta[0], atol=1e-8)
    assert prediction_error(model, held_out, 50).max() < 1e-8
    assert model.state_names == ("angle",)


def test_no_snapshot_pair_crosses_a_reset() -> None:
    far = Trajectory(run(30, seed=1).observations + 1e6, run(30, seed=1).actions)
    model = EDMDc(FEW).fit([run(30, seed=0), run(30, seed=2), far]).model_
    assert model.summary["n_samples"] == 90  # and not 92
    joined = EDMDc(FEW, regularization=0.0).fit(runs()).model_
    np.testing.assert_allclose(jacobians(joined, np.ones(2), np.ones(2))[0], A, atol=1e-10)


def test_the_same_seed_gives_the_same_bits() -> None:
    first, second = (
        EDMDc(SampledFeatures(10, random_state=4)).fit(runs(noise=0.1)).model_ for _ in range(2)
    )
    np.testing.assert_array_equal(first.A, second.A)
    np.testing.assert_array_equal(first.B, second.B)
    assert first.summary == second.summary


def test_noise_asks_for_more_regularisation() -> None:
    features = SampledFeatures(25, random_state=0)
    clean, noisy = (
        EDMDc(features).fit(runs(noise=noise)).choices_[0].regularization for noise in (0.0, 0.3)
    )
    assert noisy >= 1e4 * clean


def test_the_best_of_several_candidates_is_kept() -> None:
    x = np.random.default_rng(0).uniform(-1.0, 1.0, (400, 1))
    u = np.random.default_rng(1).uniform(-1.0, 1.0, (400, 1))
    steps = [  # x+ = sin(3 x) + u / 10, which one neuron cannot follow
        Trajectory(np.stack([a, np.sin(3.0 * a) + 0.1 * b]), b[None])
        for a, b in zip(x, u, strict=True)
    ]
    candidates = [SampledFeatures(h, random_state=0) for h in (1, 30)]
    fit = EDMDc(candidates, horizon=1).fit(steps)
    assert fit.model_.summary["n_features"] == 30
    scores = [choice.score for choice in fit.choices_]
    assert scores == sorted(scores)
    assert len(scores) == 2 * 13


def test_candidates_with_more_unknowns_than_samples_are_passed_over() -> None:
    candidates = [SampledFeatures(h, random_state=0) for h in (500, 5)]
    fit = EDMDc(candidates).fit(runs())
    assert {choice.features.n_features for choice in fit.choices_} == {5}


def test_a_state_that_never_moves_stays_where_it_is() -> None:
    data = [
        Trajectory(np.column_stack([t.observations, np.full(21, 0.1)]), t.actions) for t in runs()
    ]
    model = EDMDc(FEW).fit(data).model_
    predicted = model.predict([1.0, 1.0, 0.1], np.ones((50, 2)))
    np.testing.assert_allclose(predicted[:, 2], 0.1, atol=1e-10)
    F, _ = jacobians(model, np.array([1.0, 1.0, 0.1]), np.ones(2))
    np.testing.assert_allclose(F[:2, :2], A, atol=1e-8)


@pytest.mark.parametrize("value", [0.0, 0.1, 3.0])
@pytest.mark.parametrize("coupling", ["linear", "bilinear"])
def test_an_input_that_never_moves_is_named_and_has_no_effect(coupling: Any, value: float) -> None:
    data = []
    for t in runs():
        U = np.column_stack([t.actions, np.full(20, value)])
        data.append(Trajectory(t.observations, U, action_names=("left", "right", "brake")))
    with pytest.warns(UserWarning, match=r"action column 2 \(brake\) never moves"):
        model = EDMDc(FEW, coupling=coupling, regularization=0.0).fit(data).model_
    _, G = jacobians(model, np.ones(2), np.ones(3))
    np.testing.assert_allclose(G[:, :2], B, atol=1e-8)
    np.testing.assert_array_equal(G[:, 2], 0.0)


def test_short_runs_say_nothing_about_long_predictions() -> None:
    fit = EDMDc(FEW, horizon=50).fit(runs(n_steps=20))
    assert all(len(error) == 20 for error in fit.cv_error_.values())
    assert set(fit.cv_error_) == {"linear", "relifted"}
    assert all(error.max() < 1e-6 for error in fit.cv_error_.values())


def test_scores_are_zero_for_a_perfect_model_and_minus_one_for_a_hopeless_one() -> None:
    fit = EDMDc(FEW).fit(runs())
    held_out = [run(40, seed=50), run(40, seed=51)]
    assert -1e-6 < fit.score(held_out) <= 0.0
    assert -1e-6 < fit.score_left_out(runs(), held_out) <= 0.0
    opposite = [Trajectory(t.observations, -t.actions) for t in held_out]
    assert -1.0 <= fit.score(opposite) < -0.5


def test_settings_survive_cloning() -> None:
    fit = EDMDc([FEW], coupling="bilinear", angles=[(0, 1)], horizon=7)
    assert clone(fit).get_params()["horizon"] == 7


@pytest.mark.parametrize(
    ("settings", "error", "message"),
    [
        (
            {"coupling": "cubic"},
            ValueError,
            "coupling is 'cubic'; expected one of linear, bilinear",
        ),
        ({"rollout": "bilinear"}, ValueError, "rollout is 'bilinear'; with coupling='linear'"),
        ({"regularization": -1.0}, ValueError, 'expected "cv" or a number of at least 0'),
        ({"regularization": float("nan")}, ValueError, "expected a number or one of cv"),
        ({"regularization": "auto"}, ValueError, "expected a number or one of cv"),
        ({"input_delay": -2}, ValueError, "input_delay is -2"),
        ({"least_squares": "lasso"}, TypeError, "least_squares is 'lasso'; expected"),
        ({"corrections": 0.9}, TypeError, "corrections is 0.9; expected"),
        ({"horizon": 0}, ValueError, "horizon is 0"),
        ({"n_folds": 1}, ValueError, "n_folds is 1"),
        ({"states": [0, 2]}, ValueError, "between 0 and 1"),
        ({"angles": [(0, 1, 2)]}, TypeError, "expected a sequence with an integer or a tuple"),
        ({"angles": [(0, 1)]}, ValueError, "expected a cosine and a sine"),
        ({"features": []}, ValueError, "features is an empty list"),
        ({"features": "sampled"}, TypeError, "features is 'sampled'; expected a feature map"),
        ({"features": SampledFeatures(0)}, ValueError, "n_features is 0"),
    ],
)
def test_wrong_settings_are_named(
    settings: dict[str, Any], error: type[Exception], message: str
) -> None:
    with pytest.raises(error, match=re.escape(message)):
        EDMDc(**({"features": FEW} | settings)).fit(runs())


@pytest.mark.parametrize(
    ("data", "message"),
    [
        ([], "data is empty"),
        (run(1, seed=0), "data holds a single step; expected at least two"),
        (run(7, seed=0), "data holds 7 usable samples, but there are 8 unknowns"),
    ],
)
def test_data_that_do_not_suffice_are_refused(data: Any, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        EDMDc(FEW).fit(data)


def test_as_many_samples_as_unknowns_suffice() -> None:
    assert EDMDc(FEW).fit(run(8, seed=0)).model_.n_lifted == 6


def test_a_column_that_sits_on_its_bounds_loses_no_sample() -> None:
    bounds = np.array([[-9.0, -9.0, 0.1], [9.0, 9.0, 0.1]])
    data = [
        Trajectory(
            np.column_stack([t.observations, np.full(21, 0.1)]),
            t.actions,
            observation_bounds=bounds,
        )
        for t in runs()
    ]
    for limits in ("data", None):
        fitted = EDMDc(FEW, least_squares=LeastSquares(limits=limits)).fit(data)
        assert fitted.model_.summary["n_samples"] == 120
    assert EDMDc(FEW, states=[0, 1]).fit(data).model_.summary["n_samples"] == 120


def test_data_that_end_on_limits_are_told_what_to_do() -> None:
    x = np.array([[0.5, -0.5], [1.0, 0.2], [0.3, 1.0], [1.0, 0.1], [0.2, 1.0]])
    data = Trajectory(
        x, np.zeros((4, 1)), observation_bounds=np.array([[-1.0], [1.0]] * np.ones(2))
    )
    message = r"0 usable samples \(4 more end on a known limit\).*limits=None uses all"
    with pytest.raises(ValueError, match=message):
        EDMDc(FEW, n_folds=2).fit(data)


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"limits": "bounds"}, "limits is 'bounds'; expected 'data' or None"),
        ({"penalty": "l2"}, "penalty is 'l2'; expected one of ridge"),
        ({"targets": "steps"}, "targets is 'steps'; expected one of increments, states"),
    ],
)
def test_wrong_settings_of_the_regression_are_named(settings: Any, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        LeastSquares(**settings)
