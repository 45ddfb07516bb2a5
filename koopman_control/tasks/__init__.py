"""Tasks: environments with everything needed to learn and judge a controller for them."""

from koopman_control.tasks.bilinear_motor import BILINEAR_MOTOR
from koopman_control.tasks.cstr import CSTR
from koopman_control.tasks.duffing import DUFFING
from koopman_control.tasks.inverted_pendulum import INVERTED_PENDULUM
from koopman_control.tasks.lorenz import LORENZ
from koopman_control.tasks.pendulum import PENDULUM
from koopman_control.tasks.quadruple_tank import QUADRUPLE_TANK
from koopman_control.tasks.references import reference_returns
from koopman_control.tasks.task import Task
from koopman_control.tasks.van_der_pol import VAN_DER_POL

TASKS: dict[str, Task] = {
    task.env_id: task
    for task in (
        BILINEAR_MOTOR,
        CSTR,
        DUFFING,
        INVERTED_PENDULUM,
        LORENZ,
        PENDULUM,
        QUADRUPLE_TANK,
        VAN_DER_POL,
    )
}

__all__ = ["TASKS", "Task", "reference_returns"]
