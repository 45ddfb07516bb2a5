import importlib

import numpy as np
import pytest

from koopman_control.trajectories import Trajectory, from_table, split_at_gaps


@pytest.fixture
def rng() -> np.random.Generator:
    return np.random.default_rng(0)


def integrator(t: np.ndarray, u: np.ndarray, x0: float = 0.3) -> np.ndarray:
    """Solve x' = u exactly at times t for an input held from row to row."""
    return x0 + np.concatenate([[0.0], np.cumsum(np.diff(t) * u[:-1])])


def test_a_clean_log_comes_back_to_the_last_bit(rng: np.random.Generator) -> None:
    t, Y, U = 0.05 * np.arange(50), rng.normal(size=(50, 3)), rng.normal(size=(50, 2))
    data, report = split_at_gaps(t, Y, U)
    assert len(data) == 1
    np.testing.assert_array_equal(data[0].observations, Y)
    np.testing.assert_array_equal(data[0].actions, U[:-1])
    assert data[0].dt == 0.05
    assert (report.n_steps, report.gaps, report.n_mixed, report.n_unused) == (49, (), 0, 0)
    assert str(report) == "1 trajectories with 49 steps of 0.05 s (2.45 s) from 50 rows"


def test_the_sampling_time_survives_rounded_times() -> None:
    t = np.round(np.arange(3000) / 30.0, 3)  # 0.033, 0.067, 0.1, ...
    data, _ = split_at_gaps(t, t, np.zeros(3000))
    assert data[0].dt == pytest.approx(1.0 / 30.0, abs=1e-6)
    assert [len(run) for run in data] == [2999]


def test_a_clock_that_counts_from_1970_loses_nothing(rng: np.random.Generator) -> None:
    t, Y, U = 1.79e9 + 0.01 * np.arange(500), rng.normal(size=(500, 2)), rng.normal(size=(500, 1))
    (run,), report = split_at_gaps(t, Y, U)
    np.testing.assert_array_equal(run.observations, Y)
    np.testing.assert_array_equal(run.actions, U[:-1])
    assert (run.dt, report.n_mixed) == (0.01, 0)


def test_a_log_is_cut_at_gaps_and_nothing_crosses_them() -> None:
    t = np.concatenate([np.arange(10), 20 + np.arange(5), 40 + np.arange(8)]) * 0.1
    x = np.where(t < 1.5, 0.0, np.where(t < 3.5, 100.0, 200.0))
    data, report = split_at_gaps(t, x, np.zeros(len(t)))
    assert [len(run) for run in data] == [9, 4, 7]
    for run, level in zip(data, (0.0, 100.0, 200.0), strict=True):
        np.testing.assert_array_equal(run.observations, level)
    np.testing.assert_allclose(report.gaps, [(0.9, 2.0), (2.4, 4.0)])
    assert "2 gaps (longer than 0.15 s" in str(report)


def test_a_missing_observation_cuts_unless_the_gap_allows_it() -> None:
    t = 0.1 * np.arange(11)
    x = 2.0 * t
    x[5] = np.nan
    data, report = split_at_gaps(t, x, t)
    assert [len(run) for run in data] == [4, 4]
    np.testing.assert_allclose(report.gaps, [(0.4, 0.6)])
    assert (report.n_incomplete, report.n_unused) == (1, 1)
    (whole,), _ = split_at_gaps(t, x, t, max_gap=0.2)
    np.testing.assert_allclose(whole.observations[:, 0], 2.0 * t, atol=1e-14)
    np.testing.assert_array_equal(whole.actions[:, 0], t[:-1])


def test_a_missing_action_cuts_after_its_row_unless_actions_are_held() -> None:
    t = 0.1 * np.arange(10)
    u = np.ones(10)
    u[4], u[9] = np.nan, np.nan  # the last one is never needed
    data, _ = split_at_gaps(t, t, u)
    assert [len(run) for run in data] == [4, 4]
    (held,), _ = split_at_gaps(t, t, u, hold_actions=True)
    np.testing.assert_array_equal(held.actions, np.ones((9, 1)))


