"""InvertedPendulum-v5 and InvertedDoublePendulum-v5: LQR from the simulator's own derivatives.

python -m examples.references.mujoco_regulator InvertedPendulum-v5 --store
"""

from __future__ import annotations

from typing import Annotated, Any

import gymnasium as gym
import numpy as np
import typer
from scipy.linalg import solve_discrete_are

from examples.references.episodes import outcomes, store
from koopman_control.common import Array

NAME = "LQR"
HOW = "linear-quadratic regulator from finite differences of the simulator"
WEIGHTS = {
    "InvertedPendulum-v5": (1.0, 10.0, 0.1, 0.1),
    "InvertedDoublePendulum-v5": (1.0, 10.0, 10.0, 0.1, 0.1, 0.1),
}
NUDGE = 1e-4  # central differences


class Regulator:
    """Feeds back the simulator's state; the upright rest is its origin.

    Args:
        env: The environment it runs in, whose state it reads.
        weights: Weights of positions and speeds; the input weighs 1.
    """

    def __init__(self, env: gym.Env[Any, Any], weights: tuple[float, ...]) -> None:
        self._simulator: Any = env.unwrapped
        A, B = self._linearised(np.eye(len(weights)))
        P = solve_discrete_are(A, B, np.diag(weights), np.eye(1))
        self._gain = np.linalg.solve(np.eye(1) + B.T @ P @ B, B.T @ P @ A)

    def reset(self) -> None:
        pass

    def act(self, observation: Array) -> Array:
        action: Array = -self._gain @ self._state()
        return action

    def _linearised(self, directions: Array) -> tuple[Array, Array]:
        rest, still = np.zeros(len(directions)), np.zeros(1)
        A = [self._after(NUDGE * d, still) - self._after(-NUDGE * d, still) for d in directions]
        push = NUDGE * np.ones(1)
        B = self._after(rest, push) - self._after(rest, -push)
        return np.stack(A, axis=1) / (2.0 * NUDGE), B[:, None] / (2.0 * NUDGE)

    def _after(self, state: Array, action: Array) -> Array:
        n = self._simulator.model.nq
        self._simulator.set_state(state[:n], state[n:])
        self._simulator.do_simulation(action, self._simulator.frame_skip)
        return self._state()

    def _state(self) -> Array:
        data = self._simulator.data
        state: Array = np.concatenate([data.qpos, data.qvel])
        return state


def main(
    env_id: Annotated[str, typer.Argument(help=f"One of {', '.join(WEIGHTS)}.")],
    save: Annotated[bool, typer.Option("--store", help="Into references.json.")] = False,
) -> None:
    """Balance on the evaluation seeds."""
    env = gym.make(env_id)
    env.reset(seed=0)
    found = outcomes(env, Regulator(env, WEIGHTS[env_id]), NAME)
    if save:
        store(env_id, "reference", NAME, HOW, found, packages=["mujoco", "scipy"])


if __name__ == "__main__":
    typer.run(main)
