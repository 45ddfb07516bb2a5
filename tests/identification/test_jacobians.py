"""Every analytic derivative against central differences."""

from collections.abc import Callable
from dataclasses import replace

import numpy as np
import pytest

from koopman_control.common.arrays import Array
from koopman_control.features import Coordinates, SampledFeatures
from koopman_control.identification import LiftedModel, Rollout, Signals, lifted, linear_response

H_FEATURES = 6


def random_model(n_inputs: int = 2, angles: bool = False, bilinear: bool = True) -> LiftedModel:
    """Make a random model of three states, of which the first may be an angle."""
    rng = np.random.default_rng(5)
    coordinates = Coordinates.of(4, angles=[(0, 1)]) if angles else Coordinates.of(3)
    n_e = len(coordinates.embedded)
    n = 1 + n_e + H_FEATURES + int(angles)
    A, N = np.eye(n), None
    A[:, : n - angles] += 0.1 * rng.normal(size=(n, n - angles))
    if bilinear:
        N = 0.1 * rng.normal(size=(n_inputs, n, n))
        N[:, :, n - angles :] = 0.0  # nothing depends on an angle but through cosine and sine
    return LiftedModel(
        A=A,
        B=0.3 * rng.normal(size=(n, n_inputs)),
        C=rng.normal(size=(3, n)) * 0.2 + read_out(n, angles),
        N=N,
        signals=Signals(
            coordinates=coordinates,
            center=rng.normal(size=n_e),
            scale=rng.uniform(0.5, 2.0, n_e),
            limits=np.tile([[-np.inf], [np.inf]], 3),
            saturating=np.zeros(3, dtype=bool),
        ),
        features=SampledFeatures(H_FEATURES, random_state=0).fit(rng.normal(size=(50, n_e))),
    )


def read_out(n: int, angles: bool) -> Array:
    C = np.zeros((3, n))
    C[[0, 1, 2], [n - 1, 3, 4] if angles else [1, 2, 3]] = 1.0
    return C


def differences(f: Callable[[Array], Array], at: Array, size: float = 4e-6) -> Array:
    """Differentiate f, which maps to vectors, at a vector by central differences."""
    steps = size * np.eye(len(at))
    return np.stack([(f(at + s) - f(at - s)) / (2 * size) for s in steps], axis=-1)


def assert_close(derivative: Array, measured: Array) -> None:
    np.testing.assert_allclose(
        derivative, measured, rtol=0, atol=1e-6 * max(np.abs(measured).max(), 1e-2)
    )


def assert_step_jacobians_match(model: LiftedModel, x: Array, u: Array) -> None:
    step_map = model.one_step
    F, G = step_map.jacobians(x, u)
    for s in range(len(x)):
        at_u, at_x = u[s][None], x[s][None]
        assert_close(F[s], differences(lambda v, at_u=at_u: step_map.step(v[None], at_u)[0], x[s]))  # type: ignore[misc]
        assert_close(G[s], differences(lambda v, at_x=at_x: step_map.step(at_x, v[None])[0], u[s]))  # type: ignore[misc]


@pytest.mark.parametrize("bilinear", [False, True])
@pytest.mark.parametrize("angles", [False, True])
def test_the_relifted_step(angles: bool, bilinear: bool) -> None:
    rng = np.random.default_rng(0)
    model = random_model(angles=angles, bilinear=bilinear)
    assert_step_jacobians_match(model, 2.0 * rng.normal(size=(20, 3)), rng.normal(size=(20, 2)))


def limited(model: LiftedModel, x: Array, u: Array, saturating: list[bool]) -> LiftedModel:
    """Put limits where about half of the given steps go beyond them."""
    free = model.one_step.step(x, u)
    low, high = np.quantile(free, [0.25, 0.75], axis=0)
    low[0], high[0] = -np.inf, np.inf
    return replace(
        model,
        signals=replace(
            model.signals, limits=np.stack([low, high]), saturating=np.array(saturating)
        ),
    )


