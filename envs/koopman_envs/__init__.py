"""Gymnasium environments with continuous inputs that Gymnasium itself lacks.

Importing this package registers them; ``gymnasium.make("koopman_envs/VanDerPol-v0")`` then works,
and ``gymnasium.make("koopman_envs:koopman_envs/VanDerPol-v0")`` does both at once.
``gymnasium.make_vec("koopman_envs/VanDerPol-v0", num_envs=1000)`` steps 1,000 copies together.
"""

import gymnasium as gym

from koopman_envs.integration import components, runge_kutta, stacked
from koopman_envs.ode import ODEEnv
from koopman_envs.vector import ODEVectorEnv

__all__ = ["ODEEnv", "ODEVectorEnv", "components", "runge_kutta", "stacked"]

# Name of the class, its module, time steps an episode; in alphabetical order.
_PLANTS = [
    ("BilinearMotor", "bilinear_motor", 300),
    ("CartPoleSwingUp", "cart_pole_swing_up", 200),
    ("CSTR", "cstr", 200),
    ("Duffing", "duffing", 200),
    ("KortewegDeVries", "korteweg_de_vries", 1000),
    ("Lorenz", "lorenz", 500),
    ("PlanarQuadrotor", "planar_quadrotor", 300),
    ("QuadrupleTank", "quadruple_tank", 120),
    ("TwoLinkArm", "two_link_arm", 150),
    ("VanDerPol", "van_der_pol", 400),
]

for _name, _module, _steps in _PLANTS:
    gym.register(
        id=f"koopman_envs/{_name}-v0",
        entry_point=f"koopman_envs.{_module}:{_name}",
        vector_entry_point=f"koopman_envs.{_module}:{_name}Vector",
        max_episode_steps=_steps,
    )
