import csv
import json
from pathlib import Path

import numpy as np
import pytest
from typer.testing import CliRunner, Result

from koopman_control.cli import app
from koopman_control.common import check_contents

pytest.importorskip("pandas", reason="needs pip install pandas")

HOUR = np.timedelta64(1, "h")
N = 24 * 30


def weather(seed: int = 0) -> tuple[list[str], np.ndarray]:
    """Make hourly temperatures: a daily wave, a slow one, and noise."""
    t = np.arange(N)
    rng = np.random.default_rng(seed)
    values = 10 + 5 * np.sin(2 * np.pi * t / 24) + 2 * np.sin(t / 60) + 0.1 * rng.normal(size=N)
    dates = np.datetime64("2024-03-01T00:00:00") + HOUR * t
    return [str(date).replace("T", " ") for date in dates], values


def write(path: Path, dates: list[str], values: np.ndarray, name: str = "date") -> Path:
    rows = "\n".join(
        f"{d},{'' if np.isnan(v) else v},1.0" for d, v in zip(dates, values, strict=True)
    )
    path.write_text(f"{name},T,still\n{rows}\n", "utf-8")
    return path


def call(*arguments: str | Path | float) -> Result:
    return CliRunner().invoke(app, ["forecast", *(str(argument) for argument in arguments)])


def test_a_table_becomes_forecasts_scores_and_a_figure(tmp_path: Path) -> None:
    data = write(tmp_path / "weather.csv", *weather())
    out = tmp_path / "runs"
    result = call(
        data,
        "--target",
        "T",
        "--horizon",
        24,
        "--horizon",
        6,
        "--lookback",
        48,
        "--output",
        out,
        "--json",
    )
    assert result.exit_code == 0, result.output
    (folder,) = out.iterdir()
    assert check_contents(folder)["horizon"] == [24, 6]
    scores = json.loads(result.stdout)
    assert scores == json.loads((folder / "scores.json").read_text("utf-8"))
    assert scores["mse_model"][0] < 0.5 * scores["mse_same_as_yesterday"][0]
    assert scores["mse_same_as_yesterday"][0] < 0.5 * scores["mse_persistence"][0]
    assert 0.8 < scores["coverage"][0] < 1.0
    with (folder / "forecast.csv").open(encoding="utf-8") as file:
        rows = list(csv.DictReader(file))
    assert len(rows) == 24
    assert rows[0]["date"] == "2024-03-31 00:00:00"
    assert all(float(r["T low"]) < float(r["T"]) < float(r["T high"]) for r in rows)
    truth = 10 + 5 * np.sin(2 * np.pi * np.arange(N, N + 24) / 24)
    truth += 2 * np.sin(np.arange(N, N + 24) / 60)
    assert np.abs([float(r["T"]) for r in rows] - truth).max() < 1.0
    assert (folder / "forecast.png").read_bytes().startswith(b"\x89PNG")
    assert set(scores["by_horizon"]) == {"6", "24"}
    page = (folder / "report.html").read_text("utf-8")
    assert f"{100 * scores['coverage'][0]:.1f} % within the 90 % interval" in page
    with (folder / "backtest.csv").open(encoding="utf-8") as file:
        held = list(csv.DictReader(file))
    assert len(held) == 24 * scores["n_windows"]
    missed = [float(row["T"]) - float(row["T measured"]) for row in held]
    assert np.mean(np.square(missed)) == pytest.approx(scores["mse_model"][0], rel=1e-6)


def broken(kind: str) -> tuple[list[str], np.ndarray]:
    dates, values = weather()
    if kind == "hole":
        values[[7, 90]] = np.nan
    elif kind == "missing":
        dates, values = dates[:40] + dates[43:], np.delete(values, [40, 41, 42])
    elif kind == "repeated":
        dates[51] = dates[50]
    elif kind == "back":
        dates[60], dates[61] = dates[61], dates[60]
    elif kind == "mixed":
        dates, values = dates[:400] + dates[400::3], np.append(values[:400], values[400::3])
    elif kind == "unread":
        dates[12] = "yesterday"
    return dates, values