def test_held_actions_do_not_reach_into_the_next_run() -> None:
    t = 0.1 * np.arange(10)
    u = np.full(10, np.nan)
    u[2] = 3.0
    data, _ = split_at_gaps(t, t, u, hold_actions=True, runs=[0] * 5 + [1] * 5)
    assert [len(run) for run in data] == [2]
    np.testing.assert_array_equal(data[0].actions, 3.0)


def test_jitter_is_resampled_without_an_error_for_an_integrator(rng: np.random.Generator) -> None:
    t = 0.1 * np.arange(400)
    t[1:-1] += rng.uniform(-0.03, 0.03, 398)
    u = rng.uniform(-1.0, 1.0, 400)
    (run,), report = split_at_gaps(t, integrator(t, u), u, dt=0.1, max_gap=0.2)
    assert len(run) == 399
    np.testing.assert_allclose(np.diff(run.observations[:, 0]), 0.1 * run.actions[:, 0], atol=1e-12)
    assert 0.2 < report.jitter < 0.7
    assert 250 < report.n_mixed < 350  # unless both ends shift outwards
    assert "its mean over the step is used" in str(report)


def test_a_change_of_rate_is_brought_to_one_sampling_time(rng: np.random.Generator) -> None:
    t = np.concatenate([0.01 * np.arange(100), 1.0 + 0.05 * np.arange(20)])
    u = rng.uniform(-1.0, 1.0, len(t))
    (run,), _ = split_at_gaps(t, integrator(t, u), u, dt=0.05)
    assert len(run) == 39
    np.testing.assert_allclose(
        np.diff(run.observations[:, 0]), 0.05 * run.actions[:, 0], atol=1e-12
    )


def test_columns_logged_at_different_rates_are_merged() -> None:
    t = 0.01 * np.arange(101)
    fast, slow = t.copy(), np.where(np.arange(101) % 5 == 0, 3.0 * t, np.nan)
    (run,), report = split_at_gaps(t, np.stack([fast, slow], axis=1), t)
    assert run.dt == 0.05  # of the slower column
    np.testing.assert_allclose(run.observations[:, 1], 3.0 * run.observations[:, 0], atol=1e-12)
    assert report.n_runs == 1
    (fine,), _ = split_at_gaps(t, np.stack([fast, slow], axis=1), t, dt=0.01)
    np.testing.assert_allclose(fine.observations[:, 1], 3.0 * t, atol=1e-12)


def test_repeated_times_steps_back_and_lost_times_are_reported() -> None:
    t = np.array([0.0, 0.1, 0.1, 0.2, np.nan, 0.3, 0.0, 0.1, 0.2])
    x = np.arange(9.0)
    data, report = split_at_gaps(t, x, np.zeros(9))
    np.testing.assert_array_equal(data[0].observations[:, 0], [0.0, 1.0, 3.0, 5.0])
    np.testing.assert_array_equal(data[1].observations[:, 0], [6.0, 7.0, 8.0])
    assert (report.n_repeated, report.n_back, report.n_without_time) == (1, 1, 1)
    assert "1 steps back in time" in str(report)


def test_angles_are_unwrapped_within_each_run() -> None:
    t = 0.1 * np.arange(200)
    t[100:] += 1.0
    theta = 3.0 * t
    wrapped = (theta + np.pi) % (2.0 * np.pi) - np.pi
    data, _ = split_at_gaps(t, wrapped, np.zeros(200), angles=[0])
    for run, rows in zip(data, (slice(0, 100), slice(100, 200)), strict=True):
        np.testing.assert_allclose(np.diff(run.observations[:, 0]), 0.3, atol=1e-12)
        assert run.observations[0, 0] == pytest.approx(wrapped[rows][0], abs=1e-12)
    degrees, _ = split_at_gaps(
        t, np.degrees(theta) % 360.0, np.zeros(200), angles=[0], angle_period=360.0
    )
    np.testing.assert_allclose(np.diff(degrees[0].observations[:, 0]), np.degrees(0.3), atol=1e-9)


