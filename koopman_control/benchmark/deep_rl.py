"""The baselines `sac` and `tqc`: Stable-Baselines3, at the task's data and at 20 times as much."""

from __future__ import annotations

import time
from contextlib import closing
from dataclasses import dataclass
from typing import Any, Literal

from koopman_control.benchmark.trained import Trained
from koopman_control.common import Array, optional_package
from koopman_control.tasks import Task

Algorithm = Literal["sac", "tqc"]

# Settings that RL Baselines3 Zoo tuned (its hyperparams/sac.yml, used for both algorithms); all
# else is Stable-Baselines3's default. Left at it is learning_starts, where the tuned 10,000 steps
# are more than the budget; of falling learning rates the first value is taken.
TUNED: dict[str, dict[str, Any]] = {
    "Pendulum-v1": {"learning_rate": 1e-3},
    "MountainCarContinuous-v0": {
        "buffer_size": 50_000,
        "batch_size": 512,
        "ent_coef": 0.1,
        "train_freq": 32,
        "gradient_steps": 32,
        "gamma": 0.9999,
        "tau": 0.01,
        "learning_starts": 0,
        "use_sde": True,
        "policy_kwargs": {"log_std_init": -3.67, "net_arch": [64, 64]},
    },
    "LunarLanderContinuous-v3": {
        "learning_rate": 7.3e-4,
        "tau": 0.01,
        "policy_kwargs": {"net_arch": [400, 300]},
    },
    "Swimmer-v5": {"gamma": 0.9999},
}


class Policy:
    """The deterministic policy of a trained agent as a controller."""

    def __init__(self, agent: Any) -> None:
        self._agent = agent

    def reset(self) -> None:
        """Nothing to forget."""

    def act(self, observation: Array) -> Array:
        """Return the action (m,)."""
        action: Array = self._agent.predict(observation, deterministic=True)[0]
        return action


@dataclass(frozen=True)
class DeepRL:
    """Train an agent from nothing but its own environment steps.

    Args:
        algorithm: "sac" or "tqc".
        factor: Budget of environment steps in units of the task's.
    """

    algorithm: Algorithm
    factor: int = 1

    def __call__(self, task: Task, seed: int) -> Trained:
        """Train on one thread."""
        module = "stable_baselines3" if self.algorithm == "sac" else "sb3_contrib"
        package, torch = optional_package(module, "rl"), optional_package("torch", "rl")
        torch.set_num_threads(1)
        started, steps = time.perf_counter(), self.factor * task.n_steps
        with closing(task.environment()) as env:
            agent = getattr(package, self.algorithm.upper())(
                "MlpPolicy",
                env,
                seed=seed,
                device="cpu",
                **{"buffer_size": steps} | TUNED.get(task.env_id, {}),
            )
            agent.learn(steps)
        return Trained(Policy(agent), int(agent.num_timesteps), time.perf_counter() - started)
