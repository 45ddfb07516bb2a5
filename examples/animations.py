"""The animations of the documentation: an episode of each task, as its controller runs it.

    python -m examples.animations                   # all tasks, to docs/assets/tasks/<name>.gif
    python -m examples.animations Pendulum Duffing

Each is learned anew from learning seed 0, which takes seconds.
"""

from __future__ import annotations

from concurrent.futures import ProcessPoolExecutor
from contextlib import closing
from multiprocessing import get_context
from pathlib import Path
from typing import Annotated

import typer

from koopman_control.evaluation.animation import drawing_environment, film_episode, write_gif
from koopman_control.tasks import TASKS

MOST_BYTES = 500_000
SEED, SEEDS = 1001, {"PlanarQuadrotor": 1000}  # starts that have some way to go


def animate(name: str, out: Path, seed: int) -> str:
    """Learn, film and write; return what came of it."""
    task = TASKS[name]
    controller = task.learn(0).controller
    made, obstacle = drawing_environment(task.environment)
    with closing(made) as env:
        film = film_episode(controller, env, seed)
    size = write_gif(out / f"{task.name}.gif", film, MOST_BYTES)
    told = f"{task.name}: return {film.episode.episode_return:.2f}, {size / 1e3:.0f} kB"
    return told if obstacle is None else f"{told}; {obstacle}"


def main(
    tasks: Annotated[list[str] | None, typer.Argument(help="Tasks; all if none.")] = None,
    out: Annotated[Path, typer.Option(help="Folder of the GIFs.")] = Path("docs/assets/tasks"),
    seed: Annotated[
        int | None, typer.Option(help="Reset seed of the episode; None: one for each task.")
    ] = None,
) -> None:
    """Animate each task, in a process of its own: MuJoCo draws without a display once in each."""
    out.mkdir(parents=True, exist_ok=True)
    own = get_context("spawn")
    with ProcessPoolExecutor(1, mp_context=own, max_tasks_per_child=1) as processes:
        for name in tasks or TASKS:
            chosen = SEEDS.get(name, SEED) if seed is None else seed
            print(processes.submit(animate, name, out, chosen).result(), flush=True)


if __name__ == "__main__":
    typer.run(main)