@pytest.mark.parametrize(
    ("kind", "says"),
    [
        ("hole", "2 rows (7, 90)"),
        ("missing", "3 rows are missing from the table, first after row 39"),
        ("repeated", "repeats the date before in row 51"),
        ("back", "goes back in time in row 61; sort the table"),
        ("mixed", "mixes sampling rates: most rows are 3600 s apart, row 401 comes 10800 s after"),
        ("unread", "holds 'yesterday', no date, in row 12"),
    ],
)
def test_a_broken_table_is_one_sentence_with_the_rows(kind: str, says: str, tmp_path: Path) -> None:
    data = write(tmp_path / "weather.csv", *broken(kind))
    result = call(data, "--target", "T", "--horizon", 24, "--output", tmp_path / "runs")
    assert result.exit_code == 1
    assert says in result.stderr
    assert result.stderr.startswith("Error: ")
    assert result.stderr.count("\n") == 1


@pytest.mark.parametrize("how", ["linear", "previous"])
def test_gaps_are_filled_where_that_is_asked_for(how: str, tmp_path: Path) -> None:
    dates, values = broken("missing")
    values[7] = np.nan
    data = write(tmp_path / "weather.csv", dates, values)
    out = tmp_path / "runs"
    quick: list[str | int] = [
        "--target",
        "T",
        "--horizon",
        12,
        "--lookback",
        24,
        "--json",
    ]
    result = call(data, *quick, "--fill", how, "--output", out)
    assert result.exit_code == 0, result.output
    repairs = ["filled in 3 missing rows", "filled 1 missing values"]
    assert json.loads(result.stdout)["repairs"] == repairs


def test_without_json_errors_and_coverage_are_told_in_words(tmp_path: Path) -> None:
    data = write(tmp_path / "weather.csv", *broken("repeated"))
    quick = ("--target", "T", "--horizon", 12, "--lookback", 24, "--fill", "linear")
    result = call(data, *quick, "--output", tmp_path / "runs")
    assert result.exit_code == 0, result.output
    assert "Note: dropped row 51 for repeating a date." in result.stderr
    (folder,) = (tmp_path / "runs").iterdir()
    scores = json.loads((folder / "scores.json").read_text("utf-8"))
    model, simple = scores["mse_model"][0], scores["mse_persistence"][0]
    told = " ".join(result.stdout.split())
    assert f"on {scores['n_windows']} held-out windows: model {model:.4g}, " in told
    assert f"persistence {simple:.4g}" in told
    assert f"{100 * scores['coverage'][0]:.1f} % within the 90 % interval" in told
    assert f"Forecasts, scores and report: {folder}" in result.stdout


@pytest.mark.parametrize(
    ("rows", "says"),
    [
        (["2024-03-01,1.0", "2024-03-02,warm"], "column 'T' holds 'warm', no number, in row 1"),
        (["2024-03-01,1.0"], "the table has 1 rows; expected at least 2"),
        (["2024-03-01,1.0", "3024-03-02,2.0"], "column 'date' holds '3024-03-02'"),
        (
            [*(f"2024-03-{day},{day}.0" for day in range(10, 30)), "2034-03-29,1.0"],
            "column 'date' leaves 3651 rows out between 21; expected at most 10 times",
        ),
    ],
)
def test_a_table_that_no_filling_mends_is_one_sentence(
    rows: list[str], says: str, tmp_path: Path
) -> None:
    data = tmp_path / "weather.csv"
    data.write_text("\n".join(["date,T", *rows]), "utf-8")
    result = call(data, "--target", "T", "--horizon", 1, "--fill", "linear", "--output", tmp_path)
    assert result.exit_code == 1
    assert says in result.stderr


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (["--target", "P", "--horizon", 5], "no column 'P' (it has 'date', 'T', 'still')"),
        (["--target", "T", "--horizon", 5, "--with", "still"], "leave constant columns out"),
        (["--target", "T", "--horizon", 500], "720 rows; expected at least"),
        (["--target", "T", "--horizon", 5, "--date", "when"], "no column 'when'"),
        (["--target", "T", "--target", "T", "--horizon", 5], "named twice"),
    ],
)
def test_wrong_choices_are_one_sentence(
    arguments: list[str | int], says: str, tmp_path: Path
) -> None:
    data = write(tmp_path / "weather.csv", *weather())
    result = call(data, *arguments, "--output", tmp_path / "runs")
    assert result.exit_code == 1
    assert says in result.stderr


