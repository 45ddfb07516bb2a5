"""Pendulum-v1: dynamic programming with the true model.

    python -m examples.references.pendulum --store

Takes some minutes and 1.5 GB. A grid of 360 x 321 points and 41 torques gives -143.84 instead of
-143.13.
"""

from __future__ import annotations

from typing import Annotated, Any

import gymnasium as gym
import numpy as np
import typer
from numba import njit

from examples.references.dynamic_programming import Grid, OptimalPolicy
from examples.references.episodes import outcomes, store

ENV_ID = "Pendulum-v1"
NAME = "dynamic programming"
HOW = (
    "200-step dynamic programming with the true model on a 1440 x 1281 grid, 61 torques, linear "
    "interpolation; the policy minimises over 401 torques"
)


def _step(angle: float, speed: float, u: float) -> tuple[float, float, float, bool]:
    off = (angle + np.pi) % (2.0 * np.pi) - np.pi
    cost = off * off + 0.1 * speed * speed + 0.001 * u * u
    after = speed + (15.0 * np.sin(angle) + 3.0 * u) * 0.05
    after = min(max(after, -8.0), 8.0)
    return angle + 0.05 * after, after, cost, False


step: Any = njit(_step)


def main(
    points: Annotated[tuple[int, int], typer.Option(help="Of the grid.")] = (1440, 1281),
    torques: Annotated[int, typer.Option(help="Tried in the backups.")] = 61,
    save: Annotated[bool, typer.Option("--store", help="Into references.json.")] = False,
) -> None:
    """Swing up on the evaluation seeds."""
    env = gym.make(ENV_ID)
    grid = Grid(points, (-np.pi, -8.0), (np.pi, 8.0), periodic=True)
    tried, fine = np.linspace(-2.0, 2.0, torques), np.linspace(-2.0, 2.0, 401)
    name = f"{NAME} {points[0]}x{points[1]}x{torques}"
    found = outcomes(env, OptimalPolicy(env, step, grid, 200, tried, fine), name)
    if save:
        store(ENV_ID, "reference", NAME, HOW, found, packages=["numba"])


if __name__ == "__main__":
    typer.run(main)
