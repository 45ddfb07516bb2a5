"""Pendulum-v1: swing up a pendulum whose motor is too weak to lift it directly."""

from koopman_control.mpc import Search
from koopman_control.tasks.task import Task

# The cost is the environment's own: angle^2 + 0.1 speed^2 + 0.001 torque^2. With a perfect model,
# 60 steps without terminal cost come within 0.03 of the optimum; 50 lose 1.6, 30 lose 46.
PENDULUM = Task(
    env_id="Pendulum-v1",
    summary="swing a torque-limited pendulum up and hold it",
    Q=(1.0, 0.1),
    R=0.001,
    horizon=60,
    n_steps=600,
    first_steps=400,
    rollout="relifted",
    coupling="bilinear",
    n_features=(20, 60),
    angles=((0, 1),),
    state_names=("angle (rad)", "speed (rad/s)"),
    mpc={"search": Search(guesses=4, first_guesses=128)},
)
