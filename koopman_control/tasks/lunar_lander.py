"""LunarLanderContinuous-v3: set a lander down on its pad with little fuel (Box2D)."""

import numpy as np

from koopman_control.common import Array
from koopman_control.mpc import OffsetFree
from koopman_control.tasks.task import Task
from koopman_control.trajectories import HeldUniform


def near_the_ground(observation: Array) -> bool:
    """Whether the lander may touch the ground with its next step, or has done so."""
    return bool(observation[1] < 0.3 or observation[6:8].any())


def descent(observation: Array) -> tuple[float, float, float, float]:
    """Target of (speed, climb, angle, rate): sink to the pad, slower below, leaning towards it."""
    x, y, speed, _, angle, rate, *legs = observation.tolist()
    if any(legs):  # down: ask for what needs no engine
        return speed, -1.0, angle, rate
    lean = float(np.clip(0.5 * x + speed, -0.4, 0.4))
    return 0.0, -max(1.3 * (y - 0.55 * abs(x)), 0.1), lean, 0.0


# The reward's shaping telescopes: what counts is to land, on the pad, with little fuel. Touching
# the ground stops the lander at once; a few per cent of such samples cancelled gravity in the model
# (a mean return of 40 to 60), so episodes of data are broken off above it. What is left of the bias
# the observer takes off (70 to 180 without it). Still not all episodes land.
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
