"""Times of logs as loggers write them: texts, durations, counts since 1970, rounded or reversed.

After pandas #20257 and #30353, and ROS answers 10257 (nanoseconds taken for seconds).
"""

from typing import Any

import numpy as np
import pytest

from koopman_control.trajectories import from_table

N = 40
T = 0.01 * np.arange(N)


def table(time: Any) -> dict[str, Any]:
    return {"t": time, "x": np.sin(T), "u": np.cos(T)}


def made(time: Any) -> tuple[int, float]:
    """Length and sampling time of the only run."""
    (run,), _ = from_table(table(time), ["x"], ["u"], time="t")
    assert run.dt is not None
    return len(run), round(run.dt, 6)


@pytest.mark.parametrize(
    "time",
    [
        T,
        1.7e9 + T,
        np.arange(N) * np.timedelta64(10, "ms"),
        np.datetime64("2024-01-31T10:00:00") + np.arange(N) * np.timedelta64(10, "ms"),
    ],
)
def test_times_are_read_in_seconds(time: Any) -> None:
    assert made(time) == (N - 1, 0.01)


@pytest.mark.parametrize("end", ["", "Z", "+01:00"])
def test_texts_are_read_as_dates(end: str) -> None:
    pytest.importorskip("pandas")
    assert made([f"2024-01-31T10:00:00.{k:02d}{end}" for k in range(N)]) == (N - 1, 0.01)


@pytest.mark.parametrize(
    ("per_second", "name"), [(1e3, "milliseconds"), (1e6, "microseconds"), (1e9, "nanoseconds")]
)
def test_counts_since_1970_are_taken_for_what_they_are(per_second: float, name: str) -> None:
    counts = np.round((1_700_000_000 + np.arange(N) // 100) * per_second).astype(np.int64)
    counts += np.round(T * per_second).astype(np.int64)
    with pytest.warns(UserWarning, match=f"too large for seconds since 1970; taken as {name}"):
        assert made(counts) == (N - 1, 0.01)


def test_times_that_are_no_clock_are_refused_in_words() -> None:
    with pytest.raises(ValueError, match="time goes back in 39 of 40 rows"):
        made(T[::-1])
    with pytest.raises(ValueError, match="time repeats the row before in 39 of 40 rows"):
        made((1.7e9 + T).astype(np.float32))


def test_a_name_that_stands_twice_is_told() -> None:
    pandas = pytest.importorskip("pandas")
    frame = pandas.DataFrame(table(T))
    with pytest.raises(ValueError, match="the table has 2 columns 'x'"):
        from_table(pandas.concat([frame, frame[["x"]]], axis=1), ["x"], ["u"], time="t")
