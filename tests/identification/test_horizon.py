from dataclasses import replace

import numpy as np
import pytest

from koopman_control.common.arrays import Array
from koopman_control.features import Coordinates, FeatureMap, SampledFeatures
from koopman_control.identification import EDMDc, LiftedModel, prediction_error
from koopman_control.identification.errors import state_scale
from koopman_control.identification.horizon import (
    CondensedData,
    Refinement,
    refine_over_horizon,
    window_factor,
)
from koopman_control.identification.snapshots import runs_of
from koopman_control.trajectories import Trajectory

FEW = SampledFeatures(12, steepness=0.5, random_state=0)


class Square(FeatureMap):
    """The one feature x1^2, which closes the plant of `closed`."""

    @property
    def _n_features_out(self) -> int:
        return 1

    def _fit(self, X: Array, y: Array | None) -> None:
        self.fitted_ = True

    def values(self, X: Array) -> Array:
        return X[..., :1] ** 2

    def derivatives(self, X: Array) -> Array:
        return np.stack([2.0 * X[..., :1], 0.0 * X[..., :1]], axis=-1)


def closed(seed: int, n_steps: int = 40) -> Trajectory:
    """Simulate x1+ = 0.9 x1, x2+ = 0.7 x2 + x1^2 + u; its lifting by x1^2 is exact."""
    rng = np.random.default_rng(seed)
    U = rng.uniform(-1.0, 1.0, (n_steps, 1))
    X = [rng.uniform(-2.0, 2.0, 2)]
    for u in U[:, 0]:
        X.append(np.array([0.9 * X[-1][0], 0.7 * X[-1][1] + X[-1][0] ** 2 + u]))
    return Trajectory(np.array(X), U)


def duffing(seed: int, n_steps: int = 60, noise: float = 0.0) -> Trajectory:
    """Simulate a damped Duffing oscillator with small Euler steps."""
    rng = np.random.default_rng(seed)
    U = rng.uniform(-1.0, 1.0, (n_steps, 1))
    x = rng.uniform(-1.5, 1.5, 2)
    X = [x]
    for u in U[:, 0]:
        for _ in range(5):
            x = x + 0.02 * np.array([x[1], -0.5 * x[1] + x[0] - x[0] ** 3 + u])
        X.append(x)
    return Trajectory(np.array(X) + noise * rng.normal(size=(n_steps + 1, 2)), U)


def rotation(seed: int, n_steps: int = 40) -> Trajectory:
    U = np.random.default_rng(seed).uniform(-1.0, 1.0, (n_steps, 1))
    theta = seed + np.concatenate([[0.0], np.cumsum(0.3 + 0.1 * U[:, 0])])
    return Trajectory(np.stack([np.cos(theta), np.sin(theta)], axis=1), U)


def condensed(model: LiftedModel, data: list[Trajectory], horizon: int) -> CondensedData:
    runs = runs_of(data, model.coordinates)
    scale = state_scale(runs, model.coordinates)
    return CondensedData.of([window_factor(model, runs, scale, horizon)], model, scale, horizon)


def spoiled(data: list[Trajectory]) -> LiftedModel:
    """Return the exact model, but for the row that predicts the feature."""
    model = EDMDc(Square(), regularization=0.0).fit(data).model_
    A = model.A.copy()
    A[3] += [0.01, 0.02, 0.01, -0.05]
    return replace(model, A=A)


def test_the_factor_has_the_error_of_all_windows() -> None:
    data = [duffing(seed) for seed in range(4)]
    model = EDMDc(FEW).fit(data).model_
    scale = state_scale(runs_of(data, model.coordinates), model.coordinates)
    squares = [
        ((model.predict(t.observations[k], t.actions[k : k + 9], "linear") - reached) / scale) ** 2
        for t in data
        for k in range(len(t) - 8)
        for reached in [t.observations[k + 1 : k + 10]]
    ]
    error = condensed(model, data, 9).error(model.A, model.B)
    np.testing.assert_allclose(error, np.sqrt(np.mean(squares)), rtol=1e-10)


