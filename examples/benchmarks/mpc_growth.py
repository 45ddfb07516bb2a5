"""Whether a controller's memory grows: bytes that Python and the process gained over many steps.

OMP_NUM_THREADS=1 python -m examples.benchmarks.mpc_growth          # a million steps, some minutes
"""

from __future__ import annotations

import gc
import tracemalloc
from typing import Annotated

import typer

from examples.benchmarks.memory import peak_memory
from examples.benchmarks.mpc_subjects import LiftedPlant
from koopman_control.mpc import KoopmanMPC

EPISODE = 1000  # steps after which the plant, not the controller, starts anew


def main(
    steps: Annotated[int, typer.Option(help="Steps of each of the two runs.")] = 1_000_000,
) -> None:
    """Print both growths."""
    print(f"traced by Python over {steps} steps: {traced_growth(steps) / 1024:.1f} KiB")
    plant = LiftedPlant(50, 1, 3, 10, EPISODE)
    mpc = plant.controller()
    run(mpc, plant, 2 * EPISODE)
    before = peak_memory()
    run(mpc, plant, steps)
    print(f"peak of the process over {steps} steps: {peak_memory() - before:.2f} MiB more")


def traced_growth(steps: int) -> int:
    """Bytes that Python objects and arrays hold more after further steps of a closed loop."""
    plant = LiftedPlant(50, 1, 3, 10, EPISODE)
    mpc = plant.controller()
    run(mpc, plant, EPISODE)
    tracemalloc.start()
    try:
        run(mpc, plant, EPISODE)  # what the latest step holds is traced, too
        before = _held()
        run(mpc, plant, steps)
        return _held() - before
    finally:
        tracemalloc.stop()


def run(mpc: KoopmanMPC, plant: LiftedPlant, steps: int) -> None:
    """Run a closed loop on and on."""
    for step in range(steps):
        if step % EPISODE == 0:
            plant.restart()
        plant.step(mpc.act(plant.y))


def _held() -> int:
    gc.collect()
    return tracemalloc.get_traced_memory()[0]


if __name__ == "__main__":
    typer.run(main)
