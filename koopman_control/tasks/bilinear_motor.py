"""BilinearMotor-v0: bring the speed of a DC motor to set-points by its field current."""

from math import inf

from koopman_control.features import PolynomialFeatures
from koopman_control.mpc import Bounds, Observed
from koopman_control.tasks.task import Task
from koopman_envs.bilinear_motor import LIMIT

# The field multiplies the state, so the model has to be bilinear. With the linear roll-out (20
# features, four draws, 800 steps in five rounds) the cost was 17 % above the optimum, and the speed
# beyond the limit in some episodes. Over a time step of 0.01 s, four tenths of the armature's time
# constant, the field also acts by its square and cube: without them the left-out error is 0.06, the
# cost 1 to 2 % above and the speed beyond the limit in one of 60 episodes; with them it is 0.0001.
BILINEAR_MOTOR = Task(
    env_id="koopman_envs/BilinearMotor-v0",
    summary="bring a loaded motor to a speed by its field current, within a speed limit",
    Q=(0.0, 1.0),
    R=0.01,
    horizon=30,
    n_steps=600,
    first_steps=600,
    n_rounds=0,
    rollout="relifted",
    coupling="bilinear",
    n_features=(10, 20),
    steepness=(0.1, 0.25),
    input_features=PolynomialFeatures(3),
    states=(0, 1),
    state_names=("current (10 A)", "speed (100 rad/s)"),
    reference=Observed((None, 2)),  # the speed; the current costs nothing
    mpc={"output_bounds": ((-inf, -LIMIT), (inf, LIMIT)), "bounds": Bounds(slack_weight=1e3)},
)
