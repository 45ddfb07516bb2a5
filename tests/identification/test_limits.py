"""Plants that stop at a limit: samples there are censored, predictions stop as the plant does."""

import gymnasium
import numpy as np
import pytest

from koopman_control.common.arrays import Array
from koopman_control.features import PolynomialFeatures, SampledFeatures
from koopman_control.identification import EDMDc, LiftedModel, prediction_error
from koopman_control.identification.errors import scaled_errors, windows_of
from koopman_control.identification.snapshots import runs_of
from koopman_control.trajectories import Trajectory

FEW = SampledFeatures(3, random_state=0)
BOUNDS = np.array([[-np.inf, -1.0], [np.inf, 1.0]])
DT = 0.1


def cart(x: Array, u: Array) -> Array:
    """Push a cart whose speed is clipped at 1; its position moves with the clipped speed."""
    speed = np.clip(x[..., 1] + DT * (3.0 * u[..., 0] - 0.5 * x[..., 1]), -1.0, 1.0)
    return np.stack([x[..., 0] + DT * speed, speed], axis=-1)


def cart_run(seed: int, n_steps: int = 40, bounds: Array | None = BOUNDS) -> Trajectory:
    rng = np.random.default_rng(seed)
    U = np.repeat(rng.uniform(-1.0, 1.0, (n_steps // 4, 1)), 4, axis=0)
    X = [rng.uniform(-1.0, 1.0, 2)]
    for u in U:
        X.append(cart(X[-1], u))
    return Trajectory(np.array(X), U, observation_bounds=bounds)


def fitted(bounds: Array | None = BOUNDS) -> LiftedModel:
    data = [cart_run(seed, bounds=bounds) for seed in range(8)]
    return EDMDc(FEW, regularization=0.0).fit(data).model_


def test_free_samples_alone_recover_the_plant() -> None:
    model = fitted()
    assert model.summary["n_censored"] >= 20
    assert model.summary["n_samples"] + model.summary["n_censored"] == 320
    F, G = model.one_step.jacobians(np.zeros((1, 2)), np.zeros((1, 1)))
    np.testing.assert_allclose(F[0], [[1.0, DT * (1 - 0.05)], [0.0, 0.95]], atol=1e-10)
    np.testing.assert_allclose(G[0], [[0.3 * DT], [0.3]], atol=1e-10)


def test_the_state_that_stops_is_found() -> None:
    assert fitted().signals.saturating.tolist() == [False, True]
    assert fitted(bounds=None).signals.saturating.tolist() == [False, False]


def test_a_limit_on_a_driven_state_that_no_sample_reached_counts_as_a_stop() -> None:
    free = [cart_run(seed, n_steps=8, bounds=None) for seed in range(40)]
    slow = [t for t in free if np.abs(t.observations[:, 1]).max() < 1.0]
    assert len(slow) >= 10
    data = [Trajectory(t.observations, t.actions, observation_bounds=BOUNDS) for t in slow]
    model = EDMDc(FEW, regularization=0.0).fit(data).model_
    assert model.summary["n_censored"] == 0
    assert model.signals.saturating.tolist() == [False, True]
    x, u = np.array([[0.2, 0.9]]), np.array([[1.0]])
    np.testing.assert_allclose(model.one_step.step(x, u), cart(x, u), atol=1e-9)


def test_samples_on_a_limit_that_the_plant_only_touches_speak_against_a_stop() -> None:
    """A speed that its input brings to the limit exactly, and never wants to go beyond it."""
    rng = np.random.default_rng(2)
    data = []
    for _ in range(20):
        speed = rng.uniform(-0.9, 0.9, 6)
        speed[[2, 4]] = 1.0
        U = (np.diff(speed) / 0.3)[:, None]
        X = np.stack([np.append(0.0, DT * np.cumsum(speed[1:])), speed], axis=1)
        data.append(Trajectory(X, U, observation_bounds=BOUNDS))
    model = EDMDc(FEW, regularization=0.0).fit(data).model_
    assert model.summary["n_censored"] == 40
    assert model.signals.saturating.tolist() == [False, False]


def test_other_states_feel_the_stop() -> None:
    rng = np.random.default_rng(1)
    x, u = rng.uniform(-1.0, 1.0, (500, 2)), rng.uniform(-1.0, 1.0, (500, 1))
    truth = cart(x, u)
    assert (np.abs(truth[:, 1]) == 1.0).sum() > 20
    np.testing.assert_allclose(fitted().one_step.step(x, u), truth, atol=1e-9)


def test_whole_roll_outs_through_the_stop_are_exact() -> None:
    held_out = [cart_run(seed) for seed in range(90, 95)]
    assert prediction_error(fitted(), held_out, 40).max() < 1e-8
    assert prediction_error(fitted(bounds=None), held_out, 40).max() > 1e-2


def test_a_part_whose_samples_are_all_censored_is_no_trouble() -> None:
    stopped = Trajectory(
        np.array([[0.0, 1.0], [0.1, 1.0], [0.2, 1.0]]), np.ones((2, 1)), observation_bounds=BOUNDS
    )
    data = [*(cart_run(seed) for seed in range(4)), stopped]
    model = EDMDc(FEW, regularization=0.0).fit(data).model_
    np.testing.assert_allclose(
        model.one_step.step(np.zeros((1, 2)), np.ones((1, 1))), [[0.03, 0.3]]
    )


def test_a_roll_out_that_explodes_at_a_limit_counts_as_infinitely_wrong() -> None:
    model = fitted()
    explosive = EDMDc(FEW, regularization=0.0).fit([cart_run(s) for s in range(8)]).model_
    explosive.A[1] += 1e3 * np.random.default_rng(0).normal(size=model.n_lifted)
    explosive.A[2] *= -50.0
    windows = windows_of(runs_of([cart_run(9, n_steps=400)], model.coordinates), 400)
    for rollout in ("linear", "relifted"):
        errors = scaled_errors(explosive, windows, np.ones(2), rollout)
        assert np.isinf(errors[0, -1]).any()
        assert not np.isnan(errors[0]).any()


def pendulum(n_steps: int, seed: int) -> list[Trajectory]:
    """Drive Pendulum-v1 at random, each torque held for four steps."""
    env = gymnasium.make("Pendulum-v1")
    rng, data = np.random.default_rng(seed), []
    for start in range(0, n_steps, 200):
        U = np.repeat(rng.uniform(-2.0, 2.0, (50, 1)), 4, axis=0)[: n_steps - start]
        Y = [env.reset(seed=seed + start)[0]]
        Y.extend(env.step(u.astype(np.float32))[0] for u in U)
        bounds = np.stack([env.observation_space.low, env.observation_space.high])  # type: ignore[attr-defined]
        data.append(Trajectory(np.array(Y), U, observation_bounds=bounds))
    env.close()
    return data


@pytest.mark.parametrize("sampling", ["pairs", "uniform"])
def test_pendulum_is_predicted_fifty_steps_ahead_from_400_random_steps(sampling: str) -> None:
    features = SampledFeatures(60, sampling=sampling, random_state=0)  # type: ignore[arg-type]
    fit = EDMDc(features, coupling="bilinear", angles=[(0, 1)], horizon=50).fit(pendulum(400, 3))
    assert prediction_error(fit.model_, pendulum(1000, 77), 50).max() < 1e-2


def test_a_column_that_is_mostly_at_its_bound_is_no_stop() -> None:
    """A flag that is seldom raised, or a goal at the edge: else no sample would be left."""
    rng = np.random.default_rng(0)
    u, x = rng.uniform(-1.0, 1.0, (60, 1)), np.zeros((61, 2))
    for k in range(60):
        x[k + 1] = 0.8 * x[k, 0] + 0.1 * u[k, 0], float(k in (20, 21, 40))
    bounds = np.array([[-np.inf, 0.0], [np.inf, 1.0]])
    data = Trajectory(x, u, observation_bounds=bounds)
    model = EDMDc(PolynomialFeatures(1), regularization=0.0).fit(data).model_
    assert np.isinf(model.limits).all()
    after = model.one_step.step(np.array([[0.5, 0.0]]), np.array([[0.2]]))[0]
    np.testing.assert_allclose(after[0], 0.42)
