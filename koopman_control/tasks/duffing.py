"""Duffing-v0: bring a mass to any place of a double well, the ridge between them included."""

from koopman_control.common import Array
from koopman_control.mpc import Observed
from koopman_control.tasks.task import Task
from koopman_control.trajectories import HeldUniform, OrnsteinUhlenbeck
from koopman_envs.duffing import holding_input


def holding_action(observation: Array) -> float:
    """Action that holds the set-point; the environment's cost measures actions from it."""
    return float(holding_input(observation[2]))


# All ten learning seeds tried met the optimum. With 600 random steps and no rounds one of them was
# 0.5 % behind it, with 300 one of three lost the ridge. The linear roll-out (four draws, 1,000
# steps) is ten times faster, mostly 0.2 % behind the optimum, but 5 % in the worst of nine tries.
DUFFING = Task(
    env_id="koopman_envs/Duffing-v0",
    summary="bring a mass to any place of a double well, its ridge included",
    Q=(1.0, 0.1),
    R=0.01,
    horizon=80,
    n_steps=600,
    first_steps=300,
    n_rounds=3,
    rollout="relifted",
    coupling="bilinear",
    n_features=(20, 40),
    steepness=(0.1, 0.25),
    states=(0, 1),
    state_names=("x1", "x2"),
    reference=Observed((2, None)),  # the place at the set-point, at rest
    input_reference=holding_action,
    excitation=HeldUniform(hold=(5, 40)),
    noise=OrnsteinUhlenbeck(correlation_steps=20.0, scale=0.3),
)
