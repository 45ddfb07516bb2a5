"""`identify`: log files in, a model and a page out, or one sentence."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from typer.testing import CliRunner, Result

import koopman_control as kc
from koopman_control.cli import app
from koopman_control.cli.identify import split_runs
from koopman_control.common import check_contents

pytest.importorskip("pandas", reason="needs pip install pandas")
pytest.importorskip("numba", reason="needs pip install numba")


def log(path: Path, rows: int = 240, seed: int = 0, spoil: str = "") -> Path:
    """A bent first-order plant, 10 Hz."""
    rng = np.random.default_rng(seed)
    u, y = rng.uniform(-1.0, 1.0, rows), np.zeros(rows)
    for t in range(rows - 1):
        y[t + 1] = 0.7 * y[t] - 0.2 * np.tanh(2.0 * y[t]) + 0.5 * u[t]
    lines = [f"{0.1 * t:.1f},{u[t]!r},{y[t]!r}" for t in range(rows)]
    text = "t,valve,level\n" + "\n".join(lines).replace("np.float64(", "").replace(")", "")
    path.write_text(text + "\n" + spoil)
    return path


def call(*arguments: str | Path | float) -> Result:
    return CliRunner().invoke(app, ["identify", *(str(argument) for argument in arguments)])


QUICK = ("--inputs", "valve", "--outputs", "level", "--seconds", 2)


def test_a_log_becomes_a_model_and_a_page(tmp_path: Path) -> None:
    data, model = log(tmp_path / "log.csv"), tmp_path / "kept.npz"
    out = tmp_path / "runs"
    result = call(data, *QUICK, "--time", "t", "--export", model, "--output", out)
    assert result.exit_code == 0, result.output
    assert "On data never seen, level is simulated to" in result.output
    (folder,) = out.iterdir()
    assert check_contents(folder)["seed"] == 0
    metrics = json.loads((folder / "metrics.json").read_text())
    assert metrics["fit_percent"][0] > 90.0
    assert metrics["rmse"][0] < metrics["linear_rmse"][0]
    page = (folder / "report.html").read_text()
    assert "Free-run simulation of data never seen" in page
    kept = kc.LiftedModel.load(model)
    assert kept.dt == pytest.approx(0.1)
    assert kept.state_names[0] == "level"
    assert kept.action_bounds is not None


def test_several_files_and_a_test_file(tmp_path: Path) -> None:
    files = [log(tmp_path / f"{seed}.csv", seed=seed) for seed in range(3)]
    out = tmp_path / "runs"
    result = call(*files[:2], *QUICK, "--dt", 0.1, "--test", files[2], "--json", "--output", out)
    assert result.exit_code == 0, result.output
    metrics = json.loads(result.stdout)
    assert metrics["settings"]["test"] == [str(files[2])]
    assert metrics["rmse"][0] < 0.1


def test_options_take_several_values(tmp_path: Path) -> None:
    result = call(log(tmp_path / "log.csv"), "--inputs", "t", "valve", "--outputs", "level", "none")
    assert result.exit_code == 1
    assert "has no column 'none'" in result.output


@pytest.mark.parametrize(
    ("spoil", "more", "words"),
    [
        ("24.0,x,1.0\n", (), "column 'valve' holds 'x', no number, in row 240"),
        ("24.0,-9999,1.0\n24.1,-9999,1.0\n", (), "take it as missing with"),
        ("", ("--inputs", "level"), "column 'level' is named twice"),
        ("", ("--time", "clock"), "has no column 'clock'"),
        ("", ("--angle", "valve"), "angles names 'valve'"),
    ],
)
def test_what_is_wrong_with_a_log_is_one_sentence(
    tmp_path: Path, spoil: str, more: tuple[str, ...], words: str
) -> None:
    out = tmp_path / "runs"
    result = call(log(tmp_path / "log.csv", spoil=spoil), *QUICK, *more, "--output", out)
    assert result.exit_code == 1
    assert words in result.output
    assert len(result.output.strip().splitlines()) == 1


def test_missing_values_are_left_out_and_said(tmp_path: Path) -> None:
    spoil = "24.0,-9999,1.0\n24.1,-9999,1.0\n"
    data, out = log(tmp_path / "log.csv", spoil=spoil), tmp_path / "runs"
    result = call(data, *QUICK, "--time", "t", "--missing", "-9999", "--output", out)
    assert result.exit_code == 0, result.output
    assert "rows with a missing observation or action" in result.output


def run(steps: int, level: float = 0.0) -> kc.Trajectory:
    return kc.Trajectory(np.full(steps + 1, level), np.zeros(steps))


def test_a_single_run_is_cut_where_the_share_says() -> None:
    seen, left = split_runs([run(100)], 0.75)
    assert ([len(r) for r in seen], [len(r) for r in left]) == ([75], [25])


def test_runs_of_several_are_kept_whole_where_that_meets_the_share() -> None:
    seen, left = split_runs([run(40), run(30), run(30)], 0.75)
    assert ([len(r) for r in seen], [len(r) for r in left]) == ([40, 30], [30])
    seen, left = split_runs([run(200), run(10)], 0.5)
    assert sum(len(r) for r in seen) == pytest.approx(105, abs=1)


def test_a_minari_data_set_needs_no_names(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    pytest.importorskip("minari")
    monkeypatch.setenv("MINARI_DATASETS_PATH", str(tmp_path / "minari"))
    (tmp_path / "minari").mkdir()
    rng, episodes = np.random.default_rng(0), []
    for _ in range(3):
        u, y = rng.uniform(-1.0, 1.0, 120), np.zeros((121, 2))
        for t in range(120):
            y[t + 1] = 0.8 * y[t, 0] + 0.3 * y[t, 1], 0.7 * y[t, 1] - 0.2 * y[t, 0] ** 3 + u[t]
        episodes.append(kc.Trajectory(y, u))
    kc.trajectories.to_minari(episodes, "koopman/bent-v0")
    name, out = "minari:koopman/bent-v0", tmp_path / "runs"
    result = call(name, "--outputs", "y1", "y0", "--seconds", 1, "--json", "--output", out)
    assert result.exit_code == 0, result.output
    metrics = json.loads(result.stdout)
    assert metrics["outputs"] == ["y1", "y0"]
    assert min(metrics["fit_percent"]) > 80.0
    assert metrics["settings"]["inputs"] == ["u0"]


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (("minari:none/none-v0",), "cannot be read; expected a Minari data set"),
        (("minari:none/none-v0", "--time", "t"), "leave --time, --run-column and --missing out"),
        (("log.csv",), "name its columns with --inputs and --outputs"),
    ],
)
def test_what_is_said_of_data_sets(
    arguments: tuple[str, ...], words: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    pytest.importorskip("minari")
    monkeypatch.setenv("MINARI_DATASETS_PATH", str(tmp_path))
    result = call(*arguments, "--output", tmp_path / "runs")
    assert result.exit_code == 1
    assert words in result.output
    assert len(result.output.strip().splitlines()) == 1


@pytest.mark.slow
def test_an_interrupted_run_goes_on(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from koopman_control.identification import automatic
    from koopman_control.identification.draws import member

    data, out, calls = log(tmp_path / "log.csv", rows=120), tmp_path / "runs", [0]

    def stopped(*arguments: Any, **more: Any) -> Any:
        calls[0] += 1
        if calls[0] == 8:
            raise KeyboardInterrupt
        return member(*arguments, **more)

    monkeypatch.setattr(automatic, "member", stopped)
    result = call(data, *QUICK, "--output", out)
    assert result.exit_code == 130
    (folder,) = out.iterdir()
    assert f"Go on with the same command and --resume {folder}" in result.output
    result = call(data, *QUICK, "--resume", folder)
    assert result.exit_code == 0, result.output
    assert (folder / "report.html").is_file()
    assert not (folder / "checkpoint").exists()
    result = call(data, *QUICK, "--resume", folder)
    assert result.exit_code == 1
    assert "there is nothing to go on from" in result.output
