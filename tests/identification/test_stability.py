import warnings
from collections.abc import Callable
from dataclasses import replace

import numpy as np
import pytest

from koopman_control.common.arrays import Array
from koopman_control.identification import LiftedModel
from koopman_control.identification.stability import (
    diverges,
    nearest_stable,
    one_step_error,
    spectral_radius,
    stabilized,
    stabilized_if_needed,
)
from koopman_control.trajectories import Trajectory

MakeModel = Callable[..., LiftedModel]
MakeRuns = Callable[..., list[Trajectory]]


def radius_of(model: LiftedModel) -> float:
    return spectral_radius(model.A[1:, 1:])


def test_a_stable_model_is_left_alone(model_of: MakeModel) -> None:
    model = model_of(np.diag([0.9, 0.5, 1.0]))
    assert stabilized(model) is model


def test_a_normal_matrix_is_clipped_eigenvalue_by_eigenvalue() -> None:
    c, s = 1.3 * np.cos(0.7), 1.3 * np.sin(0.7)
    F = np.zeros((4, 4))
    F[:2, :2], F[2, 2], F[3, 3] = [[c, -s], [s, c]], -1.5, 0.4
    expected = F.copy()
    expected[:2, :2] /= 1.3
    expected[2, 2] = -1.0
    np.testing.assert_allclose(nearest_stable(F, np.eye(4), 1.0), expected, atol=1e-6)


def test_the_constant_stays_exact_and_only_the_core_moves(model_of: MakeModel) -> None:
    model = model_of(np.array([[1.2, 0.3, 0.0], [0.0, 0.7, 0.1], [0.0, 0.0, 0.2]]))
    stable = stabilized(model, 0.95)
    assert radius_of(stable) <= 0.95
    np.testing.assert_array_equal(stable.A[0], np.eye(4)[0])
    np.testing.assert_array_equal(stable.C, model.C)
    assert stable.summary["spectral_radius_before"] == pytest.approx(1.2)
    assert stable.summary["radius"] == 0.95


def test_a_direction_that_the_data_never_excite_is_stabilised_for_nothing(
    model_of: MakeModel, runs_of_map: MakeRuns
) -> None:
    F = np.array([[0.9, 0.2], [-0.2, 0.9]])
    data = runs_of_map(F, np.zeros((2, 1)))
    whole = np.zeros((3, 3))
    whole[:2, :2] = F
    lifted = model_of(whole)
    # A feature row that copies data exactly, plus a spurious part that vanishes on all data.
    Z = np.concatenate([lifted.lift(t.observations[:-1]) for t in data])
    Z_next = np.concatenate([lifted.lift(t.observations[1:]) for t in data])
    whole[2] = np.linalg.lstsq(Z[:, 1:], Z_next[:, 3], rcond=None)[0]
    model = model_of(whole + np.diag([0.0, 0.0, 3.0]))
    stable = stabilized(model, 1.0, data)
    assert radius_of(stable) <= 1.0
    assert stable.summary["one_step_error"] < stable.summary["one_step_error_before"]
    assert stable.summary["one_step_error"] == one_step_error(stable, data)


def test_weighing_by_data_changes_predictions_on_them_less(
    model_of: MakeModel, runs_of_map: MakeRuns
) -> None:
    rng = np.random.default_rng(3)
    F = rng.normal(size=(5, 5))
    F *= 1.05 / spectral_radius(F)
    data = [
        Trajectory(t.observations * [1.0, 0.1, 0.01, 1.0], t.actions)
        for t in runs_of_map(0.5 * np.eye(4), np.ones((4, 1)))
    ]
    model = model_of(F)
    Z = np.concatenate([model.lift(t.observations[:-1]) for t in data])
    U = np.concatenate([t.actions for t in data])

    def change(stable: LiftedModel) -> float:
        difference = Z @ (stable.A - model.A).T + U @ (stable.B - model.B).T
        return float(np.sqrt(np.mean(difference**2)))

    assert change(stabilized(model, data=data)) < 0.5 * change(stabilized(model))


@pytest.mark.parametrize(
    "F",
    [
        np.array([[1.1]]),
        np.array([[7000.0]]),
        np.zeros((1, 1)),
        np.array([[1.0, 1.0], [0.0, 1.0]]) * 1.2,
        np.eye(4) * 1.5,
        np.diag([1.2, 1.2, -1.2, 1.2]) + 5.0 * np.eye(4, k=1),
        np.array([[0.0, 1e6], [1e-3, 0.0]]),
        np.random.default_rng(0).normal(size=(30, 30)) * 10.0,
    ],
)
@pytest.mark.parametrize("radius", [1.0, 0.8])
def test_bad_matrices_become_stable_too(F: Array, radius: float) -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        stable = nearest_stable(F, np.eye(len(F)), radius)
    assert np.isfinite(stable).all()
    assert spectral_radius(stable) <= radius


