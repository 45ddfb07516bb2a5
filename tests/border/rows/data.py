"""Collecting, logs and features."""

import os
from itertools import count
from pathlib import Path
from types import SimpleNamespace
from typing import Any
from unittest.mock import patch

import numpy as np
from gymnasium.spaces import Box

import koopman_control as kc
import koopman_control.trajectories as trajectories
from koopman_control.trajectories import (
    PRBS,
    Multisine,
    OrnsteinUhlenbeck,
    read_columns,
    split_at_gaps,
)
from tests.border import parts
from tests.border.parts import rng, states
from tests.border.parts import runs as data
from tests.border.rows.row import Row, fields, saved


def signal() -> dict[str, Any]:
    return {"n_steps": 5, "low": np.array([-1.0]), "high": np.array([1.0]), "rng": rng()}


COUNT = count()


def in_this_folder(write: Any, **arguments: Any) -> Any:
    """Minari keeps data sets where a variable says, else in the user's home."""
    with patch.dict(os.environ, {"MINARI_DATASETS_PATH": str(Path.cwd())}):
        return write(**arguments)


def minari_like() -> Any:
    box = Box(-np.ones(1), np.ones(1), dtype=np.float64)
    return SimpleNamespace(
        observation_space=box, action_space=box, iterate_episodes=lambda: iter(())
    )


def log_file() -> str:
    Path("log.csv").write_text("u,y\n0,1\n1,2\n")
    return "log.csv"


ROWS = [
    Row(
        "open_store",
        trajectories.open_store,
        lambda: dict(
            path=log_file(),
            observations=["y"],
            actions=["u"],
            time=None,
            dt=0.1,
            run=None,
            missing=[-1.0],
        ),
    ),
    Row(
        "TrajectoryStore",
        trajectories.TrajectoryStore,
        lambda: dict(shards=list(trajectories.open_store(log_file(), ["y"], ["u"]))),
    ),
    Row(
        "TrajectoryStore.__getitem__",
        lambda i: trajectories.open_store(log_file(), ["y"], ["u"])[i],
        lambda: dict(i=0),
    ),
    Row("adapted", kc.adapted, lambda: dict(env="Pendulum-v1", max_episode_steps=5)),
    Row("PRBS", PRBS, fields(hold=2)),
    Row("HeldUniform", kc.HeldUniform, fields(hold=(1, 2))),
    Row("Multisine", Multisine, fields(n_harmonics=2, period=20)),
    Row("OrnsteinUhlenbeck", OrnsteinUhlenbeck, fields(correlation_steps=2.0, scale=0.5)),
    *[
        Row(f"{type(s).__name__}.sample", s.sample, signal)
        for s in (PRBS(), kc.HeldUniform(2), Multisine(2, 20), OrnsteinUhlenbeck())
    ],
    Row(
        "Trajectory",
        kc.Trajectory,
        lambda: dict(
            observations=states(),
            actions=np.zeros((15, 1)),
            rewards=np.zeros(15),
            dt=0.1,
            observation_bounds=np.array([[-9.0, -9.0], [9.0, 9.0]]),
            action_bounds=parts.BOX,
            terminated=False,
            truncated=False,
            seed=0,
            env_id="x",
            observation_names=("a", "b"),
            action_names=("u",),
            missing=False,
        ),
    ),
    Row(
        "collect",
        kc.collect,
        lambda: dict(
            env=parts.ENV,
            policy=kc.HeldUniform(2),
            n_steps=4,
            seed=0,
            noise=None,
            until=None,
            on_step=None,
            checkpoint=None,
        ),
    ),
    Row("collect", kc.collect, lambda: dict(env=parts.ENV, policy="random", n_episodes=1)),
    Row(
        "check_trajectories",
        trajectories.check_trajectories,
        lambda: dict(data=data(), missing=False),
    ),
    Row("total_steps", trajectories.total_steps, lambda: dict(trajectories=data())),
    Row(
        "open_environment",
        trajectories.open_environment,
        lambda: dict(env=parts.ENV, arguments={"max_episode_steps": 3}),
    ),
    Row(
        "require_continuous", trajectories.require_continuous, lambda: dict(env=parts.environment())
    ),
    Row(
        "save_trajectories",
        kc.save_trajectories,
        lambda: dict(path="data.npz", trajectories=data(), settings={"a": 1}),
    ),
    Row(
        "load_trajectories",
        kc.load_trajectories,
        lambda: {"path": saved(lambda: kc.save_trajectories("d.npz", data()), "d.npz")},
    ),
    Row(
        "split_at_gaps",
        split_at_gaps,
        lambda: dict(
            time=np.arange(10.0),
            observations=np.ones((10, 1)),
            actions=np.ones((10, 1)),
            dt=1.0,
            max_gap=1.5,
            angles=(0,),
            angle_period=6.0,
            hold_actions=False,
            runs=np.zeros(10),
        ),
    ),
    Row(
        "from_table",
        kc.from_table,
        lambda: dict(
            table={"t": np.arange(5.0), "x": np.ones(5), "u": np.ones(5)},
            observations=["x"],
            actions=["u"],
            time="t",
            angles=["x"],
            run=None,
            missing=[-9999],
        ),
    ),
    Row("to_frame", trajectories.to_frame, lambda: dict(data=data())),
    Row(
        "to_minari",
        lambda **k: in_this_folder(trajectories.to_minari, **k),
        lambda: dict(data=data(), name=f"test/border{next(COUNT)}-v0"),
    ),
    Row(
        "from_minari",
        trajectories.from_minari,
        lambda: dict(dataset=minari_like(), n_episodes=1),
    ),
    Row(
        "read_columns",
        lambda **k: read_columns(**k),
        lambda: dict(path=log_file(), names=["u", "y"], progress=None, most_cells=100),
    ),
    Row("coverage", kc.coverage, lambda: dict(data=data(), order=3, n_bins=4)),
    Row(
        "estimate_input_delay",
        kc.estimate_input_delay,
        lambda: dict(data=data(), max_delay=2, memory=1),
    ),
    Row("with_input_delay", kc.with_input_delay, lambda: dict(data=data(), delay=1)),
]
