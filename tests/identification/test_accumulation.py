"""Sums over chunks of rows: as precise as factorising all rows, whatever comes in which order."""

import numpy as np
import pytest

from koopman_control.common.arrays import Array
from koopman_control.features import Coordinates, SampledFeatures
from koopman_control.identification import RFactor
from koopman_control.identification.least_squares import Accumulator, whitening
from koopman_control.identification.regression import Design, Regression
from koopman_control.identification.signals import Signals
from koopman_control.identification.snapshots import Chunk, runs_of
from koopman_control.trajectories import Trajectory


def lorenz(n_steps: int, dt: float = 0.01) -> Array:
    """Integrate Lorenz-63 with Runge-Kutta steps."""

    def f(x: Array) -> Array:
        return np.array(
            [10.0 * (x[1] - x[0]), x[0] * (28.0 - x[2]) - x[1], x[0] * x[1] - 8 / 3 * x[2]]
        )

    X = np.empty((n_steps + 1, 3))
    X[0] = 1.0, 2.0, 20.0
    for t in range(n_steps):
        k1 = f(X[t])
        k2 = f(X[t] + dt / 2 * k1)
        k3 = f(X[t] + dt / 2 * k2)
        X[t + 1] = X[t] + dt / 6 * (k1 + 2 * k2 + 2 * k3 + f(X[t] + dt * k3))
    return X


def lorenz_rows(n_steps: int = 6000, n_features: int = 200) -> tuple[Regression, Array, Array]:
    """Return a regression on sampled features, and its regressors and targets."""
    data = [Trajectory(lorenz(n_steps), np.zeros((n_steps, 1)))]
    coordinates = Coordinates.of(3)
    runs = runs_of(data, coordinates)
    unlimited = np.tile([[-np.inf], [np.inf]], 3)
    signals = Signals.of(data, runs, coordinates, unlimited)
    features = SampledFeatures(n_features, random_state=0).fit(
        runs[0].X[:-1], np.diff(runs[0].X, axis=0)
    )
    regression = Regression(Design.of(signals, runs, "linear"), features)
    Phi, Y, _ = regression.rows(Chunk(runs[0].X, runs[0].U, None))
    return regression, Phi[:, :-1], Y


def added(parts: list[Array], n_targets: int, basis: Array | None = None) -> Accumulator:
    k = parts[0].shape[1] - n_targets
    sums = Accumulator(k, n_targets, basis)
    for part in parts:
        sums.add(part[:, :k], part[:, k:].copy())
    return sums


def ridge(Phi: Array, Y: Array, regularization: float) -> Array:
    """Solve the ridge problem on all rows at once, by a singular value decomposition."""
    rows = np.sqrt(regularization * len(Phi)) * np.eye(Phi.shape[1])
    padded = np.vstack([Y, np.zeros((len(rows), Y.shape[1]))])
    solution: Array = np.linalg.lstsq(np.vstack([Phi, rows]), padded, rcond=0.0)[0]
    return solution


def columns(n_rows: int, seed: int = 0, k: int = 12, q: int = 3) -> Array:
    return np.random.default_rng(seed).normal(size=(n_rows, k + q))


def same(sums: Accumulator, rows: Array, q: int = 3, atol: float = 1e-12) -> None:
    """Check that sums solve for what all rows at once give."""
    Phi, Y = rows[:, :-q], rows[:, -q:]
    factor = sums.factor()
    assert factor.n_samples == len(rows)
    reference = np.linalg.lstsq(Phi, Y, rcond=None)[0]
    np.testing.assert_allclose(factor.solver().solve(0.0), reference, rtol=0, atol=atol)


def test_ill_conditioned_features_are_solved_as_by_one_decomposition_of_all_rows() -> None:
    _, Phi, Y = lorenz_rows()
    regularization = 1e-13 / len(Phi)  # weight 1e-13 on the sum of squares
    reference = Phi @ ridge(Phi, Y, regularization)
    solver = added(np.array_split(np.hstack([Phi, Y]), 30), Y.shape[1]).factor().solver()
    normal = np.linalg.lstsq(Phi.T @ Phi + 1e-13 * np.eye(Phi.shape[1]), Phi.T @ Y, rcond=None)[0]
    size = np.linalg.norm(reference)
    assert solver.condition_number > 1e10
    assert np.linalg.norm(Phi @ solver.solve(regularization) - reference) < 1e-6 * size
    assert np.linalg.norm(Phi @ normal - reference) > 1e-3 * size


def test_a_run_of_chunks_gives_what_all_rows_give() -> None:
    rows = columns(1000)
    same(added([rows[i : i + 37] for i in range(0, 1000, 37)], 3), rows)
    same(added([rows[i : i + 1] for i in range(200)], 3), rows[:200])


def test_sums_of_parts_add_up_with_one_basis_or_several() -> None:
    rows = columns(900)
    basis = whitening(RFactor.of(rows[:100, :12], rows[:100, 12:]))
    for bases in ([basis] * 3, [None] * 3, [None, basis, basis]):
        parts = [added([rows[i::3]], 3, b) for i, b in enumerate(bases)]
        merged = Accumulator.merged(parts).solver().solve(1e-3)
        np.testing.assert_allclose(merged, ridge(rows[:, :12], rows[:, 12:], 1e-3), atol=1e-12)
        parts[0].absorb(parts[1])
        parts[0].absorb(parts[2])
        same(parts[0], rows)


def test_rows_unlike_those_before_lose_no_digits() -> None:
    """Half the directions are a billion times larger in the second half of the stream."""
    rows = columns(2000)
    rows[:1000, :6] *= 1e-9
    rows[:, 12:] = rows[:, :12] @ np.ones((12, 3)) + 1e-3 * rows[:, 12:]
    same(added(np.array_split(rows, 20), 3), rows, atol=1e-11)


def test_a_direction_that_the_sample_for_whitening_lacks_is_still_found() -> None:
    rows = columns(2000)
    rows[:500, 3] = 0.0
    basis = whitening(RFactor.of(rows[:100, :12], rows[:100, 12:]))
    same(added(np.array_split(rows, 20), 3, basis), rows)


def test_parts_that_lack_a_direction_share_the_smallest_solution() -> None:
    rows = columns(2000)
    rows[:, 3], rows[:, 5] = 0.0, rows[:, 4]
    Phi, Y = rows[:, :12], rows[:, 12:]
    solved = added(np.array_split(rows, 20), 3).factor().solver().solve(0.0)
    np.testing.assert_allclose(solved, np.linalg.pinv(Phi) @ Y, atol=1e-12)


def test_a_weight_of_two_counts_a_row_twice_and_zero_leaves_it_out_whatever_it_holds() -> None:
    rows = columns(300)
    weight = np.random.default_rng(1).integers(0, 3, 300).astype(float)
    repeated = np.repeat(rows, weight.astype(int), axis=0)
    rows[weight == 0.0] = np.nan
    for basis in (None, whitening(RFactor.of(repeated[:60, :12], repeated[:60, 12:]))):
        sums = Accumulator(12, 3, basis)
        sums.add(rows[:, :12], rows[:, 12:].copy(), weight)
        same(sums, repeated)


def test_features_that_overflow_are_named() -> None:
    rows = columns(300)
    sums = added([rows], 3)
    rows[7, 2] = np.inf
    with pytest.raises(ValueError, match="features are not finite numbers on the data"):
        with np.errstate(invalid="ignore"):
            sums.add(rows[:, :12], rows[:, 12:].copy())
            sums.factor()