def test_an_angle_is_not_interpolated_through_its_jump() -> None:
    t = 0.1 * np.arange(40)
    wrapped = (3.0 * t) % (2.0 * np.pi)
    (run,), _ = split_at_gaps(t, wrapped, np.zeros(40), dt=0.07, angles=[0])
    np.testing.assert_allclose(np.diff(run.observations[:, 0]), 0.21, atol=1e-12)


def test_stretches_too_short_for_a_step_are_dropped_and_counted() -> None:
    t = np.array([0.0, 0.1, 5.0, 9.0, 9.1, 9.2])
    data, report = split_at_gaps(t, t, t)
    assert [len(run) for run in data] == [1, 2]
    assert report.n_unused == 1
    data, report = split_at_gaps(t, t, t, dt=0.2, max_gap=0.2)
    assert [len(run) for run in data] == [1]
    assert report.n_too_short == 1


def test_dates_are_seconds() -> None:
    t = np.datetime64("2026-01-01T00:00:00") + np.arange(5) * np.timedelta64(250, "ms")
    (run,), _ = split_at_gaps(t, np.arange(5.0), np.zeros(5))
    assert run.dt == 0.25
    t[2] = "NaT"
    assert len(split_at_gaps(t, np.arange(5.0), np.zeros(5))[0]) == 2
    with pytest.raises(TypeError, match="tz_convert"):
        split_at_gaps(t.astype(object), np.arange(5.0), np.zeros(5))


def test_columns_are_taken_by_name_and_kept_as_names() -> None:
    rng = np.random.default_rng(1)
    log = {"t": 0.1 * np.arange(20), "v": rng.normal(size=20), "x": rng.normal(size=20)}
    log["u"] = rng.uniform(-1.0, 1.0, 20)
    data, _ = from_table(log, ["x", "v"], ["u"], time="t", action_bounds=[[-1.0], [1.0]])
    assert (data[0].observation_names, data[0].action_names) == (("x", "v"), ("u",))
    np.testing.assert_array_equal(data[0].observations, np.stack([log["x"], log["v"]], axis=1))
    np.testing.assert_array_equal(data[0].action_bounds, [[-1.0], [1.0]])
    array = np.column_stack([log["t"], log["x"], log["v"], log["u"]])
    other, _ = from_table(array, [1, 2], [3], time=0)
    np.testing.assert_array_equal(other[0].observations, data[0].observations)
    structured = np.array(
        list(zip(log["t"], log["x"], log["u"], strict=True)),
        dtype=[("t", float), ("x", float), ("u", float)],
    )
    assert len(from_table(structured, ["x"], ["u"], time="t")[0][0]) == 19


def test_a_pandas_frame_is_a_table() -> None:
    pytest.importorskip("pandas", reason="pandas is not installed: pip install pandas")
    pd = importlib.import_module("pandas")
    frame = pd.DataFrame(
        {
            "when": pd.date_range("2026-01-01", periods=6, freq="100ms"),
            "x": pd.array([0.0, 1.0, None, 3.0, 4.0, 5.0], dtype="Float64"),
            "u": [0.0, 1.0, 2.0, 3.0, 4.0, 5.0],
            "trial": ["a", "a", "a", "a", "b", "b"],
        }
    )
    data, _ = from_table(frame, ["x"], ["u"], time="when", run="trial", max_gap=0.2)
    assert [run.observations[:, 0].tolist() for run in data] == [[0.0, 1.0, 2.0, 3.0], [4.0, 5.0]]
    assert data[0].dt == 0.1


def test_a_log_of_a_known_plant_with_holes_and_jitter_gives_trajectories_to_fit(
    rng: np.random.Generator,
) -> None:
    t = np.cumsum(rng.uniform(0.08, 0.12, 500))
    u = rng.uniform(-1.0, 1.0, 500)
    x = integrator(t, u)
    x[rng.choice(500, 20, replace=False)] = np.nan
    data, _ = split_at_gaps(t, x, u, dt=0.1)
    assert all(isinstance(run, Trajectory) for run in data)
    increments = np.concatenate([np.diff(run.observations[:, 0]) for run in data])
    inputs = np.concatenate([run.actions[:, 0] for run in data])
    np.testing.assert_allclose(increments, 0.1 * inputs, atol=1e-12)
