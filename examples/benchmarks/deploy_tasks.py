"""All ready tasks closed-loop through C: the returns beside Python's.

    OMP_NUM_THREADS=1 python -m examples.benchmarks.deploy_tasks            # or names of tasks

Each task learns a model on learning seed 20 (features, rounds and budget its own; `--models` keeps
it between runs); its controller and the same one compiled then run the same two episodes, seeds
20000 and 20001. Where a controller amplifies the last digits of an observation, Python's own return
with observations changed by 1e-15 of their size says by how much.
"""

from __future__ import annotations

import warnings
from contextlib import closing
from pathlib import Path
from typing import Annotated, Any

import numpy as np
import typer
from threadpoolctl import threadpool_limits

from koopman_control.common.arrays import Array
from koopman_control.deploy import compiled
from koopman_control.evaluation import evaluate, package_versions
from koopman_control.identification import LiftedModel
from koopman_control.mpc import KoopmanMPC
from koopman_control.tasks import TASKS

SEEDS = (20_000, 20_001)


class Shaken:
    """A controller whose observations are changed in their last digits."""

    def __init__(self, mpc: KoopmanMPC) -> None:
        self._mpc, self._rng = mpc, np.random.default_rng(0)

    def reset(self) -> None:
        """Begin an episode."""
        self._mpc.reset()

    def act(self, observation: Any) -> Array:
        """Act on an observation that is a little off."""
        y = np.asarray(observation, dtype=float)
        return self._mpc.act(y * (1.0 + 1e-15 * self._rng.normal(size=y.shape)))


def main(
    names: Annotated[list[str] | None, typer.Argument(help="Of tasks; all without.")] = None,
    models: Annotated[Path, typer.Option(help="Folder that keeps learned models.")] = Path(
        "models"
    ),
) -> None:
    """Print a line for each task."""
    print(package_versions())
    print("| task | lifted states | returns in Python | in C off by | in Python, shaken | rungs |")
    print("|---|---|---|---|---|---|")
    models.mkdir(parents=True, exist_ok=True)
    warnings.simplefilter("ignore")
    with threadpool_limits(1):
        for name in names or list(TASKS):
            task, path = TASKS[name], models / f"{name}.npz"
            if not path.exists():
                task.learn(20).model.save(path)
            model = LiftedModel.load(path)
            mpc = task.controller(model)
            with closing(task.environment()) as env:
                python = evaluate(mpc, env, SEEDS)
                others = [evaluate(one, env, SEEDS) for one in (compiled(mpc), Shaken(mpc))]
            off = [
                float((abs(one.returns - python.returns) / abs(python.returns)).max())
                for one in others
            ]
            same = "same" if others[0].rungs == python.rungs else "others"
            returns = ", ".join(f"{value:.6g}" for value in python.returns)
            line = f"{model.n_lifted} | {returns} | {off[0]:.0e} | {off[1]:.0e} | {same}"
            print(f"| {name} | {line} |", flush=True)


if __name__ == "__main__":
    typer.run(main)