def test_the_nearest_stable_matrix_is_a_local_minimum() -> None:
    rng = np.random.default_rng(1)
    F = rng.normal(size=(6, 6))
    F *= 1.2 / spectral_radius(F)
    found = nearest_stable(F, np.eye(6), 1.0)
    cost = np.linalg.norm(found - F)
    assert cost < 0.2 * np.linalg.norm(F)
    for _ in range(300):
        near = found + 0.02 * cost * rng.normal(size=(6, 6)) / 6.0
        if spectral_radius(near) <= 1.0:
            assert np.linalg.norm(near - F) > cost * (1.0 - 1e-3)


@pytest.mark.slow
def test_five_hundred_lifted_states_are_no_problem() -> None:
    rng = np.random.default_rng(0)
    F = rng.normal(size=(500, 500)) / np.sqrt(500) * 1.02
    stable = nearest_stable(F, np.eye(500), 1.0)
    assert spectral_radius(stable) <= 1.0
    assert np.linalg.norm(stable - F) < 0.05 * np.linalg.norm(F)


def test_divergence_is_told_from_the_growth_of_an_unstable_plant(
    model_of: MakeModel, runs_of_map: MakeRuns
) -> None:
    F, B = np.diag([1.05, 0.5]), np.array([[0.1], [1.0]])
    data = runs_of_map(F, B)
    whole = np.zeros((3, 3))
    whole[:2, :2] = F
    right = model_of(whole, np.vstack([B, [[0.0]]]))
    assert not diverges(right, data, 20)
    assert stabilized_if_needed(right, data, 20) is right
    wrong = model_of(whole + np.diag([0.6, 0.0, 0.0]), np.vstack([B, [[0.0]]]))
    assert diverges(wrong, data, 20)
    mended = stabilized_if_needed(wrong, data, 20)
    assert radius_of(mended) <= 1.0
    assert not diverges(mended, data, 20)


def test_data_at_their_limits_throughout_weigh_nothing(model_of: MakeModel) -> None:
    limits = np.array([[-np.inf, -np.inf], [0.5, np.inf]])
    free = model_of(np.array([[1.2, 0.3, 0.0], [0.0, 0.7, 0.1], [0.0, 0.0, 0.2]]))
    signals = replace(free.signals, limits=limits, saturating=np.array([True, False]))
    model = replace(free, signals=signals)
    held = Trajectory(np.column_stack([np.full(6, 0.5), np.arange(6.0)]), np.zeros((5, 1)))
    np.testing.assert_array_equal(stabilized(model, 1.0, held).A, stabilized(model, 1.0).A)


def test_the_price_of_a_bilinear_model_counts_what_its_inputs_do(model_of: MakeModel) -> None:
    F, G, rng = np.diag([1.1, 0.5]), np.array([[0.0, 0.3], [0.2, 0.0]]), np.random.default_rng(0)
    U, X = rng.uniform(-1.0, 1.0, (30, 1)), [rng.normal(size=2)]
    for u in U:
        X.append(F @ X[-1] + u[0] * G @ X[-1])
    run, N = Trajectory(np.array(X), U), np.zeros((1, 4, 4))
    N[0, 1:3, 1:3] = G
    model = replace(model_of(np.diag([1.1, 0.5, 0.0])), N=N)
    # The states are exact; all that is off is the feature, which the model takes for zero.
    feature = model.lift(np.array(X[1:]))[:, 3]
    off = np.sqrt(np.mean(feature**2) / 4.0)
    stable = stabilized(model, 1.0, run)
    assert stable.summary["one_step_error_before"] == pytest.approx(off, rel=1e-12)
    Z = model.lift(np.array(X))
    steps = [stable.A @ z + stable.B @ u + u[0] * N[0] @ z for z, u in zip(Z[:-1], U, strict=True)]
    price = np.sqrt(np.mean((Z[1:] - steps) ** 2))
    assert stable.summary["one_step_error"] == pytest.approx(price, rel=1e-12)


def test_a_model_whose_constant_drifts_is_stabilised_with_it(
    model_of: MakeModel, runs_of_map: MakeRuns
) -> None:
    model = model_of(np.diag([0.9, 0.5, 0.1]))
    model.A[0, 0] = 1.3
    for data in (None, runs_of_map(np.diag([0.9, 0.5]), np.zeros((2, 1)))):
        assert spectral_radius(stabilized(model, 1.0, data).A) <= 1.0


def test_a_radius_that_is_none_is_refused(model_of: MakeModel) -> None:
    with pytest.raises(ValueError, match=r"radius is 0\.0; expected a finite number above 0"):
        stabilized(model_of(np.eye(3)), 0.0)


def test_data_that_stand_still_weigh_nothing(model_of: MakeModel) -> None:
    still = [Trajectory(np.zeros((5, 2)), np.zeros((4, 1)))]
    stable = stabilized(model_of(np.diag([2.0, 0.5, 0.1])), 1.0, still)
    assert radius_of(stable) <= 1.0
