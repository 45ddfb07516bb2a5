"""What no skill at all earns: returns of random and of zero actions, in any environment.

python -m examples.references.floors koopman_envs/Duffing-v0 Pendulum-v1 --store
"""

from __future__ import annotations

from typing import Annotated, Any

import gymnasium as gym
import numpy as np
import typer

import koopman_envs  # noqa: F401  # registers its environments
from examples.references.episodes import outcomes, store
from koopman_control.common import Array


class RandomActions:
    """Samples the action space, which the episode's reset seed has seeded."""

    def __init__(self, env: gym.Env[Any, Any]) -> None:
        self._space = env.action_space

    def seed(self, seed: int) -> None:
        self._space.seed(seed)

    def reset(self) -> None:
        pass

    def act(self, observation: Array) -> Array:
        return np.array(self._space.sample(), np.float64)


class ZeroActions:
    """Does nothing."""

    def __init__(self, env: gym.Env[Any, Any]) -> None:
        self._action: Array = np.zeros(env.action_space.shape or ())

    def reset(self) -> None:
        pass

    def act(self, observation: Array) -> Array:
        return self._action


def main(
    env_ids: Annotated[list[str], typer.Argument(help="Gymnasium ids.")],
    first_seed: int = 1000,
    episodes: Annotated[int, typer.Option(min=1)] = 100,
    save: Annotated[bool, typer.Option("--store", help="Into references.json.")] = False,
) -> None:
    """Play random and zero actions on each seed."""
    random = "uniform in the action box, action space seeded with the episode's reset seed"
    seeds = range(first_seed, first_seed + episodes)
    for env_id in env_ids:
        env = gym.make(env_id)
        done = outcomes(env, RandomActions(env), "random", seeds)
        idle = outcomes(env, ZeroActions(env), "zero", seeds)
        if save:
            store(env_id, "random", "random", random, done)
            store(env_id, "zero", "zero", "the action is zero throughout", idle)


if __name__ == "__main__":
    typer.run(main)
