"""A sampled RNN as a model: it predicts what the network forecasts, and a controller plans so."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from koopman_control import KoopmanMPC, LiftedModel, SampledFeatures, SampledRNN, Trajectory
from koopman_control.mpc import KalmanObserver

BOX = [[-1.0], [1.0]]


def runs() -> list[Trajectory]:
    """A plant that is not affine in its input."""
    rng, made = np.random.default_rng(0), []
    for _ in range(4):
        U, X = rng.uniform(-1.0, 1.0, (80, 1)), [rng.normal(size=2)]
        for (u,) in U:
            x, v = X[-1]
            X.append(np.array([x + 0.1 * v, 0.9 * v - 0.1 * np.sin(x) + 0.1 * np.tanh(2.0 * u)]))
        made.append(Trajectory(np.array(X), U, dt=0.1))
    return made


def network(**settings: Any) -> SampledRNN:
    features = SampledFeatures(30, random_state=0)
    return SampledRNN(features, horizon=10, n_folds=2, **settings).fit(runs())


@pytest.mark.parametrize("memory", [0, 1, 3])
def test_the_model_predicts_what_the_network_forecasts(memory: int) -> None:
    rnn, run = network(memory=memory), runs()[0]
    model = rnn.model(action_bounds=BOX)
    past, ahead = memory + 4, 12
    x = model.coordinates.along(run.observations[: past + 1], run.actions[:past])[-1]
    U = run.actions[past : past + ahead]
    given = model.predict(x, U)[:, :2]
    inputs = run.actions[: past + ahead]
    expected = rnn.forecast(run.observations[: past + 1], ahead, inputs=inputs)
    np.testing.assert_allclose(given, expected, atol=1e-12)


@pytest.mark.parametrize("memory", [0, 2])
def test_derivatives_are_those_of_the_prediction(memory: int) -> None:
    model = network(memory=memory, n_draws=2).model()
    rng = np.random.default_rng(0)
    x, U = 0.3 * rng.normal(size=model.n_states), rng.uniform(-1.0, 1.0, (6, 1))
    Gamma = model.linearize(x, U)[1]
    steps = 1e-6 * np.eye(6)[:, :, None]
    ends = [model.predict(x, U + step) - model.predict(x, U - step) for step in steps]
    np.testing.assert_allclose(Gamma, np.stack([e.ravel() for e in ends], 1) / 2e-6, atol=1e-7)
    F, _ = (J[0] for J in model.one_step.jacobians(x[None], U[:1]))
    moved = 1e-6 * np.eye(len(x))
    ends = [model.predict(x + e, U[:1])[0] - model.predict(x - e, U[:1])[0] for e in moved]
    np.testing.assert_allclose(F, np.stack(ends, 1) / 2e-6, atol=1e-7)


def test_matrices_are_the_networks_at_the_mean() -> None:
    model = network().model()
    center, U = model.signals.center, np.full((1, 1), model.joint.center[2:])  # type: ignore[union-attr]
    np.testing.assert_allclose(
        model.predict(center, U, "linear"), model.predict(center, U, "relifted"), atol=1e-12
    )


def test_a_controller_plans_with_it_and_both_are_saved(tmp_path: Path) -> None:
    model = network(memory=1).model(dt=0.1, action_bounds=BOX)
    mpc = KoopmanMPC(model, 25, [1.0, 0.1], 0.01, rollout="relifted", reference=[0.2, 0.0])
    mpc.save(tmp_path / "controller.npz")
    model.save(tmp_path / "model.npz")
    again = LiftedModel.load(tmp_path / "model.npz")
    np.testing.assert_array_equal(
        again.predict(np.ones(5), np.ones((4, 1))), model.predict(np.ones(5), np.ones((4, 1)))
    )
    loaded = KoopmanMPC.load(tmp_path / "controller.npz")
    x, v = 0.0, 0.0
    for controller in (mpc, loaded):
        controller.reset()
    for _ in range(100):
        u = mpc.act([x, v])
        np.testing.assert_array_equal(loaded.act([x, v]), u)
        x, v = x + 0.1 * v, 0.9 * v - 0.1 * np.sin(x) + 0.1 * np.tanh(2.0 * u[0])
    assert x == pytest.approx(0.2, abs=0.01)
    observer = KalmanObserver(0.01)
    KoopmanMPC(model, 10, rollout="relifted", estimator=observer).act([0.1, 0.0])


def test_networks_that_cannot_be_controlled_are_refused() -> None:
    with pytest.raises(ValueError, match="a recurrent layer, whose state no observation shows"):
        network(memory=4, n_recurrent=5).model()
    t = np.arange(100.0)
    rnn = SampledRNN(SampledFeatures(5, random_state=0), n_folds=2).fit(np.sin(t))
    with pytest.raises(ValueError, match="without inputs, so there is nothing to control"):
        rnn.model()
    with pytest.raises(ValueError, match="action_bounds has shape"):
        network().model(action_bounds=[[1.0, 2.0, 3.0]])
