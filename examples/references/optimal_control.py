"""How well can an environment of koopman_envs be controlled at all?

For each evaluation seed the optimal control problem of the whole episode is solved for the *true*
model, from several starts, and the best plan is played in the stock environment with a time-varying
regulator about it, which takes up the rounding of actions to float32. Constraints are kept where
they can be: violating one costs more than anything it could gain.

    pip install 'koopman-control[benchmarks]'
    python -m examples.references.optimal_control koopman_envs/VanDerPol-v0 --store

Partial results go to runs/references/, so an interrupted run goes on where it was. `--store` puts
the returns into koopman_control/tasks/references.json. KortewegDeVries-v0, with its 128 states, has
a script of its own.
"""

from __future__ import annotations

from typing import Annotated

import gymnasium as gym
import numpy as np
import typer

import koopman_envs
from examples.references.episodes import outcomes, store
from examples.references.multiple_shooting import MultipleShooting
from examples.references.starts import STARTS, starts
from examples.references.tracking import feedback_gains
from koopman_control.common import Array
from koopman_control.trajectories.environments import Environment

NAME = "optimal control, true model"
HOW = (
    "optimal control of the whole episode by multiple shooting on the environment's own map and "
    "cost, IPOPT from several starts, played with a time-varying regulator about it"
)
ANGLES = {"CartPoleSwingUp": 2}  # state that the environment counts modulo 2 pi


class Optimum:
    """Plans the whole episode at its start and follows the plan.

    Args:
        env: The environment it runs in, whose state it reads.
    """

    def __init__(self, env: Environment) -> None:
        plant = env.unwrapped
        assert isinstance(plant, koopman_envs.ODEEnv) and env.spec is not None
        assert env.spec.max_episode_steps is not None
        self._plant = plant
        self._shooting = MultipleShooting(plant, env.spec.max_episode_steps)
        self._angle = ANGLES.get(type(plant).__name__)

    def reset(self) -> None:
        state, reference = self._plant.state, self._plant.reference
        guesses = starts(self._shooting, state, reference)
        plan = self._shooting.solve(state, reference, guesses)
        self._actions, self._step = plan.actions, 0
        self._states = np.vstack([state, plan.states[:-1]])
        self._gains = feedback_gains(*self._shooting.linearised(self._states, plan.actions))

    def act(self, observation: Array) -> Array:
        off = self._plant.state - self._states[self._step]
        if self._angle is not None:
            off[self._angle] -= 2.0 * np.pi * np.round(off[self._angle] / (2.0 * np.pi))
        correction = self._gains[self._step] @ (off / self._shooting.scale)
        action: Array = self._actions[self._step] - correction
        self._step += 1
        return action


def main(
    env_id: Annotated[str, typer.Argument(help="Such as koopman_envs/Duffing-v0.")],
    first_seed: int = 1000,
    episodes: Annotated[int, typer.Option(min=1)] = 100,
    save: Annotated[bool, typer.Option("--store", help="Into references.json.")] = False,
) -> None:
    """Play the whole-episode optimum of the true model on each seed."""
    if env_id.removeprefix("koopman_envs/").removesuffix("-v0") not in STARTS:
        known = ", ".join(f"koopman_envs/{name}-v0" for name in STARTS)
        raise typer.BadParameter(f"there are no starts for {env_id}; there are for {known}")
    env = gym.make(env_id)
    found = outcomes(env, Optimum(env), NAME, range(first_seed, first_seed + episodes))
    if save:
        store(env_id, "reference", NAME, HOW, found, packages=["casadi"])


if __name__ == "__main__":
    typer.run(main)
