"""Gymnasium environments with continuous inputs that Gymnasium itself lacks.

Importing this package registers them; ``gymnasium.make("koopman_envs/VanDerPol-v0")`` then works,
and ``gymnasium.make("koopman_envs:koopman_envs/VanDerPol-v0")`` does both at once.
"""

import gymnasium as gym

from koopman_envs.ode import ODEEnv, rk4_step
from koopman_envs.van_der_pol import VanDerPol

__all__ = ["ODEEnv", "VanDerPol", "rk4_step"]

gym.register(
    id="koopman_envs/VanDerPol-v0",
    entry_point="koopman_envs.van_der_pol:VanDerPol",
    max_episode_steps=400,
)
