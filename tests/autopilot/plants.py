"""Small models and surfaces that plans are searched on."""

from functools import cache

import numpy as np

from koopman_control.autopilot.search import Objective
from koopman_control.autopilot.surface import Surface, fitted_surface
from koopman_control.common.arrays import Array
from koopman_control.features import FeatureUnion, PolynomialFeatures, SampledFeatures
from koopman_control.identification import EDMDc, LiftedModel
from koopman_control.trajectories import HeldUniform, Trajectory, collect

BOX = np.array([[-2.0], [2.0]])
ANYWHERE = np.tile([[-np.inf], [np.inf]], 2)


@cache
def pendulum_data() -> list[Trajectory]:
    return collect("Pendulum-v1", HeldUniform(hold=(4, 16)), n_steps=600, seed=3)


@cache
def pendulum() -> LiftedModel:
    """Angle and speed of Pendulum-v1."""
    features = SampledFeatures(22, steepness=0.25, random_state=0)
    settings = EDMDc(features, coupling="bilinear", angles=[(0, 1)], regularization=1e-8, n_folds=0)
    return settings.fit(pendulum_data()).model_


def some_surface(n_inputs: int, n_functions: int, seed: int, neurons: int = 9) -> Surface:
    """Functions with a bit of everything."""
    rng = np.random.default_rng(seed)
    P = np.triu(rng.normal(size=(n_functions, n_inputs, n_inputs)))
    return Surface(
        W=rng.normal(size=(neurons, n_inputs)),
        b=rng.normal(size=neurons),
        K=rng.normal(size=(n_functions, neurons)),
        linear=rng.normal(size=(n_functions, n_inputs)),
        quadratic=0.1 * P,
        constant=rng.normal(size=n_functions),
        low=np.full(n_functions, -40.0),
        high=np.full(n_functions, 40.0),
        r2=np.ones(n_functions),
    )


@cache
def with_products() -> LiftedModel:
    """The same with products of two feature inputs beside the neurons."""
    features = FeatureUnion(
        [SampledFeatures(22, steepness=0.25, random_state=0), PolynomialFeatures(2)]
    )
    settings = EDMDc(features, coupling="bilinear", angles=[(0, 1)], regularization=1e-8, n_folds=0)
    return settings.fit(pendulum_data()).model_


@cache
def swing_up() -> Objective:
    """Reward Pendulum-v1's own, learned from the data."""
    data, model = pendulum_data(), pendulum()
    X = np.concatenate([model.state(t.observations[:-1]) for t in data])
    U = np.concatenate([t.actions for t in data])
    r: Array = np.concatenate([t.rewards for t in data if t.rewards is not None])
    Z = np.hstack([model.signals.embedding(X), U])
    features = SampledFeatures(60, steepness=0.5, random_state=0)
    return Objective(fitted_surface(Z, r[:, None], [features]), False, None, ANYWHERE)
