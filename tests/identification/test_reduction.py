from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from koopman_control.common.arrays import Array
from koopman_control.features import SampledFeatures
from koopman_control.identification import ROLLOUTS, EDMDc, LiftedModel
from koopman_control.identification.reduction import reduced
from koopman_control.mpc import KoopmanMPC
from koopman_control.trajectories import Trajectory

MakeModel = Callable[..., LiftedModel]


def oscillator_data() -> list[Trajectory]:
    """Make runs of a forced oscillator with a cubic spring."""
    found = []
    for seed in range(10):
        rng = np.random.default_rng(seed)
        x, U = rng.uniform(-1, 1, 2), rng.uniform(-1, 1, (40, 1))
        X = [x]
        for u in U[:, 0]:
            x = x + 0.1 * np.array([x[1], -x[0] - 0.5 * x[0] ** 3 - 0.2 * x[1] + u])
            X.append(x)
        box = np.array([[-1.0], [1.0]])
        found.append(Trajectory(np.array(X), U, dt=0.1, action_bounds=box))
    return found


@pytest.fixture(scope="module")
def model() -> LiftedModel:
    features = SampledFeatures(60, random_state=0)
    return EDMDc(features, regularization=1e-10).fit(oscillator_data()).model_


def worst_difference(full: LiftedModel, small: LiftedModel, horizon: int) -> Array:
    rng = np.random.default_rng(5)
    X = np.concatenate([t.observations for t in oscillator_data()])
    x0 = X[rng.integers(0, len(X), 200)]
    U = np.sign(rng.normal(size=(200, horizon, 1)))
    both = [m.predict(x0, U, "linear") for m in (full, small)]
    return np.asarray(np.abs(both[0] - both[1]).max(axis=0) / X.std(axis=0))


@pytest.mark.parametrize("order", [5, 12])
def test_the_bound_holds_and_is_not_absurd(model: LiftedModel, order: int) -> None:
    result = reduced(model, order, oscillator_data(), horizon=30)
    assert result.model.n_lifted == order
    observed = worst_difference(model, result.model, 30)
    assert (observed <= result.bound + 1e-12).all()
    assert result.bound.max() < 20.0 * observed.max()
    assert result.model.summary["error_bound"] == result.bound.max()
    assert f"63 -> {order} lifted states" in str(result)


def test_more_lifted_states_cost_less(model: LiftedModel) -> None:
    bounds = [reduced(model, r, oscillator_data(), 30).bound.max() for r in (4, 8, 16, 32)]
    assert (np.diff(bounds) < 0.0).all()
    assert bounds[2] < 1e-3


def test_states_that_never_matter_are_dropped_for_nothing(model_of: MakeModel) -> None:
    F = np.zeros((6, 6))
    F[:2, :2] = [[0.9, 0.2], [-0.3, 0.8]]
    F[2:, 2:] = 0.5 * np.eye(4)  # four features that nothing reads
    full = model_of(F, np.ones((6, 1)), n_extra=4)
    result = reduced(full, 3)
    assert result.bound.max() < 1e-12
    np.testing.assert_allclose(
        np.sort_complex(result.model.eigenvalues),
        np.sort_complex(np.append(np.linalg.eigvals(F[:2, :2]), 1.0)),
    )
    assert reduced(full, 7).model.n_lifted == 3  # the rest has no share in anything


def test_a_reduced_model_is_saved_and_loaded(model: LiftedModel, tmp_path: Path) -> None:
    small = reduced(model, 10, oscillator_data()).model
    small.save(tmp_path / "small.npz")
    loaded = LiftedModel.load(tmp_path / "small.npz")
    assert small.reduction is not None
    np.testing.assert_array_equal(loaded.reduction, small.reduction)
    U = np.random.default_rng(0).uniform(-1, 1, (20, 1))
    for rollout in ROLLOUTS[::2]:
        expected = small.predict([0.1, 0.2], U, rollout)
        np.testing.assert_array_equal(loaded.predict([0.1, 0.2], U, rollout), expected)


