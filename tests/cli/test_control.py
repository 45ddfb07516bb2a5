"""`control` makes, rehearses and saves a controller; `serve` runs it."""

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from typer.testing import CliRunner, Result

from koopman_control import (
    EDMDc,
    KoopmanMPC,
    LiftedModel,
    SampledFeatures,
    Trajectory,
    save_trajectories,
)
from koopman_control.cli import app
from koopman_control.common import check_contents

SETTINGS = """
horizon = 8
reference = [0.2, 0.0]
[cost]
R = 0.1
[inputs]
knots = 4
"""


def call(*arguments: str | Path | int) -> Result:
    return CliRunner().invoke(app, [str(argument) for argument in arguments])


def runs(bounded: bool) -> list[Trajectory]:
    rng, made = np.random.default_rng(0), []
    F, G = np.array([[1.0, 0.1], [-0.1, 0.9]]), np.array([[0.0], [0.1]])
    for _ in range(4):
        U, X = rng.uniform(-0.8, 0.9, (40, 1)), [rng.normal(size=2)]
        for u in U:
            X.append(F @ X[-1] + G @ u)
        box = np.array([[-1.0], [1.0]]) if bounded else None
        made.append(Trajectory(np.array(X), U, dt=0.1, action_bounds=box))
    return made


@pytest.fixture
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    estimator = EDMDc(SampledFeatures(6, random_state=0), horizon=5, n_folds=2)
    for name, bounded in (("bounded", True), ("free", False)):
        save_trajectories(f"{name}-data.npz", runs(bounded))
        estimator.fit(runs(bounded)).model_.save(f"{name}.npz")
    Path("settings.toml").write_text(SETTINGS, "utf-8")
    return tmp_path


QUICK = ("--variants", 2, "--starts", 2, "--steps", 20)


def test_a_controller_is_made_rehearsed_and_saved(here: Path) -> None:
    data = ("--data", "bounded-data.npz")
    result = call("control", "bounded.npz", "settings.toml", *data, *QUICK)
    assert result.exit_code == 0, result.output
    (folder,) = Path("runs").iterdir()
    assert "on 2 other fits to the data" in result.stdout
    assert f"Controller: {folder / 'controller.npz'}" in result.stdout
    assert "states are bounded, softly, by the range of the data" in result.stderr
    assert "inputs are bounded" not in result.stderr, "the model knows its bounds"
    check_contents(folder)
    mpc = KoopmanMPC.load(folder / "controller.npz")
    assert (mpc.horizon, mpc.cost.R) == (8, 0.1)
    X = np.concatenate([run.observations for run in runs(True)])
    np.testing.assert_array_equal(mpc.bounds.outputs, [X.min(axis=0), X.max(axis=0)])
    assert {path.name for path in folder.iterdir()} >= {"report.html", "variants.png"}


def test_options_do_without_a_file_and_win_over_one(here: Path) -> None:
    asked = ("--horizon", 5, "--Q", "1,0.5", "--R", "0.2", "--reference", "0.1,0", "--json")
    result = call("control", "bounded.npz", *asked, "--starts", 1, "--steps", 5)
    assert result.exit_code == 0, result.output
    metrics = json.loads(result.stdout)
    assert metrics["variants"] == []
    (folder,) = Path("runs").iterdir()
    mpc = KoopmanMPC.load(folder / "controller.npz")
    np.testing.assert_array_equal(mpc.cost.Q, [1.0, 0.5])
    result = call("control", "bounded.npz", "settings.toml", "--horizon", 4, "--output", "other")
    (folder,) = Path("other").iterdir()
    assert KoopmanMPC.load(folder / "controller.npz").horizon == 4


def test_inputs_that_nobody_bounded_stay_within_the_data(here: Path) -> None:
    result = call("control", "free.npz", "settings.toml")
    assert result.exit_code == 1
    assert "nothing bounds the inputs" in result.stderr
    assert not Path("runs").exists()
    data = ("--data", "free-data.npz", "--variants", 0, "--starts", 1, "--steps", 5)
    result = call("control", "free.npz", "settings.toml", *data)
    assert result.exit_code == 0, result.output
    assert "inputs are bounded by the range of the data, -0.7" in result.stderr
    (folder,) = Path("runs").iterdir()
    low, high = np.asarray(KoopmanMPC.load(folder / "controller.npz").bounds.inputs)
    U = np.concatenate([run.actions for run in runs(False)])
    assert (low[0], high[0]) == (U.min(), U.max())


def test_a_log_goes_in_as_identify_read_it(here: Path) -> None:
    pytest.importorskip("pandas", reason="needs pip install pandas")
    data = runs(False)[0]
    U = np.vstack([data.actions, [[0.0]]])
    columns = np.column_stack([0.1 * np.arange(len(U)), data.observations, U])
    np.savetxt("log.csv", columns, delimiter=",", header="t,x,v,force", comments="")
    asked = ("--horizon", 4, "--variants", 0, "--starts", 1, "--steps", 5)
    named = ("--outputs", "x", "--outputs", "v", "--inputs", "force", "--time", "t")
    result = call("control", "free.npz", "--data", "log.csv", *named, *asked)
    assert result.exit_code == 0, result.output
    assert "inputs are bounded by the range of the data" in result.stderr
    (folder,) = Path("runs").iterdir()
    mpc = KoopmanMPC.load(folder / "controller.npz")
    np.testing.assert_allclose(np.asarray(mpc.bounds.inputs)[0], data.actions.min(), rtol=1e-6)

    model = LiftedModel.load("free.npz")
    told = {"inputs": ["force"], "outputs": ["x", "v"], "time": "t"}
    ranges = [[-3.0, -2.0], [3.0, 2.0]]
    summary = {**model.summary, "log": told, "output_range": ranges}
    replace(model, summary=summary).save("told.npz")
    result = call("control", "told.npz", "--data", "log.csv", *asked, "--output", "told")
    assert result.exit_code == 0, result.output
    model = LiftedModel.load("bounded.npz")
    replace(model, summary={"output_range": ranges}).save("ranged.npz")
    result = call("control", "ranged.npz", *asked, "--output", "bare")
    assert result.exit_code == 0, result.output
    assert "states are bounded, softly, by the range of the data, -3 to 3, -2 to 2" in result.stderr
    (folder,) = Path("bare").iterdir()
    np.testing.assert_array_equal(KoopmanMPC.load(folder / "controller.npz").bounds.outputs, ranges)


def test_columns_that_nobody_told_are_asked_for(here: Path) -> None:
    Path("log.csv").write_text("t,x\n0,1\n1,2\n", "utf-8")
    result = call("control", "free.npz", "--data", "log.csv", "--horizon", 4)
    assert result.exit_code == 1
    assert "does not tell which columns of log.csv" in result.stderr
    result = call("control", "bounded.npz", "--inputs", "u", "--horizon", 4)
    assert result.exit_code == 1
    assert "tell how to read --data; give that" in result.stderr
