import numpy as np
import pytest

from koopman_control.common.arrays import Array
from koopman_control.identification import RFactor
from koopman_control.identification.least_squares.recursive import RecursiveLeastSquares


def batch(Phi: Array, Y: Array, weights: Array, prior: float) -> Array:
    G = Phi.T @ (weights[:, None] * Phi) + prior * np.eye(Phi.shape[1])
    return np.asarray(np.linalg.solve(G, Phi.T @ (weights[:, None] * Y)), np.float64)


def samples(n: int = 300, k: int = 8, q: int = 3) -> tuple[Array, Array]:
    rng = np.random.default_rng(0)
    return rng.normal(size=(n, k)), rng.normal(size=(n, q))


def test_without_forgetting_it_equals_the_batch_ridge_solution() -> None:
    Phi, Y = samples()
    rls = RecursiveLeastSquares(np.zeros((8, 3)), prior_weight=0.3)
    for phi, y in zip(Phi, Y, strict=True):
        rls.update(phi, y)
    solved = RFactor.of(Phi, Y).solver().solve(0.3 / len(Phi))
    np.testing.assert_allclose(rls.coefficients, solved, rtol=1e-11, atol=1e-13)
    inverse = np.linalg.inv(Phi.T @ Phi + 0.3 * np.eye(8))
    np.testing.assert_allclose(rls.covariance, inverse, rtol=1e-10, atol=1e-14)


def test_with_forgetting_it_equals_the_weighted_batch_solution() -> None:
    Phi, Y = samples()
    rls = RecursiveLeastSquares(np.zeros((8, 3)), prior_weight=0.3, forgetting=0.9, retain=False)
    for phi, y in zip(Phi, Y, strict=True):
        rls.update(phi, y)
    weights = np.array([0.9**age for age in range(len(Phi))][::-1])
    solved = batch(Phi, Y, weights, 0.3 * 0.9 ** len(Phi))
    np.testing.assert_allclose(rls.coefficients, solved, rtol=1e-9, atol=1e-11)


def test_ten_thousand_forgetting_steps_do_not_overflow() -> None:
    Phi, Y = samples()
    rls = RecursiveLeastSquares(np.zeros((8, 3)), prior_weight=1.0, forgetting=0.9)
    for i in range(10_000):
        rls.update(Phi[i % 300], Y[i % 300])
    assert np.isfinite(rls.coefficients).all()
    weights = np.array([0.9**age for age in range(10_000)][::-1])
    order = np.arange(10_000) % 300
    solved = batch(Phi[order], Y[order], weights, 1.0)
    np.testing.assert_allclose(rls.coefficients, solved, atol=0.15)  # rows are retained in turn


def test_an_unexcited_direction_does_not_wind_up() -> None:
    start = np.ones((2, 1))
    kept, wound = (
        RecursiveLeastSquares(start, prior_weight=1.0, forgetting=0.9, retain=retain)
        for retain in (True, False)
    )
    for _ in range(300):
        for rls in (kept, wound):
            rls.update(np.array([1.0, 0.0]), np.array([3.0]))
    assert kept.covariance[1, 1] < 2.0
    assert wound.covariance[1, 1] > 1e10
    np.testing.assert_allclose(kept.coefficients[1], 1.0)


def test_a_sample_of_the_wrong_kind_is_refused() -> None:
    rls = RecursiveLeastSquares(np.zeros((2, 1)), prior_weight=1.0)
    with pytest.raises(ValueError, match="phi has shape"):
        rls.update(np.zeros(3), np.zeros(1))
    with pytest.raises(ValueError, match="y holds nan"):
        rls.update(np.zeros(2), np.array([np.nan]))
    with pytest.raises(ValueError, match=r"forgetting is 1\.5"):
        RecursiveLeastSquares(np.zeros((2, 1)), prior_weight=1.0, forgetting=1.5)
