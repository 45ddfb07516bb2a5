"""Another package adds a task and an environment, each by at most two files of its own."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import gymnasium as gym
import numpy as np
import pytest

from koopman_control.evaluation import ZeroPolicy, action_bounds, run_episode
from koopman_control.tasks import TASKS, UnknownTaskError, register_task
from koopman_control.tasks.registry import TaskRegistry
from koopman_control.trajectories import open_environment, require_continuous
from tests.border import parts

TASK = """
from koopman_control.tasks import Task

CALM = Task(
    "Pendulum-v1",
    "hold a pendulum where it hangs",
    Q=(1.0, 0.1),
    R=0.01,
    horizon=5,
    n_steps=60,
    first_steps=60,
    n_rounds=0,
    n_features=(5,),
    steepness=(0.25,),
    angles=((0, 1),),
    reference=(3.14, 0.0),
    env_arguments={"max_episode_steps": 30},
    name="CalmPendulum",
)
"""
ENVIRONMENT = """
from dataclasses import dataclass

from koopman_envs import ODEEnv


@dataclass(frozen=True)
class Parameters:
    rate: float = 1.0


class Decay(ODEEnv):
    parameters = Parameters()
    dt = 0.1
    state_low, state_high = (-1.0,), (1.0,)
    observation_low, observation_high = (-2.0,), (2.0,)
    input_low, input_high = (-1.0,), (1.0,)
    reference_low, reference_high = (-0.5,), (0.5,)

    def rates(self, x, u):
        return (-self.parameters.rate * x[0] + u[0],)

    def cost(self, x, u, r):
        return (x[0] - r[0]) ** 2

    def sample_state(self, rng):
        return rng.uniform(-1.0, 1.0, size=1)

    def draw(self, canvas, trail):
        canvas.disc(self.state, 5)
"""
ENTRY_POINTS = "[koopman_control.tasks]\nCalmPendulum = calm_tasks.pendulum:CALM\n"


@pytest.fixture
def installed(tmp_path: Path) -> Iterator[Path]:
    """A package with one task, as it lies where packages are installed."""
    assert TASKS  # lists the tasks there are before this one comes
    package, about = tmp_path / "calm_tasks", tmp_path / "calm_tasks-1.0.dist-info"
    for folder in (package, about):
        folder.mkdir()
    (package / "__init__.py").touch()
    (package / "pendulum.py").write_text(TASK)
    (about / "METADATA").write_text("Metadata-Version: 2.1\nName: calm-tasks\nVersion: 1.0\n")
    (about / "entry_points.txt").write_text(ENTRY_POINTS)
    yield tmp_path
    for name in [name for name in sys.modules if name.startswith(package.name)]:
        del sys.modules[name]


def test_a_task_of_another_package_is_listed_and_run(
    installed: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.syspath_prepend(installed)
    registry = TaskRegistry([])
    assert list(registry) == ["CalmPendulum"]
    (entry,) = registry.listed()
    assert (entry.package, entry.env_id, entry.n_steps) == ("calm-tasks", "Pendulum-v1", 60)
    learned = registry["Pendulum-v1"].learn(seed=0)
    assert np.isfinite(learned.controller.act(learned.data[0].observations[0])).all()


def test_the_command_line_knows_the_task_of_another_package(installed: Path) -> None:
    paths = [str(installed), *filter(None, sys.path)]
    code = (
        f"import sys; sys.path[:0] = {paths!r}; sys.argv = ['koopman-control', 'tasks']; "
        "from koopman_control.cli import app; app()"
    )
    told = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True, timeout=120
    )
    rows = {line.split()[0]: line for line in told.stdout.splitlines()}
    assert "hold a pendulum where it hangs (60 environment steps)" in rows["CalmPendulum"]
    assert set(rows) > set(TASKS)
    assert told.stderr == ""


def test_a_task_that_cannot_be_loaded_is_named_with_its_package(
    installed: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (installed / "calm_tasks" / "pendulum.py").write_text("import no_such_package\n")
    monkeypatch.syspath_prepend(installed)
    registry = TaskRegistry([])
    with pytest.raises(ImportError, match=r"CalmPendulum of calm-tasks .*'no_such_package"):
        registry["CalmPendulum"]
    (entry,) = registry.listed()
    assert "no_such_package" in str(entry.summary)


def test_a_name_that_is_taken_is_left_to_who_has_it(
    installed: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    points = ENTRY_POINTS.replace("CalmPendulum", "Pendulum")
    (installed / "calm_tasks-1.0.dist-info" / "entry_points.txt").write_text(points)
    monkeypatch.syspath_prepend(installed)
    (ours,) = [entry for entry in TASKS.listed() if entry.name == "Pendulum"]
    registry = TaskRegistry([ours])
    with pytest.warns(UserWarning, match=r"'Pendulum' of calm-tasks is left out"):
        assert registry["Pendulum"] is TASKS["Pendulum"]


def test_a_second_task_of_an_environment_needs_a_name_of_its_own() -> None:
    registry = TaskRegistry(TASKS.listed(), "no such group")
    registry._tasks |= dict(TASKS)
    again = parts.task()
    with pytest.raises(ValueError, match=f"named {again.name!r}, and so is one of koopman-control"):
        registry.register(again)
    other = registry.register(parts.task(name="Gentle"))
    assert registry["Gentle"] is other
    assert registry[again.name] is TASKS[again.name]
    with pytest.raises(UnknownTaskError, match=f"2 tasks: {again.name}, Gentle; give the name"):
        registry[again.env_id]
    with pytest.raises(UnknownTaskError, match=r"no task 'Gentl'.* Did you mean Gentle\?"):
        registry["Gentl"]


def test_a_registered_task_is_found_by_name(monkeypatch: pytest.MonkeyPatch) -> None:
    registry = TaskRegistry([], "no such group")
    monkeypatch.setattr("koopman_control.tasks.registry.TASKS", registry)
    task = register_task(parts.task(name="Mine"))
    assert registry["Mine"] is task
    assert list(registry) == ["Mine"] and len(registry) == 1


def test_an_environment_of_another_package_is_one_file_and_a_registration(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    package = tmp_path / "decaying_envs"
    package.mkdir()
    (package / "decay.py").write_text(ENVIRONMENT)
    (package / "__init__.py").write_text(
        "import gymnasium\n"
        'gymnasium.register("decaying_envs/Decay-v0", "decaying_envs.decay:Decay", '
        "max_episode_steps=20)\n"
    )
    monkeypatch.syspath_prepend(tmp_path)
    try:
        env = open_environment("decaying_envs:decaying_envs/Decay-v0")
        assert require_continuous(env)[1].shape == (2, 1)
        episode = run_episode(ZeroPolicy(action_bounds(env)), env, seed=0)
        assert episode.length == 20
        decayed = episode.observations[0, 0] * np.exp(-2.0)
        assert episode.observations[-1, 0] == pytest.approx(decayed, rel=1e-4)
        env.close()
    finally:
        gym.registry.pop("decaying_envs/Decay-v0", None)