def test_the_gradient_matches_finite_differences() -> None:
    data = [duffing(seed) for seed in range(4)]
    model = EDMDc(FEW).fit(data).model_
    search = Refinement(model, condensed(model, data, 7))
    rng = np.random.default_rng(0)
    size = search._shape[0] * (search._shape[1] + 1)
    point, direction = 0.01 * rng.normal(size=size), rng.normal(size=size)
    _, gradient = search.objective(point, 0.3)
    ahead, behind = (search.objective(point + s * 1e-5 * direction, 0.3)[0] for s in (1, -1))
    np.testing.assert_allclose(gradient @ direction, (ahead - behind) / 2e-5, rtol=1e-6)


def test_a_spoiled_exact_model_is_restored() -> None:
    data = [closed(seed) for seed in range(9)]
    exact = EDMDc(Square(), regularization=0.0).fit(data).model_
    start = spoiled(data)
    refined = refine_over_horizon(start, data, 10)
    assert start.summary is not refined.summary
    assert refined.summary["horizon_error_start"] > 0.01
    assert refined.summary["horizon_error"] < 1e-3
    held_out = closed(99)
    predicted = refined.predict(held_out.observations[0], held_out.actions, "linear")
    truth = exact.predict(held_out.observations[0], held_out.actions, "linear")
    np.testing.assert_allclose(predicted, truth, atol=0.02)


def test_an_exact_model_is_returned_as_it_is() -> None:
    data = [closed(seed) for seed in range(9)]
    model = EDMDc(Square(), regularization=0.0).fit(data).model_
    refined = refine_over_horizon(model, data, 10)
    np.testing.assert_allclose(refined.A, model.A, atol=1e-8)


def test_noise_is_made_good_on_held_out_data() -> None:
    noisy = [duffing(seed, noise=0.1) for seed in range(60)]
    clean = [duffing(seed) for seed in range(100, 130)]
    features = SampledFeatures(40, random_state=0)
    model = EDMDc(features, rollout="linear", horizon=30).fit(noisy).model_
    refined = refine_over_horizon(model, noisy, 30)
    before, after = (prediction_error(m, clean, 30, "linear") for m in (model, refined))
    assert np.sqrt(np.mean(after**2)) < 0.9 * np.sqrt(np.mean(before**2))


def test_one_step_predictions_stay_as_they_are() -> None:
    data = [duffing(seed, noise=0.05) for seed in range(12)]
    model = EDMDc(FEW, rollout="linear").fit(data).model_
    refined = refine_over_horizon(model, data, 20)
    assert refined.summary["horizon_pull"] < np.inf
    held_out = duffing(99)
    x0, U = held_out.observations[0], held_out.actions
    first, second = (m.predict(x0, U[:1], "linear") for m in (model, refined))
    np.testing.assert_allclose(first, second, atol=1e-8)
    np.testing.assert_allclose(model.predict(x0, U), refined.predict(x0, U), atol=1e-8)
    np.testing.assert_allclose(refined.A[0], np.eye(model.n_lifted)[0], atol=1e-10)


def test_angles_are_followed_across_the_seam() -> None:
    data = [rotation(seed) for seed in range(4)]
    model = EDMDc(FEW, angles=[(0, 1)], regularization=0.0).fit(data).model_
    refined = refine_over_horizon(model, data, 30)
    assert refined.summary["horizon_error"] < 1e-6
    assert isinstance(refined.coordinates, Coordinates)


def test_one_long_trajectory_is_cut_in_two() -> None:
    model = EDMDc(FEW).fit(duffing(0, 400)).model_
    assert refine_over_horizon(model, duffing(0, 400), 150).summary["horizon_steps"] == 150
    with pytest.raises(ValueError, match="two trajectories of 300 steps or one of 600"):
        refine_over_horizon(model, duffing(0, 400), 300)


def test_a_bilinear_model_is_refused() -> None:
    model = EDMDc(FEW, coupling="bilinear").fit([duffing(seed) for seed in range(4)]).model_
    with pytest.raises(ValueError, match="only the linear roll-out"):
        refine_over_horizon(model, duffing(0), 10)
