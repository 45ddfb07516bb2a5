"""Tasks: environments with everything needed to learn and judge a controller for them."""

from koopman_control.tasks.inverted_double_pendulum import INVERTED_DOUBLE_PENDULUM
from koopman_control.tasks.inverted_pendulum import INVERTED_PENDULUM
from koopman_control.tasks.lunar_lander import LUNAR_LANDER
from koopman_control.tasks.mountain_car import MOUNTAIN_CAR
from koopman_control.tasks.pendulum import PENDULUM
from koopman_control.tasks.reacher import REACHER
from koopman_control.tasks.references import reference_returns
from koopman_control.tasks.swimmer import SWIMMER
from koopman_control.tasks.task import Task
from koopman_control.tasks.van_der_pol import VAN_DER_POL

TASKS: dict[str, Task] = {
    task.env_id: task
    for task in (
        INVERTED_DOUBLE_PENDULUM,
        INVERTED_PENDULUM,
        LUNAR_LANDER,
        MOUNTAIN_CAR,
        PENDULUM,
        REACHER,
        SWIMMER,
        VAN_DER_POL,
    )
}

__all__ = ["TASKS", "Task", "reference_returns"]
