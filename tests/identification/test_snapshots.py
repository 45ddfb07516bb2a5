import numpy as np
import pytest

from koopman_control.features import Coordinates
from koopman_control.identification import snapshots
from koopman_control.identification.errors import bounded_score, rms_per_step, windows_of
from koopman_control.identification.snapshots import (
    Extent,
    Run,
    at_limit,
    sample_of,
    split_into_folds,
    stack,
)

FREE = np.array([[-np.inf], [np.inf]])


def count(first: float, n_steps: int) -> Run:
    """Count upwards, so that every true increment is one."""
    return Run(first + np.arange(n_steps + 1.0)[:, None], np.full((n_steps, 1), first))


def test_increments_are_taken_within_runs_only() -> None:
    pairs = stack([count(0, 3), count(100, 2), count(-50, 1)], Coordinates.of(1), FREE)
    assert pairs.dX.ravel().tolist() == [1.0] * 6
    assert pairs.U.ravel().tolist() == [0, 0, 0, 100, 100, -50]
    assert pairs.X.ravel().tolist() == [0, 1, 2, 100, 101, -50]


def test_pairs_that_end_on_a_limit_are_censored_and_those_that_start_there_are_not() -> None:
    run = Run(np.array([[0.0], [1.0], [0.5], [-1.0]]), np.zeros((3, 1)))
    pairs = stack([run], Coordinates.of(1), np.array([[-1.0], [1.0]]))
    assert pairs.censored.tolist() == [True, False, True]


def test_limits_that_went_through_single_precision_are_still_recognised() -> None:
    limits = np.array([[-0.1, -np.inf], [0.1, np.inf]])
    X = np.array([[np.float32(0.1), 1e30], [0.0999, -1e30]], dtype=np.float64)
    assert at_limit(X, limits).tolist() == [[True, False], [False, False]]


def test_folds_share_no_snapshot_pair_and_lose_none() -> None:
    for runs in ([count(0, 23)], [count(0, 3), count(50, 9)], [count(50 * i, 4) for i in range(9)]):
        folds = split_into_folds(runs, 5)
        assert 2 <= len(folds) <= 5
        pairs = [
            x for fold in folds for x in stack(fold, Coordinates.of(1), FREE).X.ravel().tolist()
        ]
        whole = stack(runs, Coordinates.of(1), FREE).X.ravel().tolist()
        assert sorted(pairs) == sorted(whole)


def test_a_single_step_cannot_be_split() -> None:
    assert len(split_into_folds([count(0, 1)], 5)) == 1


def test_windows_stop_at_the_end_of_their_run() -> None:
    windows = windows_of([count(0, 5), count(100, 2)], horizon=4)
    assert windows.x0.ravel().tolist() == [0.0, 2.0, 100.0]
    assert windows.valid.sum(axis=1).tolist() == [4, 3, 2]
    steps = windows.X[:, :, 0][windows.valid]
    assert steps.tolist() == [1, 2, 3, 4, 3, 4, 5, 101, 102]


def test_steps_that_no_window_reaches_are_left_out_of_the_mean() -> None:
    errors = np.array([[[3.0], [4.0], [np.nan]], [[4.0], [np.nan], [np.nan]]])
    np.testing.assert_allclose(rms_per_step(errors), [np.sqrt(12.5), 4.0])


def test_hopeless_steps_count_as_one_standard_deviation() -> None:
    errors = np.array([[[0.0, 0.0], [np.inf, 0.0], [np.nan, np.nan]]])
    assert bounded_score(errors) == np.sqrt(0.5)
    assert bounded_score(np.full((1, 2, 1), 1e200)) == 1.0


def test_windows_are_those_of_a_list_of_all_starts() -> None:
    rng = np.random.default_rng(0)
    for _ in range(50):
        runs = [count(100.0 * i, int(n)) for i, n in enumerate(rng.integers(1, 30, 12))]
        horizon, most = int(rng.integers(1, 40)), int(rng.integers(1, 40))
        stride = max(1, horizon // 2)
        starts = [(i, t) for i, run in enumerate(runs) for t in range(0, len(run.U), stride)]
        starts = [(i, t) for i, t in starts if len(runs[i].U) - t >= stride] or starts
        if len(starts) > most:
            starts = [starts[j] for j in np.linspace(0, len(starts) - 1, most).astype(int)]
        wanted = [runs[i].X[t, 0] for i, t in starts]
        assert windows_of(runs, horizon, most).x0[:, 0].tolist() == wanted


def test_a_sample_is_evenly_spaced_and_holds_every_extreme(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(snapshots, "PLENTY", 40)
    rng = np.random.default_rng(0)
    runs = [Run(rng.normal(size=(n + 1, 2)), rng.normal(size=(n, 1))) for n in (3, 200, 1, 90)]
    sample = sample_of(runs)
    whole, kept = (np.concatenate([run.X for run in some]) for some in (runs, sample))
    np.testing.assert_array_equal(kept.min(axis=0), whole.min(axis=0))
    np.testing.assert_array_equal(kept.max(axis=0), whole.max(axis=0))
    n_kept = sum(len(run.U) for run in sample)
    assert 40 <= n_kept <= 46
    pairs = {(*x, *y, *u) for run in runs for x, y, u in zip(run.X, run.X[1:], run.U, strict=False)}
    assert {
        (*x, *y, *u) for run in sample for x, y, u in zip(run.X, run.X[1:], run.U, strict=False)
    } <= pairs
    parts = Extent.together([Extent.of(runs[:2]), Extent.of([]), Extent.of(runs[2:])])
    np.testing.assert_array_equal(parts.sample(), Extent.of(runs).sample())
    assert sample_of(runs[:1]) == runs[:1]
