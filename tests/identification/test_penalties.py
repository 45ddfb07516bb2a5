"""Each penalty against NumPy or scikit-learn on all rows, and the strengths worth trying."""

from dataclasses import FrozenInstanceError, fields
from typing import Any, get_args

import numpy as np
import pytest
from sklearn.linear_model import ElasticNet

from koopman_control.common.arrays import Array
from koopman_control.identification import RFactor
from koopman_control.identification.penalties import Penalty, SparseSolver, path_of, solver_for

SHARE = {"lasso": 1.0, "elasticnet": 0.5}  # of the absolute values in the penalty


def problem(n_rows: int = 60, k: int = 8, q: int = 3) -> tuple[Array, Array]:
    """Return a constant, regressors of all sizes, some alike, and targets off centre."""
    rng = np.random.default_rng(0)
    Phi = rng.normal(size=(n_rows, k)) * np.geomspace(1e-3, 1e3, k) + 0.5
    Phi[:, 0] = 1.0
    Phi[:, 3] += 1e2 * Phi[:, 2]
    return Phi, Phi @ (rng.normal(size=(k, q)) / Phi.std(axis=0).clip(0.1)[:, None]) + 4.0


def support(Phi: Array, y: Array, strength: float, l1_ratio: float) -> Array:
    """Let scikit-learn choose, from all rows, among regressors in standard deviations."""
    X = Phi[:, 1:] - Phi[:, 1:].mean(axis=0)
    X /= np.linalg.norm(X, axis=0)
    largest = np.abs(X.T @ (y - y.mean())).max() / len(X) / l1_ratio
    model = ElasticNet(alpha=strength * largest, l1_ratio=l1_ratio, tol=1e-12, max_iter=100_000)
    return np.append(True, model.fit(X, y).coef_ != 0.0)


def refitted(Phi: Array, y: Array, chosen: Array) -> Array:
    K = np.zeros(Phi.shape[1])
    K[chosen] = np.linalg.lstsq(Phi[:, chosen], y, rcond=None)[0]
    return K


@pytest.mark.parametrize("penalty", ["lasso", "elasticnet"])
@pytest.mark.parametrize("strength", [0.03, 0.2, 0.5])
def test_sparse_coefficients_are_least_squares_on_what_scikit_learn_chooses(
    penalty: Penalty, strength: float
) -> None:
    Phi, Y = problem()
    solved = solver_for(penalty, RFactor.of(Phi, Y)).solve(strength)
    for j in range(3):
        chosen = support(Phi, Y[:, j], strength, SHARE[penalty])
        np.testing.assert_array_equal(solved[:, j] != 0.0, chosen)
        np.testing.assert_allclose(solved[:, j], refitted(Phi, Y[:, j], chosen), rtol=1e-8)


def test_the_choices_of_these_tests_differ() -> None:
    Phi, Y = problem()
    counts = {
        (share, strength): sum(support(Phi, y, strength, share).sum() for y in Y.T)
        for share in (0.5, 1.0)
        for strength in (0.03, 0.2, 0.5)
    }
    assert len(set(counts.values())) >= 4
    assert counts[0.5, 0.2] > counts[1.0, 0.2]


@pytest.mark.parametrize("penalty", ["lasso", "elasticnet"])
def test_strength_zero_keeps_every_regressor_and_one_only_the_constant(penalty: Penalty) -> None:
    Phi, Y = problem()
    solver = solver_for(penalty, RFactor.of(Phi, Y))
    full = np.linalg.lstsq(Phi, Y, rcond=None)[0]
    np.testing.assert_allclose(solver.solve(0.0), full, rtol=1e-8)
    np.testing.assert_array_equal(solver.solve(1.001)[1:], 0.0)
    np.testing.assert_allclose(solver.solve(1.001)[0], Y.mean(axis=0), rtol=1e-12)
    assert (np.count_nonzero(solver.solve(0.999)[1:], axis=0) >= 1).all()


def test_a_target_that_does_not_move_needs_the_constant_only() -> None:
    Phi, Y = problem()
    Y[:, 1:] = 4.0, 0.0
    solved = SparseSolver(RFactor.of(Phi, Y)).solve(1e-4)
    np.testing.assert_array_equal(solved[1:, 1:], 0.0)
    np.testing.assert_allclose(solved[0, 1:], [4.0, 0.0], rtol=1e-12)
    assert np.count_nonzero(solved[1:, 0]) > 1