@pytest.mark.parametrize("angles", [False, True])
@pytest.mark.parametrize(
    ("n_inputs", "saturating"),
    [
        (1, [False, False, False]),  # plain clipping
        (1, [False, True, False]),
        (2, [False, True, False]),  # the effective input is not unique: the smallest is meant
        (2, [False, True, True]),
        (3, [False, True, True]),
    ],
)
def test_the_relifted_step_at_limits(n_inputs: int, saturating: list[bool], angles: bool) -> None:
    rng = np.random.default_rng(1)
    x, u = 2.0 * rng.normal(size=(40, 3)), rng.normal(size=(40, n_inputs))
    model = limited(random_model(n_inputs, angles), x, u, saturating)
    x_next = model.one_step.step(x, u)
    on_limit = (np.abs(x_next - model.limits[0]) < 1e-9) | (np.abs(x_next - model.limits[1]) < 1e-9)
    assert on_limit[:, 1].sum() >= 10
    assert_step_jacobians_match(model, x, u)


def test_a_stop_is_felt_by_the_other_states_as_a_smaller_input() -> None:
    rng = np.random.default_rng(2)
    x, u = 2.0 * rng.normal(size=(40, 3)), rng.normal(size=(40, 1))
    free = random_model(n_inputs=1)
    model = limited(free, x, u, [False, True, False])
    model = replace(model, signals=replace(model.signals, limits=model.limits * [1.0, 1.0, np.inf]))
    drift, gain = free.affine_step.drift_and_gain(x)
    unlimited = x + drift + u * gain[:, 0]
    wanted = np.clip(unlimited[:, 1], *model.limits[:, 1])
    effective = u + ((wanted - unlimited[:, 1]) / gain[:, 0, 1])[:, None]
    np.testing.assert_allclose(
        model.one_step.step(x, u), x + drift + effective * gain[:, 0], atol=1e-9
    )


@pytest.mark.parametrize("angles", [False, True])
@pytest.mark.parametrize("rollout", ["linear", "bilinear", "relifted"])
def test_linearize_along_a_plan(rollout: Rollout, angles: bool) -> None:
    model = random_model(angles=angles, bilinear=rollout != "linear")
    rng = np.random.default_rng(3)
    x0, U = rng.normal(size=3), 0.3 * rng.normal(size=(7, 2))
    Y, Gamma = model.linearize(x0, U, rollout)
    np.testing.assert_array_equal(Y, model.predict(x0, U, rollout))
    measured = differences(
        lambda v: model.predict(x0, v.reshape(7, 2), rollout).ravel(), U.ravel(), 1e-6
    )
    assert_close(Gamma, measured)


def test_linearize_along_a_plan_that_hits_a_limit() -> None:
    rng = np.random.default_rng(8)
    x0, U = rng.normal(size=3), rng.normal(size=(7, 1))
    free = random_model(n_inputs=1, angles=True)
    highest = np.median(free.predict(x0, U)[:, 1]) - 1e-3  # at the limit itself is a kink
    limits = np.array([[-np.inf] * 3, [np.inf, highest, np.inf]])
    model = replace(
        free,
        signals=replace(free.signals, limits=limits, saturating=np.array([False, True, False])),
    )
    Y, Gamma = model.linearize(x0, U)
    assert (Y[:, 1] > highest - 1e-9).sum() >= 2
    assert_close(
        Gamma, differences(lambda v: model.predict(x0, v.reshape(7, 1)).ravel(), U.ravel())
    )


def test_the_linear_response_equals_the_linear_roll_out() -> None:
    model = random_model(bilinear=False)
    rng = np.random.default_rng(6)
    z0, U = rng.normal(size=model.n_lifted), rng.normal(size=(9, 2))
    Phi, Gamma = linear_response(model.A, model.B, model.C, 9)
    rolled_out = lifted(model.A, model.B, None, z0, U[None])[0] @ model.C.T
    np.testing.assert_allclose(Phi @ z0 + Gamma @ U.ravel(), rolled_out.ravel(), atol=1e-10)


def test_sequences_rolled_out_together_equal_each_alone() -> None:
    model = random_model(angles=True)
    rng = np.random.default_rng(7)
    X0, U = rng.normal(size=(4, 3)), 0.3 * rng.normal(size=(4, 6, 2))
    for rollout in ("bilinear", "relifted"):
        together = model.predict(X0, U, rollout)
        Gammas = model.sensitivities(X0, together, U, rollout)
        for s in range(4):
            Y, Gamma = model.linearize(X0[s], U[s], rollout)
            np.testing.assert_allclose(together[s], Y, atol=1e-12)
            np.testing.assert_allclose(Gammas[s].reshape(Gamma.shape), Gamma, atol=1e-12)
