"""What is said of logs that cannot be read."""

from typing import Any

import numpy as np
import pytest

from koopman_control.trajectories import from_table, split_at_gaps


@pytest.mark.parametrize(
    ("change", "error", "message"),
    [
        ({"observations": np.zeros((4, 1))}, ValueError, "observations has 4 rows for 5 times"),
        ({"dt": -1.0}, ValueError, "dt is -1.0"),
        ({"max_gap": 0.0}, ValueError, "max_gap is 0.0"),
        ({"angles": [3]}, ValueError, "angles holds 3; expected columns between 0 and 0"),
        ({"runs": [1, 2]}, ValueError, "runs has 2 rows"),
        ({"time": np.full(5, np.nan)}, ValueError, "no row with a finite time"),
        ({"observations": np.full(5, np.nan)}, ValueError, "column 0 has no two readings"),
        ({"actions": np.full(5, np.nan)}, ValueError, "hold_actions=True"),
        ({"actions": ["a"] * 5}, TypeError, "actions is "),
    ],
)
def test_what_cannot_be_read_is_said(change: Any, error: type[Exception], message: str) -> None:
    log: dict[str, Any] = {
        "time": np.arange(5.0),
        "observations": np.zeros(5),
        "actions": np.ones(5),
    }
    with pytest.raises(error, match=message):
        split_at_gaps(**(log | change))


def test_columns_of_objects_must_hold_numbers_or_nothing() -> None:
    log = {"t": np.arange(4.0), "u": np.ones(4)}
    holes = np.array([1.0, 2, None, 4.0], dtype=object)
    (run,), _ = from_table(log | {"x": holes}, ["x"], ["u"], time="t", max_gap=2.5, dt=1.0)
    np.testing.assert_allclose(run.observations[:, 0], [1.0, 2.0, 3.0, 4.0])
    words = np.array([1.0, "two", None, 4.0], dtype=object)
    with pytest.raises(ValueError, match="column 'x' holds 'two', no number, in row 1"):
        from_table(log | {"x": words}, ["x"], ["u"], time="t")


def test_columns_that_are_not_there_are_named() -> None:
    log = {"t": [0.0, 1.0], "x": [0.0, 1.0], "u": [0.0, 1.0]}
    with pytest.raises(ValueError, match=r"no column 'y'; the table has \['t', 'x', 'u'\]"):
        from_table(log, ["y"], ["u"], time="t")
    with pytest.raises(TypeError, match="observations is 'x'; expected a sequence"):
        from_table(log, "x", ["u"], time="t")
    with pytest.raises(ValueError, match="angles names 'u'"):
        from_table(log, ["x"], ["u"], time="t", angles=["u"])
