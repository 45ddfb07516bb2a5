"""QuadrupleTank-v0: bring the two lower of four tanks to their levels by two crossing pumps."""

import numpy as np

from koopman_control.common import Array
from koopman_control.tasks.task import Task
from koopman_control.trajectories import HeldUniform
from koopman_envs.quadruple_tank import PARAMETERS, holding_input


def set_points(observation: Array) -> tuple[float, float, float, float]:
    """Target of the levels: tanks 1 and 2 at their set-points; the upper tanks cost nothing."""
    return float(observation[4]), float(observation[5]), 0.0, 0.0


def holding_action(observation: Array) -> Array:
    """Action that holds the set-points; the environment's cost measures actions from it.

    The formula is part of the cost as it is published, so no secret of the plant.
    """
    return (np.array(holding_input(observation[4:], PARAMETERS["minimum"])) - 3.0) / 3.0


# Nearly linear: the linear roll-out is 1 to 2 % of the cost behind the optimum, with and without
# rounds of control; averaging four draws halves the distance.
QUADRUPLE_TANK = Task(
    env_id="koopman_envs/QuadrupleTank-v0",
    summary="bring two tanks to their levels by two pumps that act crosswise",
    Q=(0.04, 0.04, 0.0, 0.0),
    R=0.09,
    horizon=25,
    n_steps=600,
    first_steps=300,
    n_rounds=3,
    n_features=(20,),
    n_draws=4,
    states=(0, 1, 2, 3),
    state_names=("level 1 (cm)", "level 2 (cm)", "level 3 (cm)", "level 4 (cm)"),
    reference=set_points,
    input_reference=holding_action,
    excitation=HeldUniform(hold=(3, 20)),
    mpc={"output_bounds": ((0.5,) * 4, (18.0,) * 4)},
)
