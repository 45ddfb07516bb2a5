"""MountainCarContinuous-v0: rock a car with a weak engine up to a flag, with little effort."""

import numpy as np

from koopman_control.common import Array
from koopman_control.tasks.task import Task
from koopman_control.trajectories import OrnsteinUhlenbeck


def faster(observation: Array) -> tuple[float, float]:
    """Target of (position, speed): several times as fast as now, the way the car is going."""
    speed = float(observation[1])
    return 0.0, 8.0 * speed + 0.1 * float(np.sign(speed))


# The environment's own reward, 100 at the flag less 0.1 input^2, is of no use to a horizon: one
# below 75 steps never moves, one above 300 waits for ever, even with the true model. What gets the
# car up at least effort is energy, put in where the car is fast; so the target is to be faster.
# Five times as fast takes the least effort (score 0.996 instead of 0.994), but never gets up with
# an engine weaker by a fifth; eight times does. A horizon of 150 steps towards the flag with
# sampled plans ended at 93 to 96, at hundreds of times the work.
MOUNTAIN_CAR = Task(
    env_id="MountainCarContinuous-v0",
    summary="rock a car with a weak engine up a hill, with little effort",
    Q=(0.0, 100.0),
    R=1.0,
    horizon=5,
    n_steps=500,
    first_steps=500,
    n_rounds=0,
    n_features=(20,),
    steepness=(0.25, 0.5),
    reference=faster,
    excitation=OrnsteinUhlenbeck(correlation_steps=20.0, scale=0.4),
    state_names=("position", "speed (1/step)"),
)
