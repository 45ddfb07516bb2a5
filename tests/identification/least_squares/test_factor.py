import numpy as np
import pytest

from koopman_control.common.arrays import Array
from koopman_control.identification import RFactor
from koopman_control.identification.least_squares.penalties import Penalty, solver_for


def problem(n_rows: int = 60, k: int = 8, q: int = 3) -> tuple[Array, Array]:
    rng = np.random.default_rng(0)
    return rng.normal(size=(n_rows, k)), rng.normal(size=(n_rows, q))


def ill_conditioned(condition: float) -> tuple[Array, Array, Array]:
    """Return regressors, noise-free targets and the coefficients behind them."""
    rng = np.random.default_rng(1)
    left, right = (np.linalg.qr(rng.normal(size=(n, 12)))[0] for n in (400, 12))
    Phi = np.asarray(left * np.geomspace(1.0, 1.0 / condition, 12) @ right.T)
    K = rng.normal(size=(12, 2))
    return Phi, Phi @ K, K


def test_factors_of_parts_merge_into_that_of_all_rows() -> None:
    Phi, Y = problem()
    rows = [slice(0, 5), slice(5, 40), slice(40, 60)]  # the first part has fewer rows than columns
    merged = RFactor.merged(RFactor.of(Phi[r], Y[r]) for r in rows)
    whole = RFactor.of(Phi, Y)
    np.testing.assert_allclose(merged.R.T @ merged.R, whole.R.T @ whole.R, atol=1e-12)
    np.testing.assert_allclose(
        merged.solver().solve(1e-3), whole.solver().solve(1e-3), rtol=0, atol=1e-13
    )
    assert (merged.n_samples, merged.n_regressors) == (60, 8)


def test_a_part_without_rows_changes_nothing() -> None:
    Phi, Y = problem()
    merged = RFactor.merged([RFactor.of(Phi[:0], Y[:0]), RFactor.of(Phi, Y)])
    np.testing.assert_allclose(
        merged.solver().solve(0.0), np.linalg.lstsq(Phi, Y, rcond=None)[0], atol=1e-13
    )


@pytest.mark.parametrize("regularization", [0.0, 1e-6, 1e-2, 10.0])
def test_ridge_equals_the_closed_form(regularization: float) -> None:
    Phi, Y = problem()
    closed = np.linalg.solve(Phi.T @ Phi + regularization * 60 * np.eye(8), Phi.T @ Y)
    solved = RFactor.of(Phi, Y).solver().solve(regularization)
    np.testing.assert_allclose(solved, closed, rtol=0, atol=1e-13)


def test_digits_survive_where_the_normal_equations_lose_them() -> None:
    Phi, Y, K = ill_conditioned(1e9)
    reference = np.linalg.lstsq(Phi, Y, rcond=None)[0]
    solver = RFactor.of(Phi, Y).solver()
    solved = solver.solve(0.0)
    normal = np.linalg.lstsq(Phi.T @ Phi, Phi.T @ Y, rcond=None)[0]
    assert np.abs(reference - K).max() < 1e-6
    assert np.abs(solved - K).max() < 1e-6
    assert np.abs(normal - K).max() > 1e-2
    assert solver.condition_number == pytest.approx(1e9, rel=1e-3)


def test_merged_parts_keep_the_digits_too() -> None:
    Phi, Y, K = ill_conditioned(1e9)
    parts = [RFactor.of(Phi[i::7], Y[i::7]) for i in range(7)]
    assert np.abs(RFactor.merged(parts).solver().solve(0.0) - K).max() < 1e-6


def test_repeated_regressors_share_the_smallest_solution() -> None:
    Phi, Y = problem()
    twice = np.hstack([Phi, Phi])
    solved = RFactor.of(twice, Y).solver().solve(0.0)
    np.testing.assert_allclose(solved, np.linalg.pinv(twice) @ Y, atol=1e-12)


def test_fewer_rows_than_regressors_give_the_smallest_solution() -> None:
    Phi, Y = problem(n_rows=5)
    solved = RFactor.of(Phi, Y).solver().solve(0.0)
    np.testing.assert_allclose(solved, np.linalg.pinv(Phi) @ Y, atol=1e-12)


@pytest.mark.parametrize("penalty", ["ridge", "truncation", "lasso"])
def test_some_targets_are_solved_for_as_among_all(penalty: Penalty) -> None:
    solver = solver_for(penalty, RFactor.of(*problem(q=4)))
    for strength in (0.01, np.array([0.01, 0.1, 0.01, 0.3])):
        some = strength if isinstance(strength, float) else strength[[3, 1]]
        K = solver.solve(strength)
        np.testing.assert_allclose(solver.solve(some, [3, 1]), K[:, [3, 1]], rtol=1e-13, atol=1e-14)
