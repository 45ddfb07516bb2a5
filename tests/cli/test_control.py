"""`control` makes, rehearses and saves a controller; `serve` runs it."""

import json
from pathlib import Path

import numpy as np
import pytest
from typer.testing import CliRunner, Result

from koopman_control import EDMDc, KoopmanMPC, SampledFeatures, Trajectory, save_trajectories
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
