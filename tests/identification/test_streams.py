"""What an accumulator promises beside its solution: counts, memory, and whose arrays are whose."""

import pickle
from itertools import pairwise

import numpy as np
import pytest
import scipy.linalg

from koopman_control.common.arrays import Array
from koopman_control.identification import RFactor
from koopman_control.identification.least_squares import Accumulator, whitening

K, Q = 12, 5
EPS = 2.0**-52


def rows(n: int, seed: int = 0) -> Array:
    return np.random.default_rng(seed).normal(size=(n, K + Q))


def basis_of(data: Array) -> Array:
    return whitening(RFactor.of(data[:, :K], data[:, K:]))


def summed(data: Array, basis: Array | None = None, weight: Array | None = None) -> Accumulator:
    sums = Accumulator(K, Q, basis)
    sums.add(data[:, :K], data[:, K:].copy(), weight)
    return sums


def gram(data: Array) -> Array:
    return np.asarray(data[:, :K].T @ data)


def seen(sums: Accumulator) -> Array:
    """Return the Gram matrix of regressors with regressors and targets."""
    R = sums.factor().R
    return np.asarray(R[:, :K].T @ R)


def test_whitened_rows_have_mean_square_one_and_are_not_correlated() -> None:
    data = rows(100) @ np.triu(np.ones((K + Q, K + Q)))
    R0 = basis_of(data)
    W = np.linalg.solve(R0.T, data[:, :K].T).T
    np.testing.assert_allclose(W.T @ W / 100, np.eye(K), atol=1e-12)
    np.testing.assert_array_equal(np.tril(R0, -1), 0.0)
    assert R0.flags.f_contiguous


@pytest.mark.parametrize("n_rows", [0, 5])
def test_nothing_is_whitened_to_rounding_level(n_rows: int) -> None:
    R0 = whitening(RFactor.of(np.zeros((n_rows, 4)), np.zeros((n_rows, 1))))
    np.testing.assert_allclose(np.abs(R0), 20.0 * EPS * np.eye(4), rtol=1e-12)


@pytest.mark.parametrize("k", [1, 63, 64, 65, 129, 200])
def test_rows_are_whitened_by_halves_as_by_one_triangular_solve(k: int) -> None:
    data = np.random.default_rng(0).normal(size=(300, k)) @ np.triu(np.ones((k, k)))
    basis = whitening(RFactor.of(data, data[:, :0]))
    sums = Accumulator(k, 1, basis)
    sums.add(data, np.ones((300, 1)))
    W = scipy.linalg.solve_triangular(basis, data.T, trans="T").T
    R = sums.factor().R[:, :k]
    np.testing.assert_allclose(R.T @ R, basis.T @ (W.T @ W) @ basis, rtol=1e-9, atol=1e-7)


def test_sums_from_another_process_add_up_without_reflections() -> None:
    data = rows(300)
    basis = basis_of(data)
    here, there = summed(data[:100], basis), summed(data[100:], basis)
    here.absorb(pickle.loads(pickle.dumps(there)))
    assert not here._closed
    np.testing.assert_allclose(seen(here), gram(data), atol=1e-11)


def test_whitening_does_not_depend_on_units() -> None:
    data = rows(100)
    data[:, 5], data[:, 7] = data[:, 4], 0.0
    units = 2.0 ** np.where(np.arange(K) == 7, 0, -3 * np.arange(K))
    smaller = np.hstack([units * data[:, :K], data[:, K:]])
    np.testing.assert_allclose(
        np.abs(basis_of(smaller)[:4]), np.abs(basis_of(data)[:4]) * units, rtol=1e-9
    )
    lost = np.abs(np.diagonal(basis_of(smaller)))[5] / units[5]
    assert lost == pytest.approx(np.abs(np.diagonal(basis_of(data)))[5], rel=0.5)
    assert lost < 100.0 * EPS


def test_four_rows_per_column_are_waited_for() -> None:
    data, sums = rows(60), Accumulator(K, Q)
    for start, end in pairwise([0, 20, 47, 48]):
        assert sums.basis is None
        sums.add(data[start:end, :K], data[start:end, K:])
    assert sums.basis is not None
    np.testing.assert_allclose(np.abs(sums.basis), np.abs(basis_of(data[:48])), atol=1e-12)
    np.testing.assert_allclose(seen(sums), gram(data[:48]), atol=1e-11)


def test_a_given_basis_is_kept() -> None:
    data = rows(300)
    basis = basis_of(data[:100])
    assert summed(data, basis).basis is basis


def test_nothing_added_gives_a_factor_without_rows() -> None:
    for basis in (None, np.eye(K, order="F")):
        factor = Accumulator(K, Q, basis).factor()
        assert factor.R.shape == (0, K + Q)
        assert (factor.n_regressors, factor.n_samples) == (K, 0)
    zero = Accumulator(1, 1, np.ones((1, 1)))
    zero.add(np.zeros((5, 1)), np.ones((5, 1)))
    assert zero.factor().R.shape == (0, 2)
    both = Accumulator.merged([Accumulator(K, Q), summed(rows(30))])
    assert both.n_samples == 30


def test_the_factor_of_a_stream_is_triangular_with_a_row_per_regressor() -> None:
    R = summed(rows(300), basis_of(rows(100, seed=1))).factor().R
    assert R.shape == (K, K + Q)
    np.testing.assert_array_equal(np.tril(R[:, :K], -1), 0.0)


