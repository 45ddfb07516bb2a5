"""How fast are the environments? Steps a second, one at a time and 1,000 copies at once.

    OMP_NUM_THREADS=1 python examples/benchmarks/environments.py --out environments.json

Both are what a user gets: ``gymnasium.make`` with its wrappers, and ``gymnasium.make_vec``; the
resets after an episode's end are counted in. Times are the least processor time of several repeats.
The floor is what NumPy needs for as many bare additions of 1,000 numbers, into arrays that exist,
as the plant's Runge–Kutta steps and cost have operations.
"""

from __future__ import annotations

import json
import time
from collections.abc import Callable
from pathlib import Path
from typing import Annotated, Any

import gymnasium as gym
import numpy as np
import typer

import koopman_envs
from koopman_control.common import write_text_atomically
from koopman_control.evaluation import package_versions
from koopman_envs.copies import Copies

REPEATS = 9


def main(
    copies: Annotated[int, typer.Option(min=1)] = 1000,
    steps: Annotated[int, typer.Option(min=1, help="Steps per repeat.")] = 600,
    out: Annotated[Path, typer.Option(help="Where the JSON goes.")] = Path("environments.json"),
) -> None:
    """Time every environment."""
    results: dict[str, Any] = {"versions": package_versions(), "copies": copies, "per_second": {}}
    print("| environment | single, steps/s | vector, steps/s | operations | floor, steps/s |")
    print("|---|---|---|---|---|")
    for env_id in sorted(name for name in gym.registry if name.startswith("koopman_envs/")):
        rates = measured(env_id, copies, steps)
        results["per_second"][env_id] = rates
        print(f"| {env_id} | " + " | ".join(cell(value) for value in rates.values()) + " |")
    write_text_atomically(out, json.dumps(results, indent=1))


def measured(env_id: str, copies: int, steps: int) -> dict[str, float | None]:
    """Return environment steps per second, and the floor where the formula is known."""
    env = gym.make(env_id)
    tape = Copies(plant(env), copies).tape
    additions = None if tape is None else copies / bare_additions(len(tape), copies)
    return {
        "single": 1.0 / single_step(env, steps),
        "vector": copies / vector_step(env_id, copies, steps),
        "operations": None if tape is None else len(tape),
        "floor": additions,
    }


def plant(env: gym.Env[Any, Any]) -> koopman_envs.ODEEnv:
    """Return the environment below Gymnasium's wrappers."""
    bare = env.unwrapped
    assert isinstance(bare, koopman_envs.ODEEnv)
    return bare


def single_step(env: gym.Env[Any, Any], steps: int) -> float:
    """Return seconds per step of one copy."""
    env.action_space.seed(0)
    actions = [env.action_space.sample() for _ in range(steps)]
    env.reset(seed=0)

    def play() -> None:
        for action in actions:
            _, _, terminated, truncated, _ = env.step(action)
            if terminated or truncated:
                env.reset()

    return least_seconds(play) / steps


def vector_step(env_id: str, copies: int, steps: int) -> float:
    """Return seconds per step of all copies."""
    envs = gym.make_vec(env_id, copies, "vector_entry_point")
    envs.action_space.seed(0)
    actions = [envs.action_space.sample() for _ in range(10)]
    envs.reset(seed=0)

    def play() -> None:
        for k in range(steps):
            envs.step(actions[k % 10])

    return least_seconds(play) / steps


def bare_additions(count: int, copies: int) -> float:
    """Return seconds for a number of additions of arrays (copies,)."""
    a, b, c = np.random.default_rng(0).normal(size=(3, copies))

    def play() -> None:
        for _ in range(100 * count):
            np.add(a, b, c)

    return least_seconds(play) / 100


def least_seconds(play: Callable[[], None]) -> float:
    """Return the least processor time of several repeats."""
    times = []
    for _ in range(REPEATS):
        start = time.process_time()
        play()
        times.append(time.process_time() - start)
    return min(times)


def cell(value: float | None) -> str:
    """Write a number with thousands separated."""
    return "–" if value is None else f"{value:,.0f}"


if __name__ == "__main__":
    typer.run(main)
