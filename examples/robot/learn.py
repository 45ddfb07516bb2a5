"""Learn a controller of the plant in `plant.py` from 40 seconds of motion, and save it.

    python -m examples.robot.learn controller.npz
    koopman-control serve controller.npz --rate 50 --listen 5555 --log motion.csv
    python -m examples.robot.plant --port 5555          # in another terminal

The log is a table: `python -m examples.robot.learn again.npz --log motion.csv` learns from it, too.
"""

from __future__ import annotations

import csv
from pathlib import Path
from typing import Annotated

import numpy as np
import typer

from examples.robot.plant import DT, NOISE, accelerated
from koopman_control import (
    Bounds,
    EDMDc,
    KoopmanMPC,
    SampledFeatures,
    Trajectory,
    from_table,
)
from koopman_control.mpc import Observed


def moved(n_steps: int = 2000, seed: int = 0) -> list[Trajectory]:
    """Move the plant by random forces, each held for a while."""
    rng, runs = np.random.default_rng(seed), []
    for _ in range(10):
        x, v = rng.uniform(-0.4, 0.4), 0.0
        U = np.repeat(rng.uniform(-1.0, 1.0, n_steps // 50), 5)[:, None]
        seen = [(x, v, 0.0)]
        for u in U[:, 0]:
            x, v = accelerated(x, v, u)
            seen.append((x, v, 0.0))
        Y = np.array(seen)
        Y[:, 0] += NOISE * rng.normal(size=len(Y))
        box = np.array([[-1.0], [1.0]])
        runs.append(
            Trajectory(Y, U, dt=DT, action_bounds=box, observation_names=("x", "v", "goal"))
        )
    return runs


def logged(path: Path) -> list[Trajectory]:
    """Read the log of a served controller."""
    with path.open(encoding="utf-8", newline="") as file:
        names, *rows = csv.reader(file)
    table = {name: [row[i] or "nan" for row in rows] for i, name in enumerate(names)}
    columns = {name: np.array(table[name], float) for name in ("time", "x", "v", "y2", "u0", "run")}
    runs, report = from_table(
        columns, ["x", "v", "y2"], ["u0"], time="time", run="run", dt=DT, missing=["none"]
    )
    print(report)
    return runs


def learned(data: list[Trajectory]) -> KoopmanMPC:
    """Fit a model and make the controller: to the goal, which the observation carries."""
    features = SampledFeatures(20, steepness=0.5, random_state=0)
    model = EDMDc(features, states=[0, 1], horizon=20, rollout="relifted").fit(data).model_
    return KoopmanMPC(
        model,
        25,
        Q=[1.0, 0.01],
        R=0.01,
        bounds=Bounds(inputs=(-1.0, 1.0), rates=0.3),
        reference=Observed([2, None]),
        rollout="relifted",
    )


def main(
    controller: Annotated[Path, typer.Argument(help="Where the controller goes.")],
    log: Annotated[Path | None, typer.Option(help="Learn from this log.")] = None,
) -> None:
    """Learn and save."""
    learned(moved() if log is None else logged(log)).save(controller)


if __name__ == "__main__":
    typer.run(main)
