import numpy as np
import pytest

from koopman_control.common.arrays import Array
from koopman_control.identification import RFactor
from koopman_control.identification.online import RecursiveLeastSquares


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


@pytest.mark.parametrize("n", [3, 300, 10_000])
@pytest.mark.parametrize("retain", [True, False])
def test_what_is_forgotten_is_given_back_to_the_prior_row_by_row(n: int, retain: bool) -> None:
    """As a batch: every sample t is followed by one on the coefficients' row t mod k."""
    (Phi, Y), forgetting, prior = samples(n), 0.9, 0.3
    start = np.random.default_rng(1).normal(size=(8, 3))
    rls = RecursiveLeastSquares(start, prior_weight=prior, forgetting=forgetting, retain=retain)
    for phi, y in zip(Phi, Y, strict=True):
        rls.update(phi, y)
    ages = forgetting ** np.arange(n)[::-1]
    rows = np.arange(n) % 8
    back = 8 * (1.0 - forgetting) * prior * np.bincount(rows, ages, 8) * retain
    trust = back + prior * forgetting**n
    G = Phi.T @ (ages[:, None] * Phi) + np.diag(trust)
    wanted = np.linalg.solve(G, Phi.T @ (ages[:, None] * Y) + trust[:, None] * start)
    np.testing.assert_allclose(rls.coefficients, wanted, rtol=0, atol=1e-9)
    np.testing.assert_allclose(rls.covariance, np.linalg.inv(G), rtol=1e-9, atol=1e-9)
    assert rls.n_samples == n


def test_it_starts_from_what_is_known_and_leaves_it_alone() -> None:
    start = np.arange(6.0).reshape(3, 2)
    rls = RecursiveLeastSquares(start, prior_weight=4.0)
    np.testing.assert_array_equal(rls.coefficients, [[0.0, 1.0], [2.0, 3.0], [4.0, 5.0]])
    np.testing.assert_allclose(rls.covariance, np.eye(3) / 4.0, rtol=1e-15)
    assert rls.n_samples == 0
    before = rls.coefficients
    rls.update(np.ones(3), np.ones(2))
    np.testing.assert_array_equal(before, start)
    before[:] = np.nan
    assert np.isfinite(rls.coefficients).all()
    np.testing.assert_array_equal(start, np.arange(6.0).reshape(3, 2))


def test_a_directions_uncertainty_may_grow_beyond_all_bounds() -> None:
    """What is never seen is known less and less; what is seen stays exact."""
    rls = RecursiveLeastSquares(np.zeros((2, 1)), prior_weight=1.0, forgetting=0.5, retain=False)
    for _ in range(900):
        rls.update(np.array([1.0, 0.0]), np.array([3.0]))
    np.testing.assert_allclose(rls.coefficients, [[3.0], [0.0]], rtol=1e-12)
    np.testing.assert_allclose(rls.covariance[1, 1], 2.0**900, rtol=1e-10)
    np.testing.assert_allclose(rls.covariance[0, 0], 0.5, rtol=1e-10)


@pytest.mark.parametrize("forgetting", [0.0, -0.5, 1.0 + 1e-9, np.nan])
def test_a_forgetting_out_of_range_is_refused(forgetting: float) -> None:
    with pytest.raises(ValueError, match="forgetting"):
        RecursiveLeastSquares(np.zeros((2, 1)), prior_weight=1.0, forgetting=forgetting)


def test_a_start_or_prior_that_means_nothing_is_refused() -> None:
    with pytest.raises(ValueError, match="start"):
        RecursiveLeastSquares(np.zeros(2), prior_weight=1.0)
    with pytest.raises(ValueError, match="prior_weight"):
        RecursiveLeastSquares(np.zeros((2, 1)), prior_weight=0.0)


def test_a_refused_sample_changes_nothing() -> None:
    rls = RecursiveLeastSquares(np.zeros((2, 1)), prior_weight=1.0, forgetting=0.9)
    with pytest.raises(ValueError, match="y has shape"):
        rls.update(np.ones(2), np.ones(2))
    np.testing.assert_array_equal(rls.coefficients, 0.0)
    np.testing.assert_array_equal(rls.covariance, np.eye(2))
    assert rls.n_samples == 0
