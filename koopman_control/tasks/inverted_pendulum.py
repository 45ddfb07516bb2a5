"""InvertedPendulum-v5: balance a pole on a cart (MuJoCo)."""

from koopman_control.mpc import Cost
from koopman_control.tasks.task import Task
from koopman_control.trajectories import HeldUniform

# Random episodes last 2 to 25 steps before the pole falls. The products u z of the bilinear
# coupling matter: without them 1 of 8 learning seeds failed, with the linear roll-out 3 to 7 of 8.
INVERTED_PENDULUM = Task(
    env_id="InvertedPendulum-v5",
    summary="balance a pole on a cart",
    Q=(1.0, 10.0, 0.1, 0.1),
    R=1.0,
    horizon=15,
    n_steps=100,
    first_steps=100,
    n_rounds=0,
    rollout="relifted",
    coupling="bilinear",
    n_features=(5, 10, 20),
    steepness=(0.1, 0.25, 0.5),
    prediction=10,
    excitation=HeldUniform(hold=1),
    state_names=("position (m)", "angle (rad)", "speed (m/s)", "rate (rad/s)"),
    mpc={"cost": Cost(terminal="riccati")},
)