def test_a_horizon_of_zero_and_a_missing_file_are_refused(tmp_path: Path) -> None:
    data = write(tmp_path / "weather.csv", *weather())
    assert call(data, "--target", "T", "--horizon", 0).exit_code == 2
    result = call(tmp_path / "none.csv", "--target", "T", "--horizon", 5)
    assert result.exit_code == 1
    assert "there is no file" in result.stderr


def test_a_kept_forecaster_goes_on_from_later_rows(tmp_path: Path) -> None:
    dates, values = weather()
    out, kept = tmp_path / "runs", tmp_path / "kept.npz"
    data = write(tmp_path / "a.csv", dates[:600], values[:600])
    asked = ("--target", "T", "--horizon", 12, "--lookback", 48)
    assert call(data, *asked, "--save", kept, "--output", out).exit_code == 0
    later = write(tmp_path / "b.csv", dates[200:700], values[200:700])
    result = call(later, "--model", kept, "--output", out)
    assert result.exit_code == 0, result.output
    (folder,) = out.glob("b-*")
    with (folder / "forecast.csv").open(encoding="utf-8") as file:
        rows = list(csv.DictReader(file))
    assert rows[0]["date"] == dates[700].replace("T", " ")
    assert np.abs([float(r["T"]) for r in rows] - values[700:712]).max() < 1.0
    refused = call(later, "--model", kept, "--horizon", 3, "--output", out)
    assert refused.exit_code == 1
    assert "belong to a fit" in refused.stderr
    short = write(tmp_path / "c.csv", dates[:20], values[:20])
    refused = call(short, "--model", kept, "--output", out)
    assert "the table has 20 rows; expected at least" in refused.stderr


def test_months_are_forecast_to_their_ends(tmp_path: Path) -> None:
    months = np.arange("2010-01", "2020-01", dtype="datetime64[M]")
    ends = (months + 1).astype("datetime64[D]") - 1
    t = np.arange(120)
    data = write(
        tmp_path / "m.csv", [str(d) for d in ends], 0.3 * t + 5 * np.sin(np.pi * t / 6) + 90
    )
    out = tmp_path / "runs"
    result = call(data, "--target", "T", "--horizon", 3, "--output", out)
    assert result.exit_code == 0, result.output
    (folder,) = out.iterdir()
    with (folder / "forecast.csv").open(encoding="utf-8") as file:
        rows = list(csv.DictReader(file))
    assert [row["date"][:10] for row in rows] == ["2020-01-31", "2020-02-29", "2020-03-31"]
    t = np.arange(120, 123)
    truth = 0.3 * t + 5 * np.sin(np.pi * t / 6) + 90
    np.testing.assert_allclose([float(row["T"]) for row in rows], truth, atol=1e-3)


