"""Duffing-v0: bring a mass to any place of a double well, the ridge between them included."""

from koopman_control.common import Array
from koopman_control.tasks.task import Task
from koopman_control.trajectories import HeldUniform, OrnsteinUhlenbeck
from koopman_envs.duffing import holding_input


def set_point(observation: Array) -> tuple[float, float]:
    """Target of (x1, x2): the place of the set-point, at rest."""
    return float(observation[2]), 0.0


def holding_action(observation: Array) -> float:
    """Action that holds the set-point; the environment's cost measures actions from it."""
    return float(holding_input(observation[2]))


# The plain linear roll-out suffices, although no linear model has three equilibria: near the target
# its feedback decides. It takes data that the controller meets: with one round of 200 such steps
# after 400 random ones the cost was 6 % above the optimum, with four rounds and some noise 0.3 %.
DUFFING = Task(
    env_id="koopman_envs/Duffing-v0",
    summary="bring a mass to any place of a double well, its ridge included",
    Q=(1.0, 0.1),
    R=0.01,
    horizon=80,
    n_steps=1000,
    first_steps=400,
    n_rounds=4,
    n_features=(20,),
    n_draws=4,
    states=(0, 1),
    state_names=("x1", "x2"),
    reference=set_point,
    input_reference=holding_action,
    excitation=HeldUniform(hold=(5, 40)),
    noise=OrnsteinUhlenbeck(correlation_steps=20.0, scale=0.3),
)
