"""Swimmer-v5: swim forward with a body of three links, by bending its two joints (MuJoCo)."""

import numpy as np

from koopman_control.common import Array
from koopman_control.tasks.task import Task
from koopman_control.trajectories import HeldUniform

STEPS, SECONDS_PER_STEP = 1000, 0.04


def gait(amplitude: float, period: float, lag: float) -> Array:
    """Rows (angle, angle, rate, rate) of a wave that runs down the body, for a whole episode.

    Args:
        amplitude: Of both joints, in radians.
        period: In steps.
        lag: Phase of the second joint behind the first, in radians.
    """
    turning = 2.0 * np.pi / period
    phases = turning * np.arange(1, STEPS + 1)[:, None] - np.array([0.0, lag])
    rates = amplitude * turning / SECONDS_PER_STEP * np.cos(phases)
    return np.hstack([amplitude * np.sin(phases), rates])


# Swimming pays only over a whole stroke of some 40 steps; so the controller tracks a travelling
# wave, and learns nothing but the joints. The wave is not learned: it was found beforehand by
# trying 150 of them for 600 steps each on the environment, under plain feedback, and those 90,000
# steps are not in the budget. At 1 rad, periods of 36 to 48 steps with lags of 0.8 and 1 rad all
# return above 300; the opposite lag swims backwards.
SWIMMER = Task(
    env_id="Swimmer-v5",
    summary="swim forward by a wave through two joints",
    Q=(1.0, 1.0, 0.003, 0.003),
    R=0.001,
    horizon=5,
    n_steps=2000,
    first_steps=2000,
    n_rounds=0,
    n_features=(50,),
    steepness=(0.25,),
    prediction=10,
    states=(1, 2, 6, 7),
    reference=gait(amplitude=1.0, period=42.0, lag=0.85),
    excitation=HeldUniform(hold=(1, 10)),
    state_names=("angle (rad)", "second angle (rad)", "rate (rad/s)", "second rate (rad/s)"),
)
