"""What the benchmarks of logs and of chaotic systems count, and that a stopped run goes on."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from examples.benchmarks import dysts, logs


def test_valid_time_and_smape_are_those_of_the_protocol() -> None:
    truth = np.ones((2, dysts.HORIZON, 1))
    ahead = truth.copy()
    ahead[:, 30:] = 2.0  # beyond 0.4 deviations from the 31st point on
    found = dysts.scores(ahead, truth, np.ones(1), 0.1)
    assert found["vpt"] == pytest.approx(3.0)
    assert found["smape"] == 0.0
    ahead[:, : dysts.NEAR] = 3.0
    assert dysts.scores(ahead, truth, np.ones(1), 0.1)["smape"] == pytest.approx(100.0)
    lost = np.full_like(truth, np.nan)
    assert dysts.scores(lost, truth, np.ones(1), 0.1) == {"vpt": 0.0, "smape": 200.0}


def test_results_of_a_stopped_run_are_kept(tmp_path: Path) -> None:
    path, calls = tmp_path / "logs.json", list[int]()

    def one() -> dict[str, Any]:
        calls.append(1)
        return {"rmse": {"test": 0.5}}

    for _ in range(2):
        results = logs.Results(path)
        results.run("tank", "V", "one", one)
        results.run("tank", "V", "absent", dict)
    assert len(calls) == 1
    (row,) = json.loads(path.read_text("utf-8"))["rows"]
    assert (row["data"], row["subject"], row["rmse"]) == ("tank", "one", {"test": 0.5})


def test_the_worst_of_seeds_is_lost_where_one_is() -> None:
    assert logs.worst_of([0.3, 0.5]) == 0.5
    assert np.isnan(logs.worst_of([0.3, None]))
