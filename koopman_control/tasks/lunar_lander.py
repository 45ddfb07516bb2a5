"""LunarLanderContinuous-v3: set a lander down on its pad with little fuel (Box2D)."""

import numpy as np

from koopman_control.common import Array
from koopman_control.mpc import OffsetFree
from koopman_control.tasks.task import Task
from koopman_control.trajectories import HeldUniform


def near_the_ground(observation: Array) -> bool:
    """Whether the lander may touch the ground with its next step, or has done so."""
    return bool(observation[1] < 0.3 or observation[6:8].any())


def descent(observation: Array) -> tuple[float, float, float, float] | None:
    """Target of (speed, climb, angle, rate): sink to the pad, slower and more upright below."""
    x, y, speed, _, _, _, *legs = observation.tolist()
    if any(legs):  # down: engines off
        return None
    steepest = min(0.4, 0.05 + max(y, 0.0))
    lean = float(np.clip(0.5 * x + speed, -steepest, steepest))
    return 0.0, -max(1.3 * (y - 0.55 * abs(x)), 0.1), lean, 0.0


# The reward's shaping telescopes: what counts is to land, on the pad, with little fuel. Touching
# the ground stops the lander at once; a few per cent of such samples cancelled gravity in the model
# (a mean return of 40 to 60), so episodes of data are broken off above it. What is left of the bias
# the observer takes off (70 to 180 without it). On the ground it would find a bias, too, and push
# the lander off the pad with the side engine (a mean return of 148 instead of 278); touching down
# at a lean threw some over (259 instead of 278 on another learning seed).
LUNAR_LANDER = Task(
    env_id="LunarLanderContinuous-v3",
    summary="set a lander down on its pad with little fuel",
    Q=(0.0, 100.0, 50.0, 20.0),
    R=0.01,
    horizon=10,
    n_steps=3000,
    first_steps=3000,
    n_rounds=0,
    n_features=(5,),
    steepness=(0.25,),
    prediction=10,
    states=(2, 3, 4, 5),
    until=near_the_ground,
    reference=descent,
    excitation=HeldUniform(hold=(1, 8)),
    mpc={"estimator": OffsetFree(0.01)},
    state_names=("speed", "climb", "angle (rad)", "rate"),
)
