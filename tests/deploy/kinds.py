"""Controllers of every kind that has C code, on one plant: a pendulum driven by two inputs."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from functools import cache, partial
from typing import Any

import numpy as np

from koopman_control import EDMDc, KalmanObserver, KoopmanMPC, OffsetFree, Trajectory
from koopman_control.common.arrays import Array
from koopman_control.features import (
    FeatureChain,
    FeatureMap,
    FeatureUnion,
    FourierFeatures,
    PolynomialFeatures,
    RadialFeatures,
    SampledFeatures,
)
from koopman_control.identification import LiftedModel, reduced
from koopman_control.mpc import Blocks, Bounds, Cost, Inputs, Knots, Observed, Search

Angles = str  # "none", "pair" or "single"


def advanced(x: Array, u: Array) -> Array:
    """Advance angle, speed and level by a step."""
    angle, speed, level = x
    speed = speed + 0.1 * (np.sin(angle) - 0.3 * speed + 2.0 * u[0] + 0.2 * level)
    return np.array([angle + 0.1 * speed, speed, 0.9 * level + 0.3 * u[1]])


def seen(x: Array, angles: Angles) -> Array:
    """What is observed of a state: the level, then the angle in one of three ways, the speed."""
    angle = [np.cos(x[0]), np.sin(x[0])] if angles == "pair" else [x[0]]
    return np.array([x[2], *angle, x[1]])


@cache
def data(angles: Angles) -> tuple[Trajectory, ...]:
    rng, runs = np.random.default_rng(0), []
    for _ in range(8):
        x, U, rows = rng.normal(size=3), rng.uniform(-1.0, 1.0, (40, 2)), []
        for u in U:
            rows.append(seen(x, angles))
            x = advanced(x, u)
        rows.append(seen(x, angles))
        bounds = np.array([[-1.0, -1.0], [1.0, 1.0]])
        runs.append(Trajectory(np.array(rows), U, dt=0.1, action_bounds=bounds))
    return tuple(runs)


ANGLES: dict[str, Any] = {"none": (), "pair": [(1, 2)], "single": [1]}
FEATURES: dict[str, Callable[[], FeatureMap]] = {
    "tanh": lambda: SampledFeatures(12, random_state=0),
    "relu": lambda: SampledFeatures(12, activation="relu", random_state=0),
    "sine": lambda: SampledFeatures(12, activation="sine", steepness=0.3, random_state=0),
    "softplus": lambda: SampledFeatures(12, activation="softplus", random_state=0),
    "deep": lambda: SampledFeatures(9, n_layers=3, random_state=0),
    "fourier": lambda: FourierFeatures(11, length_scale=2.0, random_state=0),
    "polynomial": lambda: PolynomialFeatures(3),
    "first degree": lambda: PolynomialFeatures(1),
    "thin plate": lambda: RadialFeatures(10, random_state=0),
    "gaussian": lambda: RadialFeatures(10, kernel="gaussian", random_state=0),
    "union": lambda: FeatureUnion(
        [SampledFeatures(7, random_state=0), PolynomialFeatures(2), RadialFeatures(5)]
    ),
    "chain": lambda: FeatureChain(
        [FourierFeatures(6, random_state=0), SampledFeatures(9, random_state=0)]
    ),
}


@cache
def model(features: str = "tanh", angles: Angles = "none", memory: int = 0) -> LiftedModel:
    fit = EDMDc(
        FEATURES[features](),
        regularization=1e-6,
        rollout="linear",
        angles=ANGLES[angles],
        memory=memory,
        n_folds=0,
    )
    return fit.fit(list(data(angles))).model_


@cache
def unstable() -> LiftedModel:
    """A fast unstable mode, so that the roll-out is prestabilised."""
    rng, runs = np.random.default_rng(1), []
    for _ in range(20):
        x, U, rows = 0.3 * rng.normal(size=2), rng.uniform(-1.0, 1.0, (6, 1)), []
        for u in U:
            rows.append(x)
            x = np.array([1.6 * x[0] + 0.4 * x[1] + 0.5 * u[0], 0.7 * x[1] + 0.1 * u[0]])
        rows.append(x)
        runs.append(Trajectory(np.array(rows), U, dt=0.1, action_bounds=np.array([[-1.0], [1.0]])))
    fit = EDMDc(PolynomialFeatures(1), regularization=1e-10, rollout="linear", n_folds=0)
    return fit.fit(runs).model_


def controller(own: LiftedModel, **settings: Any) -> KoopmanMPC:
    usual = dict(cost=Cost(S=0.05), bounds=Bounds(rates=0.6), R=0.02)
    return KoopmanMPC(own, settings.pop("horizon", 8), **{**usual, **settings})


def featured(name: str) -> KoopmanMPC:
    return controller(model(name))


def bounded(angles: Angles = "none", soft: bool = True, **settings: Any) -> KoopmanMPC:
    """With narrow bounds of the level and the speed."""
    low, high = [-0.4, -np.inf, -1.0], [0.4, np.inf, 1.0]
    bounds = Bounds(rates=0.4, soft=soft, slack_weight=(5.0, 2.0), tighten=False)
    return controller(model(angles=angles), output_bounds=(low, high), bounds=bounds, **settings)


def moving_target(y: Array) -> Array | None:
    """Nothing at all far away, else a target that depends on what is observed."""
    return None if y[0] > 1.2 else np.array([0.5 * np.sign(y[0]), 0.1, -0.2])


def with_parameters() -> KoopmanMPC:
    """Parameters in bounds of single inputs, in rows and in the cost."""
    return (
        controller(model(), horizon=6)
        .constrain(lambda y, u, p: [u[:, 0] <= p.top, u[:, 0] >= -p.top], top=0.7)
        .constrain(lambda y, u, p: [u[:, 0] + u[:, 1] <= p.both], both=np.full(6, 0.9))
        .constrain(lambda y, u, p: [y[:, 0] <= p.ceiling + 2.0], ceiling=0.3)
        .penalize(lambda y, u, p: p.price @ u[:, 1], price=np.linspace(0.1, 0.2, 6))
    )


@cache
def bilinear(features: str = "tanh", angles: Angles = "none", memory: int = 0) -> LiftedModel:
    fit = EDMDc(
        FEATURES[features](),
        coupling="bilinear",
        regularization=1e-6,
        angles=ANGLES[angles],
        memory=memory,
        n_folds=0,
    )
    return fit.fit(list(data(angles))).model_


@cache
def stopping() -> LiftedModel:
    """A pendulum with one input, whose speed stops at a limit."""
    rng, runs = np.random.default_rng(2), []
    for _ in range(8):
        x, U, rows = rng.normal(size=2), rng.uniform(-1.0, 1.0, (40, 1)), []
        for u in U:
            rows.append([np.cos(x[0]), np.sin(x[0]), x[1]])
            speed = np.clip(x[1] + 0.3 * np.sin(x[0]) + (0.4 + 0.2 * np.cos(x[0])) * u[0], -1, 1)
            x = np.array([x[0] + 0.1 * speed, speed])
        rows.append([np.cos(x[0]), np.sin(x[0]), x[1]])
        limits = np.array([[-1.0, -1.0, -1.0], [1.0, 1.0, 1.0]])
        box = np.array([[-1.0], [1.0]])
        runs.append(
            Trajectory(np.array(rows), U, dt=0.1, action_bounds=box, observation_bounds=limits)
        )
    fit = EDMDc(
        FEATURES["tanh"](), coupling="bilinear", regularization=1e-6, angles=[(0, 1)], n_folds=0
    )
    return fit.fit(runs).model_


@cache
def cornered() -> LiftedModel:
    """Two carts with a motor each that pull each other; both speeds stop at limits."""
    rng, runs = np.random.default_rng(3), []
    for _ in range(12):
        x, U, rows = 0.3 * rng.normal(size=3), rng.uniform(-1.0, 1.0, (40, 2)), []
        for u in U:
            rows.append(x)
            pull = 0.2 * np.sin(3.0 * x[0])
            change = [0.5 * u[0] + 0.2 * x[1] * u[1] - pull, (0.4 + 0.1 * x[0]) * u[1] + pull]
            speeds = np.clip(x[1:] + change, -1.0, 1.0)
            x = np.array([x[0] + 0.2 * (x[1] - x[2]), *speeds])
        rows.append(x)
        box, limits = np.array([[-1.0] * 2, [1.0] * 2]), [[-np.inf, -1.0, -1.0], [np.inf, 1.0, 1.0]]
        runs.append(
            Trajectory(
                np.array(rows),
                U,
                dt=0.1,
                action_bounds=box,
                observation_bounds=np.array(limits),
            )
        )
    fit = EDMDc(FEATURES["tanh"](), coupling="bilinear", regularization=1e-6, n_folds=0)
    return fit.fit(runs).model_


@cache
def by_lifted_inputs(angles: Angles = "none") -> LiftedModel:
    """Inputs enter by their squares and products, too."""
    fit = EDMDc(
        FEATURES["tanh"](),
        coupling="bilinear",
        regularization=1e-6,
        angles=ANGLES[angles],
        input_features=PolynomialFeatures(2),
        n_folds=0,
    )
    return fit.fit(list(data(angles))).model_


def noisy(own: LiftedModel) -> LiftedModel:
    """The same model, which knows that what it was fitted to was noisy."""
    noise = np.stack([np.full(own.coordinates.n_outputs, size) for size in (0.02, 0.01)])
    return replace(own, signals=replace(own.signals, noise=noise))


def relifted(own: LiftedModel, **settings: Any) -> KoopmanMPC:
    return controller(own, rollout="relifted", **settings)


def narrow(soft: bool = True, **settings: Any) -> KoopmanMPC:
    """With narrow bounds of the level and the speed, re-lifted."""
    low, high = [-0.4, -np.inf, -1.0], [0.4, np.inf, 1.0]
    bounds = Bounds(rates=0.4, soft=soft, slack_weight=(5.0, 2.0), tighten=False)
    return relifted(bilinear(), output_bounds=(low, high), bounds=bounds, **settings)


def with_limits() -> KoopmanMPC:
    """Re-lifted, with parameters in bounds and in the cost."""
    return (
        relifted(bilinear(), horizon=6)
        .constrain(lambda y, u, p: [u[:, 0] <= p.top, y[:, 0] <= p.ceiling], top=0.7, ceiling=0.5)
        .penalize(lambda y, u, p: p.price @ u[:, 1], price=np.linspace(0.1, 0.2, 6))
    )


RELIFTED: dict[str, Callable[[], KoopmanMPC]] = {
    "re-lifted": lambda: relifted(bilinear()),
    "re-lifted, bounds": narrow,
    "re-lifted, hard bounds": lambda: narrow(soft=False),
    "re-lifted, angle": lambda: relifted(bilinear(angles="pair"), reference=[0.0, 3.0, 0.0]),
    "re-lifted, guesses": lambda: relifted(
        bilinear(angles="pair"), search=Search(guesses=3, first_guesses=12, seed=4)
    ),
    "re-lifted, polynomial": lambda: relifted(bilinear("polynomial")),
    "re-lifted, Fourier": lambda: relifted(bilinear("fourier")),
    "re-lifted, softplus": lambda: relifted(bilinear("softplus")),
    "re-lifted, sine": lambda: relifted(bilinear("sine")),
    "re-lifted, relu": lambda: relifted(bilinear("relu")),
    "re-lifted, knots": lambda: narrow(inputs=Inputs(parametrization=Knots(4))),
    "re-lifted, delay": lambda: relifted(bilinear(), inputs=Inputs(delay=2)),
    "re-lifted, measured input": lambda: relifted(bilinear(), inputs=Inputs(measured=[0])),
    "re-lifted, memory": lambda: relifted(bilinear(memory=1)),
    "re-lifted, cost to come": lambda: relifted(
        bilinear(), cost=Cost(S=0.1, terminal="riccati"), search=Search(iterations=3)
    ),
    "re-lifted, function": lambda: relifted(bilinear(), reference=moving_target),
    "re-lifted, trajectory": lambda: relifted(bilinear(), reference=trajectory()),
    "re-lifted, parameters": with_limits,
    "re-lifted, linear model": lambda: relifted(model()),
    "re-lifted, stops": lambda: relifted(stopping(), horizon=15, reference=[0.0, 0.0]),
    "re-lifted, two inputs and stops": lambda: relifted(
        cornered(), horizon=12, reference=[1.5, 0.0, 0.0], cost=Cost(S=0.01), bounds=Bounds()
    ),
    "re-lifted, lifted inputs": lambda: relifted(
        by_lifted_inputs("pair"), inputs=Inputs(measured=[1]), reference=[0.0, 3.0, 0.0]
    ),
    "re-lifted, Kalman": lambda: relifted(bilinear(memory=1), estimator=KalmanObserver(0.05)),
    "re-lifted, Kalman, delay": lambda: relifted(
        bilinear(angles="single"), inputs=Inputs(delay=2), estimator=KalmanObserver(0.05)
    ),
    "re-lifted, offset-free": lambda: narrow(
        estimator=OffsetFree(0.05), search=Search(guesses=2), reference=[0.2, 0.1, 0.0]
    ),
    "re-lifted, known noise": lambda: relifted(noisy(bilinear(angles="pair"))),
    "known noise": lambda: controller(noisy(model(angles="pair"))),
    "known noise, lifted inputs": lambda: relifted(noisy(by_lifted_inputs())),
    "known noise, stops": lambda: relifted(noisy(stopping()), reference=[0.0, 0.0]),
}

BILINEAR: dict[str, Callable[[], KoopmanMPC]] = {
    "bilinear": lambda: unlifted(bilinear()),
    "bilinear, bounds": lambda: unlifted(
        bilinear(),
        output_bounds=([-0.4, -np.inf, -1.0], [0.4, np.inf, 1.0]),
        bounds=Bounds(rates=0.4, soft=False),
    ),
    "bilinear, guesses": lambda: unlifted(
        bilinear(angles="pair"), search=Search(guesses=3, first_guesses=12, seed=4)
    ),
    "bilinear, measured input, delay": lambda: unlifted(
        bilinear(), inputs=Inputs(measured=[0], delay=2)
    ),
    "bilinear, lifted inputs": lambda: unlifted(by_lifted_inputs()),
    "bilinear, offset-free": lambda: unlifted(bilinear(), estimator=OffsetFree(0.05)),
    "bilinear, knots, known noise": lambda: unlifted(
        noisy(bilinear()), inputs=Inputs(parametrization=Knots(4))
    ),
}


def unlifted(own: LiftedModel, **settings: Any) -> KoopmanMPC:
    return controller(own, rollout="bilinear", **settings)


def trajectory() -> Array:
    time = np.arange(40.0)
    return np.stack([np.sin(time / 5.0), 0.5 * np.cos(time / 7.0), 0.0 * time], axis=1)


KINDS: dict[str, Callable[[], KoopmanMPC]] = {
    **{f"{name} features": partial(featured, name) for name in FEATURES},
    "free": lambda: controller(model(), horizon=1),
    "soft bounds": bounded,
    "priced by units": lambda: controller(model(), output_bounds=([-0.3] * 3, [0.3] * 3)),
    "hard bounds": lambda: bounded(soft=False),
    "angle from a pair": lambda: controller(model(angles="pair"), reference=[0.0, 3.0, 0.0]),
    "angle in radians": lambda: bounded("single", reference=[0.3, -3.0, 0.0]),
    "memory": lambda: controller(model(memory=2)),
    "memory of angles": lambda: controller(model(angles="single", memory=1)),
    "Kalman": lambda: controller(model(), estimator=KalmanObserver(0.05)),
    "Kalman, angles, memory": lambda: controller(
        model(angles="pair", memory=1), estimator=KalmanObserver(0.05)
    ),
    "offset-free": lambda: bounded(estimator=OffsetFree(0.05), reference=[0.3, 0.0, 0.0]),
    "measured input": lambda: bounded(inputs=Inputs(measured=[0])),
    "measured input, delay, Kalman": lambda: bounded(
        inputs=Inputs(measured=[1], delay=2, safe=0.2), estimator=KalmanObserver(0.1)
    ),
    "delay": lambda: bounded(inputs=Inputs(delay=3)),
    "knots": lambda: bounded(inputs=Inputs(parametrization=Knots(4))),
    "blocks": lambda: bounded("pair", inputs=Inputs(parametrization=Blocks([1, 2]))),
    "trajectory": lambda: controller(model(), reference=trajectory()),
    "trajectories of both": lambda: controller(
        model(angles="single"),
        reference=trajectory(),
        cost=Cost(input_reference=0.3 * trajectory()[:, :2]),
    ),
    "function as target": lambda: bounded(reference=moving_target),
    "functions as targets": lambda: controller(
        model(angles="pair"),
        reference=lambda y: [y[0], 0.0, 0.0],
        cost=Cost(input_reference=lambda y: [0.1 * y[0], 0.0]),
    ),
    "observed target": lambda: bounded(
        reference=Observed([0, None, 2], [0.0, 0.1, 0.2], 0.5), estimator=KalmanObserver(0.1)
    ),
    "re-lifted, observed targets": lambda: relifted(
        bilinear(),
        reference=Observed([0, None, 2], gain=0.5),
        cost=Cost(input_reference=Observed([1, None], 0.1)),
    ),
    "parameters": with_parameters,
    "terminal set": lambda: controller(
        model("first degree"),
        cost=Cost(S=0.0, terminal="riccati"),
        bounds=Bounds(terminal_set=(np.eye(3), np.full(3, 0.8)), soft=False),
    ),
    "polytope": lambda: controller(
        model(), bounds=Bounds(polytope=([[1.0, 0.0, 0.5]], [[0.3, 0.0]], [0.4]))
    ),
    "linear prices": lambda: controller(
        model(), cost=Cost(S=0.1, linear_input=[0.1, -0.2], linear_output=0.05)
    ),
    "unstable": lambda: controller(unstable(), horizon=20, output_bounds=([-2.0] * 2, [2.0] * 2)),
    "unstable, hard bounds": lambda: controller(
        unstable(),
        horizon=20,
        output_bounds=([-2.0] * 2, [2.0] * 2),
        bounds=Bounds(soft=False, rates=0.5),
        estimator=KalmanObserver(0.05),
    ),
    **RELIFTED,
    **BILINEAR,
    "reduced": lambda: controller(reduced(model("tanh", "pair"), 8).model),
}
