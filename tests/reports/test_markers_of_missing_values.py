"""Numbers that stand for missing values: -9999 of the Jena station, 999 in IDEAS #1303."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from typer.testing import CliRunner

from koopman_control import from_table
from koopman_control.cli import app
from koopman_control.common import optional_package
from koopman_control.forecasting import time_table

pytest.importorskip("pandas", reason="needs pip install pandas")
pandas = optional_package("pandas", "forecast")

N = 600
GONE = [*range(100, 105), 400, 401, 402]
RNG = np.random.default_rng(0)
WIND = 3.0 + np.sin(2.0 * np.pi * np.arange(N) / 144.0) + 0.3 * RNG.normal(size=N)
SIGNALS = {
    "wind": WIND,
    "temperature": np.round(10.0 * WIND - 20.0, 1),
    "pressure": 1e5 + 300.0 * WIND,
    "carbon monoxide": np.round(WIND**2, 1),
    "resistance": np.round(647.0 + 300.0 * np.abs(WIND)),
    "current": 1e-9 * WIND,
}


def frame(values: Any, name: str = "v") -> Any:
    dates = pandas.date_range("2015-10-01", periods=len(values), freq="10min")
    return pandas.DataFrame({"date": dates.astype(str), name: values})


def with_marker(values: Any, marker: float) -> Any:
    marked = values.copy()
    marked[GONE] = marker
    return marked


@pytest.mark.parametrize("signal", SIGNALS)
@pytest.mark.parametrize(
    "marker", [-9999.0, 9999999.0, -7777.0, 1e20, -999.99, 9.96921e36, -32768.0, -1e30]
)
def test_markers_are_refused_in_words_and_missing_once_they_are_named(
    signal: str, marker: float
) -> None:
    given = frame(with_marker(SIGNALS[signal], marker))
    with pytest.raises(ValueError, match=r"column 'v' holds .* in 8 rows \(100, 101, .*markers of"):
        time_table(given, ["v"], fill="linear")
    with pytest.raises(ValueError, match=r"gaps \(NaN or infinity\) in 8 rows"):
        time_table(given, ["v"], missing=[marker])
    table = time_table(given, ["v"], fill="linear", missing=[marker])
    assert table.repairs[-1] == "filled 8 missing values"
    assert "as missing in 8 rows of column 'v'" in table.repairs[0]
    kept = np.setdiff1d(np.arange(N), GONE)
    np.testing.assert_array_equal(table.rows[kept, 0], SIGNALS[signal][kept])
    assert np.ptp(table.rows) <= np.ptp(SIGNALS[signal])
    kept_all = time_table(given, ["v"], missing=["none"])
    assert kept_all.rows[100, 0] == marker


@pytest.mark.parametrize(
    ("signal", "marker"),
    [("wind", 999.0), ("wind", -99.9), ("carbon monoxide", -200.0), ("resistance", -200.0)],
)
def test_smaller_markers_of_known_tables_are_refused(signal: str, marker: float) -> None:
    values = SIGNALS[signal].copy()
    values[5:95] = marker
    with pytest.raises(ValueError, match=r"in 90 rows .* far outside the rest"):
        time_table(frame(values), ["v"])


def test_two_markers_at_once_and_one_alone_are_refused() -> None:
    both = with_marker(WIND, -9999.0)
    both[200:202] = 9999.0
    with pytest.raises(ValueError, match="holds -9999 in 8 rows"):
        time_table(frame(both), ["v"])
    with pytest.raises(ValueError, match="holds 9999 in 2 rows"):
        time_table(frame(both), ["v"], fill="linear", missing=[-9999])
    assert not np.isnan(time_table(frame(both), ["v"], None, "linear", [-9999, "9999"]).rows).any()
    alone = WIND.copy()
    alone[7] = -9999.0
    with pytest.raises(ValueError, match="holds -9999 in row 7"):
        time_table(frame(alone), ["v"])


ORDINARY = {
    "rain": np.where(RNG.random(N) < 0.9, 0.0, np.round(RNG.exponential(1.0, N), 1)),
    "switch": (np.arange(N) // 50 % 2).astype(float),
    "setpoints": np.choose(np.arange(N) // 100 % 3, [0.0, 50.0, 1000.0]),
    "saturated": np.clip(0.1 * RNG.normal(size=N) + np.where(np.arange(N) % 40 == 0, 5, 0), -1, 1),
    "switched off": np.where(np.arange(N) // 60 % 2, 0.0, 900.0 + RNG.normal(size=N)),
    "counter": np.arange(N, dtype=float),
    "heavy tails": np.round(RNG.standard_cauchy(N), 3),
    "humidity": np.minimum(99.0, np.round(80.0 + 12.0 * RNG.normal(size=N))),
    "prices": np.round(40.0 + 60.0 * RNG.standard_t(2, N), 2),
    "rounded": np.round(WIND),
}


@pytest.mark.parametrize("signal", ORDINARY)
def test_ordinary_signals_pass(signal: str) -> None:
    table = time_table(frame(ORDINARY[signal]), ["v"])
    np.testing.assert_array_equal(table.rows[:, 0], ORDINARY[signal])
    assert not table.repairs


def test_texts_for_missing_values_are_named_like_numbers() -> None:
    texts: list[Any] = [f"{value:.3f}" for value in WIND]
    texts[3] = texts[9] = "---"
    given = frame(texts)
    with pytest.raises(ValueError, match=r"holds '---', no number, in 2 rows \(3, 9\); list it as"):
        time_table(given, ["v"], fill="linear")
    table = time_table(given, ["v"], fill="linear", missing=["---"])
    assert table.repairs[0] == "took --- as missing in 2 rows of column 'v'"
    assert abs(table.rows[3, 0] - WIND[[2, 4]].mean()) < 1e-3


def test_logs_are_read_by_the_same_reader() -> None:
    log = {"t": 0.1 * np.arange(N), "x": with_marker(WIND, -9999.0), "u": np.cos(np.arange(N) / 9)}
    with pytest.raises(ValueError, match="column 'x' holds -9999 in 8 rows"):
        from_table(log, ["x"], ["u"], time="t")
    data, report = from_table(log, ["x"], ["u"], time="t", missing=[-9999])
    assert report.n_incomplete == 8
    assert min(run.observations.min() for run in data) > 0.0
    assert len(data) == 3


def test_the_command_names_the_option_and_takes_it(tmp_path: Path) -> None:
    path = tmp_path / "table.csv"
    frame(with_marker(WIND, -9999.0), "wv (m/s)").to_csv(path, index=False)
    call = ["forecast", str(path), "--target", "wv (m/s)", "--horizon", "6", "--lookback", "24"]
    call += ["--json", "--fill", "linear", "--output", str(tmp_path / "out")]
    refused = CliRunner().invoke(app, call)
    assert refused.exit_code == 1
    assert "--missing -9999" in refused.stderr
    taken = CliRunner().invoke(app, [*call, "--missing", "-9999"])
    assert taken.exit_code == 0, taken.output
    scores = json.loads(taken.stdout)
    assert scores["mse_model"][0] < 1.0
    assert scores["repairs"][0] == "took -9999 as missing in 8 rows of column 'wv (m/s)'"
