"""Conditions as changes of a task: less data, noise, a delay, a plant off its parameters."""

from __future__ import annotations

from dataclasses import dataclass, replace

from koopman_control.benchmark.against_noise import AGAINST_NOISE
from koopman_control.benchmark.no_meaning import NoMeaning
from koopman_control.benchmark.one_step_late import OneStepLate
from koopman_control.benchmark.varied import varied, with_arguments
from koopman_control.benchmark.wrappers import Delay, Noise, Scaled
from koopman_control.tasks import Task

NOISE = 0.01
OURS = "koopman_envs/"

# Flags of contact, targets and the like stay exact, as the targets of our own environments do.
NOISY = {"LunarLanderContinuous-v3": tuple(range(6)), "Reacher-v5": (0, 1, 2, 3, 6, 7, 8, 9)}

# One parameter of each plant and the factor it changes by.
CHANGED: dict[str, tuple[str, float]] = {
    "koopman_envs/BilinearMotor-v0": ("load", 1.2),
    "koopman_envs/CartPoleSwingUp-v0": ("pole_mass", 1.2),
    "koopman_envs/CSTR-v0": ("transfer", 0.8),
    "koopman_envs/Duffing-v0": ("hardening", 1.2),
    "koopman_envs/KortewegDeVries-v0": ("dispersion", 1.2),
    "koopman_envs/Lorenz-v0": ("prandtl", 1.2),
    "koopman_envs/PlanarQuadrotor-v0": ("mass", 1.2),
    "koopman_envs/QuadrupleTank-v0": ("outlet_left", 1.2),
    "koopman_envs/TwoLinkArm-v0": ("mass_2", 1.2),
    "koopman_envs/VanDerPol-v0": ("damping", 1.2),
}
MASSES = ("model.body_mass", "model.body_inertia")
SCALED: dict[str, Scaled] = {
    "Pendulum-v1": Scaled(("m",), 1.2),
    "MountainCarContinuous-v0": Scaled(("power",), 0.8),
    "InvertedPendulum-v5": Scaled(MASSES, 1.2),
    "InvertedDoublePendulum-v5": Scaled(MASSES, 1.2),
    "Reacher-v5": Scaled(MASSES, 1.2),
    "Swimmer-v5": Scaled(MASSES, 1.2),
}
GRAVITY = {"LunarLanderContinuous-v3": -8.0}  # instead of -10; -12 is not allowed


@dataclass(frozen=True)
class Budget:
    """The task with another budget of environment steps."""

    factor: float

    def __call__(self, task: Task) -> Task:
        """Multiply the steps, those of the excitation and all."""
        return replace(
            task,
            n_steps=round(self.factor * task.n_steps),
            first_steps=round(self.factor * task.first_steps),
        )


def noisy(task: Task) -> Task:
    """Add noise of 1 % to what is observed, and do what helps against it."""
    if task.env_id.startswith(OURS):
        noisy = with_arguments(task, observation_noise=NOISE)
    else:
        noisy = varied(task, wrap=Noise(NOISE, NOISY.get(task.env_id)))
    return AGAINST_NOISE[task.env_id](noisy) if task.env_id in AGAINST_NOISE else noisy


def delayed(task: Task) -> Task:
    """Let actions act one step later; the fit moves them, and the plan begins where they act."""
    aware = {"estimator_class": OneStepLate, "mpc": {**task.mpc, "input_delay": 1}}
    if task.env_id.startswith(OURS):
        return varied(with_arguments(task, actuator_delay=1), **aware)
    return varied(task, wrap=Delay, **aware)


def changed(task: Task) -> Task:
    """Change one parameter of the plant by 20 %.

    Raises:
        NoMeaning: It is not known which.
    """
    if task.env_id in CHANGED:
        return with_arguments(task, mismatch=dict([CHANGED[task.env_id]]))
    if task.env_id in GRAVITY:
        return with_arguments(task, gravity=GRAVITY[task.env_id])
    if task.env_id in SCALED:
        return varied(task, wrap=SCALED[task.env_id])
    raise NoMeaning("none of its parameters is known")
