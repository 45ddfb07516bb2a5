import numpy as np
import pytest

from koopman_control.common.arrays import Array
from koopman_control.identification import RFactor
from koopman_control.identification.least_squares import RidgeSolver


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


def test_one_factor_merged_is_itself() -> None:
    factor = RFactor.of(*problem())
    merged = RFactor.merged([factor])
    np.testing.assert_allclose(np.abs(merged.R), np.abs(factor.R), atol=1e-13)
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


@pytest.mark.parametrize("n_rows", [0, 5, 60])
def test_a_factor_has_no_more_rows_than_data_or_columns(n_rows: int) -> None:
    Phi, Y = problem(n_rows)
    factor = RFactor.of(Phi, Y)
    assert factor.R.shape == (min(n_rows, 11), 11)
    assert (factor.n_regressors, factor.n_samples) == (8, n_rows)
    np.testing.assert_allclose(
        factor.R.T @ factor.R, np.hstack([Phi, Y]).T @ np.hstack([Phi, Y]), atol=1e-12
    )


def with_singular_values(s: list[float], n_samples: float = 4.0, truncate: bool = False) -> Array:
    """Return the gains of regressors that are multiples of unit vectors."""
    n = len(s)
    solver = RidgeSolver(np.array(s), np.eye(n), np.eye(n), n_samples, truncate)
    return np.diagonal(solver.solve(0.25))


def test_truncation_drops_what_ridge_shrinks_to_less_than_half_and_shrinks_nothing() -> None:
    np.testing.assert_allclose(with_singular_values([2.0, 1.0, 0.5]), [0.4, 0.5, 0.4])
    np.testing.assert_array_equal(
        with_singular_values([2.0, 1.0, 0.9375, 0.5], truncate=True), [0.5, 1.0, 0.0, 0.0]
    )


def test_ridge_is_the_solvers_kind_unless_told_otherwise() -> None:
    solver = RidgeSolver(np.array([2.0, 1.0, 0.5]), np.eye(3), np.eye(3), 4.0)
    np.testing.assert_allclose(np.diagonal(solver.solve(0.25)), [0.4, 0.5, 0.4])
    assert not RFactor.of(*problem()).solver().truncate
    assert RFactor.of(*problem()).solver(truncate=True).truncate


def test_the_rank_is_numpys() -> None:
    eps = 2.0**-52
    for s in ([1.0, 5 * eps, 4 * eps, 3 * eps], [8.0, 31 * eps, 1.0, 33 * eps], [0.0, 0.0]):
        n = len(s)
        solver = RidgeSolver(np.array(s), np.eye(n), np.eye(n), 1.0)
        assert solver.rank == np.linalg.matrix_rank(np.diag(s))
    assert RidgeSolver(np.zeros(0), np.zeros((3, 0)), np.zeros((0, 1)), 0.0).rank == 0


def test_directions_at_rounding_level_are_dropped() -> None:
    eps = 2.0**-52
    solver = RidgeSolver(np.array([1.0, 4 * eps, 3 * eps]), np.eye(3), np.eye(3), 4.0)
    np.testing.assert_array_equal(np.diagonal(solver.solve(0.0)), [1.0, 0.25 / eps, 0.0])


def test_the_condition_number_of_regressors_that_depend_on_each_other_is_infinite() -> None:
    Phi, Y = problem()
    assert RFactor.of(Phi[:5], Y[:5]).solver().condition_number == np.inf
    zero = np.column_stack([Phi, np.zeros(len(Phi))])
    assert RFactor.of(zero, Y).solver().condition_number == np.inf
    condition = RFactor.of(Phi, Y).solver().condition_number
    assert condition == pytest.approx(np.linalg.cond(Phi), rel=1e-10)


def test_one_strength_for_each_target_may_repeat() -> None:
    Phi, Y = problem()
    solver = RFactor.of(Phi, Y).solver()
    strengths = np.array([0.3, 1e-2, 0.3])
    for j, strength in enumerate(strengths):
        closed = np.linalg.solve(Phi.T @ Phi + strength * 60 * np.eye(8), Phi.T @ Y[:, j])
        np.testing.assert_allclose(solver.solve(strengths)[:, j], closed, rtol=0, atol=1e-13)


def test_a_decomposition_that_does_not_converge_is_done_another_way(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    factor = RFactor.of(*problem())
    expected = factor.solver().solve(1e-3)

    def fails(*_: object, **__: object) -> None:
        raise np.linalg.LinAlgError("SVD did not converge")  # LAPACK's gesdd now and then says so

    monkeypatch.setattr(np.linalg, "svd", fails)
    np.testing.assert_allclose(factor.solver().solve(1e-3), expected, rtol=0, atol=1e-13)
    broken = RFactor(np.full((3, 3), np.nan), 2, 3)
    with pytest.raises(np.linalg.LinAlgError):
        broken.solver()
