"""Tasks: environments with everything needed to learn and judge a controller for them."""

from koopman_control.tasks.bilinear_motor import BILINEAR_MOTOR
from koopman_control.tasks.cart_pole_swing_up import CART_POLE_SWING_UP
from koopman_control.tasks.cstr import CSTR
from koopman_control.tasks.duffing import DUFFING
from koopman_control.tasks.inverted_double_pendulum import INVERTED_DOUBLE_PENDULUM
from koopman_control.tasks.inverted_pendulum import INVERTED_PENDULUM
from koopman_control.tasks.korteweg_de_vries import KORTEWEG_DE_VRIES
from koopman_control.tasks.lorenz import LORENZ
from koopman_control.tasks.lunar_lander import LUNAR_LANDER
from koopman_control.tasks.mountain_car import MOUNTAIN_CAR
from koopman_control.tasks.pendulum import PENDULUM
from koopman_control.tasks.planar_quadrotor import PLANAR_QUADROTOR
from koopman_control.tasks.quadruple_tank import QUADRUPLE_TANK
from koopman_control.tasks.reacher import REACHER
from koopman_control.tasks.references import normalised_score, reference_returns
from koopman_control.tasks.swimmer import SWIMMER
from koopman_control.tasks.task import Task
from koopman_control.tasks.two_link_arm import TWO_LINK_ARM
from koopman_control.tasks.van_der_pol import VAN_DER_POL

# In alphabetical order.
_ALL = (
    BILINEAR_MOTOR,
    CART_POLE_SWING_UP,
    CSTR,
    DUFFING,
    INVERTED_DOUBLE_PENDULUM,
    INVERTED_PENDULUM,
    KORTEWEG_DE_VRIES,
    LORENZ,
    LUNAR_LANDER,
    MOUNTAIN_CAR,
    PENDULUM,
    PLANAR_QUADROTOR,
    QUADRUPLE_TANK,
    REACHER,
    SWIMMER,
    TWO_LINK_ARM,
    VAN_DER_POL,
)
TASKS: dict[str, Task] = {task.env_id: task for task in _ALL}

__all__ = ["TASKS", "Task", "normalised_score", "reference_returns"]