@pytest.mark.parametrize("value", [0.1, 0.0])
@pytest.mark.parametrize("strength", [0.0, 1e-3])
def test_a_regressor_that_does_not_move_is_not_chosen(strength: float, value: float) -> None:
    """Beside the constant it explains nothing; its rounding must not be blown up."""
    Phi, Y = problem()
    Phi[:, 4] = value
    solved = SparseSolver(RFactor.of(Phi, Y)).solve(strength)
    np.testing.assert_array_equal(solved[4], 0.0)
    assert np.count_nonzero(solved[5]) > 0


def test_the_lasso_finds_the_regressors_that_matter_and_their_exact_coefficients() -> None:
    rng = np.random.default_rng(0)
    Phi = np.hstack([np.ones((2000, 1)), rng.normal(size=(2000, 15)) * np.geomspace(1e-3, 1e3, 15)])
    K = np.zeros((16, 2))
    K[[0, 4, 9], 0] = 5.0, 100.0, -1.0
    K[2, 1] = 3.0
    solved = SparseSolver(RFactor.of(Phi, Phi @ K)).solve(0.05)
    np.testing.assert_array_equal(solved[1:] != 0.0, K[1:] != 0.0)
    np.testing.assert_allclose(solved, K, rtol=1e-10, atol=1e-10)


def test_the_elastic_net_keeps_twins_where_the_lasso_keeps_one() -> None:
    rng = np.random.default_rng(0)
    x = rng.normal(size=(200, 3))
    Phi = np.hstack([np.ones((200, 1)), x, x[:, :1] + 1e-3 * rng.normal(size=(200, 1))])
    factor = RFactor.of(Phi, 2.0 * x[:, :1])
    both = solver_for("elasticnet", factor).solve(0.1)[:, 0] != 0.0
    one = solver_for("lasso", factor).solve(0.1)[:, 0] != 0.0
    np.testing.assert_array_equal(both[1:], [True, False, False, True])
    np.testing.assert_array_equal(one[1:], [True, False, False, False])


@pytest.mark.parametrize("penalty", ["ridge", "truncation"])
def test_ridge_shrinks_what_truncation_keeps_or_drops(penalty: Penalty) -> None:
    rng = np.random.default_rng(0)
    U, V = np.linalg.qr(rng.normal(size=(50, 4)))[0], np.linalg.qr(rng.normal(size=(4, 4)))[0]
    s = np.array([10.0, 1.0, 0.1, 0.01])
    Y = rng.normal(size=(50, 2))
    weight = 0.05**2
    gain = s / (s**2 + weight) if penalty == "ridge" else np.where(s > 0.05, 1.0 / s, 0.0)
    solved = solver_for(penalty, RFactor.of(U * s @ V.T, Y)).solve(weight / 50)
    np.testing.assert_allclose(solved, V * gain @ U.T @ Y, atol=1e-12)


@pytest.mark.parametrize("penalty", get_args(Penalty))
def test_some_targets_are_solved_for_as_among_all(penalty: Penalty) -> None:
    solver = solver_for(penalty, RFactor.of(*problem(q=4)))
    strengths: list[Any] = [0.01, np.array([0.01, 0.1, 0.01, 0.3])]
    for strength in strengths:
        some = strength if isinstance(strength, float) else strength[[3, 1]]
        K = solver.solve(strength)
        np.testing.assert_allclose(solver.solve(some, [3, 1]), K[:, [3, 1]], rtol=1e-13, atol=1e-14)


@pytest.mark.parametrize("penalty", get_args(Penalty))
def test_each_target_may_have_its_own_strength(penalty: Penalty) -> None:
    solver = solver_for(penalty, RFactor.of(*problem()))
    each = solver.solve(np.array([0.01, 0.3, 0.01]))
    for j, strength in enumerate([0.01, 0.3, 0.01]):
        np.testing.assert_allclose(each[:, j], solver.solve(strength)[:, j], rtol=1e-10)
    assert np.abs(each - solver.solve(0.01))[:, 1].max() > 1e-6


def test_factors_and_solvers_cannot_be_changed() -> None:
    factor = RFactor.of(*problem())
    for one in (factor, factor.solver(), SparseSolver(factor)):
        with pytest.raises(FrozenInstanceError):
            setattr(one, fields(one)[0].name, None)


def test_strengths_worth_trying_are_powers_of_ten() -> None:
    ridge, lasso = np.geomspace(1e-14, 1e-2, 13), np.geomspace(1e-4, 1e-1, 4)
    for penalty in get_args(Penalty):
        wanted = ridge if penalty in ("ridge", "truncation") else lasso
        np.testing.assert_allclose(path_of(penalty), wanted, rtol=1e-12)
