"""Models of plants whose observation does not tell all: the state reaches into the past."""

from pathlib import Path

import numpy as np
import pytest

from koopman_control.common.arrays import Array
from koopman_control.features import PolynomialFeatures, SampledFeatures
from koopman_control.identification import EDMDc, LiftedModel, prediction_error
from koopman_control.trajectories import Trajectory

DT = 0.1


def oscillator(n_runs: int = 4, n_steps: int = 60) -> list[Trajectory]:
    """Runs of a linear oscillator with two inputs; only its position is observed."""
    rng, data = np.random.default_rng(0), []
    A = np.array([[0.99, 0.1], [-0.2, 0.95]])
    B = np.array([[0.01, 0.0], [0.1, -0.05]])
    for _ in range(n_runs):
        x, X, U = rng.normal(size=2), [], rng.uniform(-1, 1, (n_steps, 2))
        for u in U:
            X.append(x)
            x = A @ x + B @ u
        data.append(Trajectory(np.array([*X, x])[:, :1], U, dt=DT))
    return data


def pendulum(n_runs: int = 20, n_steps: int = 100) -> list[Trajectory]:
    """Runs of a pendulum; only its angle is observed."""
    rng, data = np.random.default_rng(0), []
    for _ in range(n_runs):
        x, X, U = rng.uniform([-3, -4], [3, 4]), [], rng.uniform(-1, 1, (n_steps, 1))
        for u in U:
            X.append(x)
            speed = x[1] + DT * (-4.0 * np.sin(x[0]) - 0.1 * x[1] + 2.0 * u[0])
            x = np.array([x[0] + DT * speed, speed])
        angle = np.array([*X, x])[:, 0]
        data.append(Trajectory(np.stack([np.cos(angle), np.sin(angle)], axis=1), U, dt=DT))
    return data


def last_state(model: LiftedModel, run: Trajectory, at: int) -> Array:
    return model.state(run.observations[: at + 1], run.actions[:at])


@pytest.mark.parametrize("rollout", ["linear", "relifted"])
def test_a_linear_plant_seen_through_one_output_is_recovered_exactly(rollout: str) -> None:
    *seen, unseen = oscillator()
    fit = EDMDc(PolynomialFeatures(1), regularization=0.0, memory=1).fit(seen)
    model = fit.model_
    assert model.state_names == ("y0", "y0 step[-1]", "u0[-1]", "u1[-1]")
    predicted = model.predict(last_state(model, unseen, 5), unseen.actions[5:], rollout)  # type: ignore[arg-type]
    np.testing.assert_allclose(predicted[:, 0], unseen.observations[6:, 0], atol=1e-9)
    steps = np.diff(unseen.observations[5:, 0])
    np.testing.assert_allclose(predicted[:, 1], steps, atol=1e-9)
    np.testing.assert_allclose(predicted[:, 2:], unseen.actions[5:], atol=1e-9)
    blind = EDMDc(PolynomialFeatures(1), regularization=0.0).fit(seen).model_
    assert prediction_error(blind, unseen, 20)[-1] > 0.1
    assert prediction_error(model, unseen, 20)[-1] < 1e-9


def test_the_state_is_the_end_of_what_the_run_gives() -> None:
    data = oscillator()
    model = EDMDc(PolynomialFeatures(1), memory=3).fit(data).model_
    X = model.coordinates.along(data[0].observations, data[0].actions)
    np.testing.assert_array_equal(last_state(model, data[0], 20), X[20 - 3])
    np.testing.assert_array_equal(
        model.state(data[0].observations[17:21], data[0].actions[17:20]), X[20 - 3]
    )


@pytest.mark.parametrize("coupling", ["linear", "bilinear"])
def test_a_pendulum_without_speed_is_predicted_around_the_circle(coupling: str) -> None:
    *seen, unseen = pendulum()
    fit = EDMDc(
        SampledFeatures(60, random_state=0),
        coupling=coupling,  # type: ignore[arg-type]
        angles=[(0, 1)],
        memory=1,
        horizon=10,
        n_folds=2,
    ).fit(seen)
    assert fit.score(unseen) > -1e-3
    model = fit.model_
    x0, U = last_state(model, unseen, 4), unseen.actions[4:12]
    Y, Gamma = model.linearize(x0, U)
    step = 1e-5 * np.random.default_rng(1).normal(size=U.shape)
    ahead, behind = model.predict(x0, U + step), model.predict(x0, U - step)
    np.testing.assert_allclose(
        (ahead - behind).ravel() / 2, Gamma @ step.ravel(), atol=1e-8 * np.abs(Y).max()
    )


def test_no_state_reaches_across_runs_and_short_runs_are_left_out() -> None:
    data = oscillator(n_runs=3, n_steps=40)
    short = Trajectory(np.full((3, 1), 1e6), np.ones((2, 2)), dt=DT)
    model = EDMDc(PolynomialFeatures(1), memory=2, regularization=1e-10).fit([*data, short]).model_
    assert model.summary["n_samples"] == 3 * (40 - 2)
    assert np.abs(model.signals.center).max() < 10.0
    with pytest.raises(ValueError, match="no trajectory in data is longer than 2 steps"):
        EDMDc(memory=2).fit([short])


def test_a_saved_model_keeps_its_memory(tmp_path: Path) -> None:
    data = oscillator()
    model = EDMDc(PolynomialFeatures(2), memory=2).fit(data).model_
    model.save(tmp_path / "model.npz")
    loaded = LiftedModel.load(tmp_path / "model.npz")
    assert loaded.coordinates == model.coordinates
    np.testing.assert_array_equal(last_state(loaded, data[0], 9), last_state(model, data[0], 9))


def test_a_missing_or_short_history_is_refused() -> None:
    data = oscillator()
    model = EDMDc(PolynomialFeatures(1), memory=2).fit(data).model_
    y, u = data[0].observations, data[0].actions
    for observation, actions in [(y[0], None), (y[:3], None), (y[:2], u[:1]), (y[:3], u[:3])]:
        with pytest.raises(ValueError, match="memory of 2: at least 3 observations"):
            model.state(observation, actions)
    with pytest.raises(ValueError, match="memory is -1"):
        EDMDc(memory=-1).fit(data)
