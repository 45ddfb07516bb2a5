"""Tasks: environments with everything needed to learn and judge a controller for them."""

from koopman_control.tasks.cart_pole_swing_up import CART_POLE_SWING_UP
from koopman_control.tasks.inverted_pendulum import INVERTED_PENDULUM
from koopman_control.tasks.korteweg_de_vries import KORTEWEG_DE_VRIES
from koopman_control.tasks.pendulum import PENDULUM
from koopman_control.tasks.planar_quadrotor import PLANAR_QUADROTOR
from koopman_control.tasks.references import normalised_score, reference_returns
from koopman_control.tasks.task import Task
from koopman_control.tasks.two_link_arm import TWO_LINK_ARM
from koopman_control.tasks.van_der_pol import VAN_DER_POL

# In alphabetical order.
_ALL = (
    CART_POLE_SWING_UP,
    INVERTED_PENDULUM,
    KORTEWEG_DE_VRIES,
    PENDULUM,
    PLANAR_QUADROTOR,
    TWO_LINK_ARM,
    VAN_DER_POL,
)
TASKS: dict[str, Task] = {task.env_id: task for task in _ALL}

__all__ = ["TASKS", "Task", "normalised_score", "reference_returns"]
