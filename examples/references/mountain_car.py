"""MountainCarContinuous-v0: dynamic programming with the true model.

    python -m examples.references.mountain_car --store

Takes some minutes and 2 GB.
"""

from __future__ import annotations

from typing import Annotated, Any

import gymnasium as gym
import numpy as np
import typer
from numba import njit

from examples.references.dynamic_programming import Grid, OptimalPolicy
from examples.references.episodes import outcomes, store

ENV_ID = "MountainCarContinuous-v0"
NAME = "dynamic programming"
HOW = (
    "999-step dynamic programming with the true model on a 901 x 561 grid, 41 actions, linear "
    "interpolation"
)


def _step(place: float, speed: float, u: float) -> tuple[float, float, float, bool]:
    after = speed + 0.0015 * u - 0.0025 * np.cos(3.0 * place)
    after = min(max(after, -0.07), 0.07)
    there = min(max(place + after, -1.2), 0.6)
    if there == -1.2 and after < 0.0:
        after = 0.0
    arrived = there >= 0.45 and after >= 0.0
    return there, after, 0.1 * u * u - 100.0 * arrived, arrived


step: Any = njit(_step)


def main(
    points: Annotated[tuple[int, int], typer.Option(help="Of the grid.")] = (901, 561),
    save: Annotated[bool, typer.Option("--store", help="Into references.json.")] = False,
) -> None:
    """Drive up on the evaluation seeds."""
    env = gym.make(ENV_ID)
    push = np.linspace(0.0, 1.0, 21)[1:] ** 1.5  # small actions matter most
    actions = np.concatenate([-push, [0.0], push])
    grid = Grid(points, (-1.2, -0.07), (0.6, 0.07))
    name = f"{NAME} {points[0]}x{points[1]}"
    found = outcomes(env, OptimalPolicy(env, step, grid, 999, actions, actions), name)
    if save:
        store(ENV_ID, "reference", NAME, HOW, found, packages=["numba"])


if __name__ == "__main__":
    typer.run(main)