def test_all_roll_outs_of_the_reduced_model_agree_on_one_step(model: LiftedModel) -> None:
    small = reduced(model, 15, oscillator_data()).model
    one, other = (small.predict([0.3, -0.2], [[0.5]], rollout) for rollout in ROLLOUTS[::2])
    np.testing.assert_allclose(one, other, atol=1e-12)
    _, Gamma = small.linearize([0.3, -0.2], np.zeros((5, 1)), "relifted")
    step = 1e-6 * np.eye(5)[:, :, None]
    ahead = small.predict([0.3, -0.2], step, "relifted")
    behind = small.predict([0.3, -0.2], -step, "relifted")
    np.testing.assert_allclose(Gamma, ((ahead - behind) / 2e-6).reshape(5, -1).T, atol=1e-7)


def test_the_controller_acts_alike_on_a_reduced_model(model: LiftedModel) -> None:
    small = reduced(model, 20, oscillator_data()).model
    for x in ([0.5, 0.0], [-0.1, 0.2], [0.0, -0.1]):
        actions = [KoopmanMPC(m, 15, Q=[1.0, 0.1], R=0.1).act(x) for m in (model, small)]
        np.testing.assert_allclose(actions[1], actions[0], atol=2e-3)


def turning() -> tuple[LiftedModel, list[Trajectory]]:
    """Fit a pendulum whose angle is read as cosine and sine."""
    found = []
    for seed in range(10):
        rng = np.random.default_rng(seed)
        theta, speed, U, rows = rng.uniform(-3, 3), 0.0, rng.uniform(-1, 1, (40, 1)), []
        for u in [*U[:, 0], 0.0]:
            rows.append([np.cos(theta), np.sin(theta), speed])
            speed += 0.1 * np.sin(theta) + 0.1 * u
            theta += 0.1 * speed
        found.append(Trajectory(np.array(rows), U))
    features = SampledFeatures(25, random_state=0)
    return EDMDc(features, angles=[(0, 1)], regularization=1e-8).fit(found).model_, found


@pytest.mark.parametrize("by_data", [True, False])
def test_angles_stay_exact(by_data: bool) -> None:
    full, found = turning()
    small = reduced(full, 8, found if by_data else None).model
    np.testing.assert_array_equal(small.A[:, -1], np.eye(8)[:, -1])
    np.testing.assert_array_equal(small.A[0], np.eye(8)[0])
    for rollout in ROLLOUTS[::2]:
        near = small.predict([0.5, 0.2], np.zeros((10, 1)), rollout)
        turned = small.predict([0.5 + 2.0 * np.pi, 0.2], np.zeros((10, 1)), rollout)
        turn = np.tile([2.0 * np.pi, 0.0], (10, 1))
        np.testing.assert_allclose(turned - near, turn, atol=1e-9)


def test_an_angle_that_acts_on_the_other_states_is_reduced_with_them() -> None:
    full, found = turning()
    full.A[-2:, -1] += [1e-6, 1e-6]
    full.A[3, -1] = 1e-4
    result = reduced(full, 8, found)
    assert result.bound.max() < 0.5
    U = np.concatenate([run.actions for run in found])[:50]
    both = [m.predict([0.5, 0.2], U, "linear") for m in (full, result.model)]
    assert np.abs(both[0] - both[1]).max() < 0.1


def test_of_many_states_evenly_spread_ones_are_enough(
    model: LiftedModel, monkeypatch: pytest.MonkeyPatch
) -> None:
    whole = reduced(model, 12, oscillator_data()).bound.max()
    monkeypatch.setattr("koopman_control.identification.reduction.MAX_STATES", 50)
    few = reduced(model, 12, oscillator_data())
    assert few.bound.max() < 2.0 * whole
    assert worst_difference(model, few.model, 50).max() < 2.0 * whole


def test_a_model_that_explodes_is_reduced_without_a_warning(model_of: MakeModel) -> None:
    F = np.diag([1e9, 0.5, 2.0])
    result = reduced(model_of(F, np.ones((3, 1))), 3, horizon=60)
    assert np.isfinite(result.model.A).all()
    assert not np.isnan(result.bound).any()


def test_orders_and_models_that_do_not_suit_are_refused(model: LiftedModel) -> None:
    for order in (1, 64):
        with pytest.raises(ValueError, match=f"order is {order}; expected more than 1"):
            reduced(model, order)
    small = reduced(model, 10).model
    with pytest.raises(ValueError, match="model is reduced already"):
        reduced(small, 5)
    with pytest.raises(ValueError, match="model is bilinear"):
        reduced(replace(model, N=np.zeros((1, 63, 63))), 10)
    with pytest.raises(ValueError, match="reduction has shape"):
        replace(small, reduction=np.zeros((10, 4)))
