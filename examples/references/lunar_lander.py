"""LunarLanderContinuous-v3: the landing controller that Gymnasium ships (needs gymnasium[box2d]).

python -m examples.references.lunar_lander --store
"""

from __future__ import annotations

from typing import Annotated, Any

import gymnasium as gym
import numpy as np
import typer
from gymnasium.envs.box2d import lunar_lander

from examples.references.episodes import outcomes, store
from koopman_control.common import Array

ENV_ID = "LunarLanderContinuous-v3"
NAME = "Gymnasium's heuristic"
HOW = "the hand-written landing controller that Gymnasium ships"
HEURISTIC: Any = lunar_lander.heuristic


class Heuristic:
    """Gymnasium's own controller for this environment."""

    def __init__(self, env: gym.Env[Any, Any]) -> None:
        self._lander = env.unwrapped

    def reset(self) -> None:
        pass

    def act(self, observation: Array) -> Array:
        return np.array(HEURISTIC(self._lander, observation), np.float64)


def main(
    save: Annotated[bool, typer.Option("--store", help="Into references.json.")] = False,
) -> None:
    """Land on the evaluation seeds."""
    env = gym.make(ENV_ID)
    found = outcomes(env, Heuristic(env), NAME)
    if save:
        store(ENV_ID, "reference", NAME, HOW, found, packages=["box2d"])


if __name__ == "__main__":
    typer.run(main)