@pytest.mark.parametrize("lacking", [1, 2, 3])
@pytest.mark.parametrize("seed", range(4))
def test_directions_that_the_sample_had_and_the_stream_lacks_are_left_out(
    seed: int, lacking: int
) -> None:
    data = rows(500, seed)
    data[:, :lacking] = data[:, lacking : 2 * lacking] - data[:, [-Q - 1]]
    Phi, Y = data[:, :K], data[:, K:]
    solver = summed(data, basis_of(rows(100, seed=9))).factor().solver()
    assert solver.rank == K - lacking
    np.testing.assert_allclose(solver.solve(0.0), np.linalg.pinv(Phi) @ Y, atol=1e-12)


@pytest.mark.parametrize("with_basis", [False, True])
def test_memory_does_not_grow_with_the_rows(with_basis: bool) -> None:
    data = rows(20_000)
    basis = basis_of(data[:100]) if with_basis else None
    sums = Accumulator(K, Q, basis)
    for part in np.array_split(data, 400):
        part = part * (1.0 if with_basis else 1e3 ** (part[0, 0] > 0.0))
        sums.add(part[:, :K], part[:, K:])
        assert len(pickle.dumps(sums)) < 8 * 12 * (K + Q) * (K + Q)
    for seed in range(40):
        sums.absorb(summed(rows(100, seed), basis_of(rows(100, seed))))
        assert len(pickle.dumps(sums)) < 8 * 12 * (K + Q) * (K + Q)
    assert sums.factor().n_samples == 24_000


def test_rows_far_larger_than_the_sample_are_weighted_like_others() -> None:
    data, rng = rows(600), np.random.default_rng(1)
    data[rng.random(600) < 0.05] *= 1e5
    weight = rng.choice([0.0, 0.5, 1.0, 2.0], 600)
    wanted = gram(np.sqrt(weight)[:, None] * data)
    data[weight == 0.0] = np.nan
    sums = summed(data, basis_of(rows(100, seed=1)), weight)
    np.testing.assert_allclose(seen(sums), wanted, rtol=1e-9, atol=1e-5)
    assert sums.factor().n_samples == weight.sum()


@pytest.mark.parametrize("weight", [None, 1.0, 0.5])
def test_one_row_far_larger_than_the_sample_does_not_hide_the_others(weight: float | None) -> None:
    """Summed with them, it would leave nothing of their digits."""
    data = rows(400)
    data[7] *= 1e9
    weights = None if weight is None else np.full(400, weight)
    sums = summed(data, basis_of(rows(100, seed=1)), weights)
    others = np.delete(data, 7, axis=0)
    wanted = np.linalg.lstsq(data[:, :K], data[:, K:], rcond=None)[0]
    solved = sums.factor().solver().solve(0.0)
    np.testing.assert_allclose(others[:, :K] @ (solved - wanted), 0.0, atol=1e-8)


def test_weights_of_zero_and_one_leave_rows_as_they_are() -> None:
    data = rows(200)
    weight = (np.arange(200) % 3 > 0).astype(float)
    for basis in (None, basis_of(data)):
        sums = summed(data, basis, weight)
        np.testing.assert_allclose(seen(sums), gram(data[weight > 0.0]), atol=1e-11)
        assert sums.factor().n_samples == 133


@pytest.mark.parametrize("with_basis", [False, True])
def test_counts_are_whole_where_weights_are(with_basis: bool) -> None:
    data = rows(30)
    basis = basis_of(rows(100)) if with_basis else None
    for weight, count in ((2.0, 60), (0.75, 22.5)):
        sums = summed(data, basis, np.full(30, weight))
        np.testing.assert_allclose(seen(sums), weight * gram(data), atol=1e-11)
        assert sums.factor().n_samples == count
        assert isinstance(sums.factor().n_samples, type(count))


def test_arrays_that_were_added_may_be_used_again() -> None:
    for basis in (None, basis_of(rows(100))):
        data = rows(40)
        Phi, Y = data[:, :K].copy(), data[:, K:].copy()
        sums = Accumulator(K, Q, basis)
        sums.add(Phi, Y)
        np.testing.assert_array_equal(np.hstack([Phi, Y]), data)
        Phi[:], Y[:] = np.nan, np.nan
        np.testing.assert_allclose(seen(sums), gram(data), atol=1e-11)


@pytest.mark.parametrize("own", [None, 0, 1])
@pytest.mark.parametrize("others", [None, 0, 1])
def test_absorbing_adds_rows_and_leaves_the_other_as_it_is(
    own: int | None, others: int | None
) -> None:
    bases = {None: None, 0: basis_of(rows(100)), 1: basis_of(rows(100, seed=1))}
    first, second, third = rows(30), rows(40, seed=1), rows(50, seed=2)
    sums, other = summed(first, bases[own]), summed(second, bases[others])
    sums.absorb(other)
    np.testing.assert_allclose(seen(sums), gram(np.vstack([first, second])), atol=1e-11)
    assert sums.factor().n_samples == 70
    sums.add(third[:, :K], third[:, K:])
    np.testing.assert_allclose(seen(sums), gram(np.vstack([first, second, third])), atol=1e-11)
    np.testing.assert_allclose(seen(other), gram(second), atol=1e-11)
    assert (sums.factor().n_samples, other.factor().n_samples) == (120, 40)


@pytest.mark.parametrize("column", [2, K + 1])
@pytest.mark.parametrize("with_basis", [False, True])
def test_numbers_that_are_not_finite_are_refused(column: int, with_basis: bool) -> None:
    data = rows(100)
    data[3, column] = np.nan
    with pytest.raises(ValueError, match="not finite"):
        summed(data, basis_of(rows(100)) if with_basis else None).factor()