def test_columns_known_ahead_come_from_a_file(tmp_path: Path) -> None:
    dates, values = weather()
    wind = np.random.default_rng(5).standard_normal(N)
    lines = [f"{d},{v + 4 * w},{w}" for d, v, w in zip(dates, values, wind, strict=True)]
    data, future = tmp_path / "w.csv", tmp_path / "future.csv"
    data.write_text("date,T,wind\n" + "\n".join(lines[:700]), "utf-8")
    known = [f"{d},{w}" for d, w in zip(dates, wind, strict=True)]
    future.write_text("date,wind\n" + "\n".join(known[700:710]), "utf-8")
    out = tmp_path / "runs"
    asked = ("--target", "T", "--horizon", 10, "--lookback", 48, "--output", out)
    result = call(data, *asked, "--future", future)
    assert result.exit_code == 0, result.output
    (folder,) = out.iterdir()
    with (folder / "forecast.csv").open(encoding="utf-8") as file:
        ahead = [float(row["T"]) for row in csv.DictReader(file)]
    assert np.abs(ahead - (values + 4 * wind)[700:710]).max() < 1.0
    future.write_text("date,wind\n" + "\n".join(known[701:715]), "utf-8")
    refused = call(data, *asked, "--future", future)
    assert refused.exit_code == 1
    assert f"the table goes on with {dates[700]}" in refused.stderr


def test_without_target_and_model_one_sentence_says_what_is_missing(tmp_path: Path) -> None:
    data = write(tmp_path / "weather.csv", *weather())
    result = call(data, "--horizon", 3, "--output", tmp_path / "runs")
    assert result.exit_code == 1
    assert "name a --target and a --horizon" in result.stderr


def waves(path: Path, clock: bool) -> Path:
    """A sum of waves at 20 Hz, as a German spreadsheet writes it."""
    t = 0.05 * np.arange(600)
    y = np.sin(2.0 * t) + 0.05 * np.random.default_rng(0).normal(size=len(t))
    rows = [f"{7.0 + a:.2f};{b:.5f}" if clock else f"{b:.5f};0" for a, b in zip(t, y, strict=True)]
    text = ("t;load\n" if clock else "load;zero\n") + "\n".join(rows).replace(".", ",")
    path.write_text(text, "utf-8-sig")
    return path


def test_tables_may_count_seconds_or_tell_no_times(tmp_path: Path) -> None:
    asked = ("--target", "load", "--horizon", 8, "--lookback", 30, "--output", tmp_path / "runs")
    kept = tmp_path / "kept.npz"
    counted, bare = waves(tmp_path / "a.csv", True), waves(tmp_path / "b.csv", False)
    result = call(counted, *asked, "--seconds", "t", "--save", kept)
    assert result.exit_code == 0, result.output
    (folder,) = (tmp_path / "runs").iterdir()
    with (folder / "forecast.csv").open(encoding="utf-8") as file:
        rows = list(csv.DictReader(file))
    assert [float(row["seconds"]) for row in rows] == pytest.approx(37.0 + 0.05 * np.arange(8))
    result = call(bare, "--model", kept, "--dt", 0.05, "--output", tmp_path / "again")
    assert result.exit_code == 0, result.output
    (folder,) = (tmp_path / "again").iterdir()
    with (folder / "forecast.csv").open(encoding="utf-8") as file:
        again = list(csv.DictReader(file))
    assert [row["load"] for row in again] == [row["load"] for row in rows]
    assert float(again[0]["seconds"]) == pytest.approx(30.0)
    page = (folder / "report.html").read_text("utf-8")
    assert "by a forecaster fitted before" in page
    assert "backtest.csv" not in page


@pytest.mark.parametrize(
    ("more", "says"),
    [
        ((), "has no column of dates; name one of ['t', 'load'] with --date, or with --seconds"),
        (("--seconds", "t", "--dt", 0.05), "expected only one of them"),
        (("--seconds", "time"), "has no column 'time'"),
        (("--dt", 0.0), "dt is 0"),
    ],
)
def test_what_is_said_of_tables_without_dates(
    more: tuple[str | float, ...], says: str, tmp_path: Path
) -> None:
    data = waves(tmp_path / "a.csv", True)
    result = call(data, "--target", "load", "--horizon", 8, *more, "--output", tmp_path / "runs")
    assert result.exit_code == 1
    assert says in result.stderr
    assert result.stderr.count("\n") == 1
