"""Free runs: their start, and what is said where they fail."""

from typing import Any

import numpy as np
import pytest

import koopman_control as kc


def oscillator(steps: int = 120, seed: int = 0) -> Any:
    rng = np.random.default_rng(seed)
    u, y = rng.normal(size=steps), np.zeros(steps + 1)
    for t in range(steps):
        y[t + 1] = 1.8 * y[t] - 0.9 * (y[t - 1] if t else 0.0) + 0.1 * u[t]
    return u, y


@pytest.fixture
def model() -> Any:
    u, y = oscillator()
    fit = kc.EDMDc(kc.PolynomialFeatures(1), memory=1, regularization=0.0, n_folds=0)
    return fit.fit(kc.Trajectory(y, u, dt=0.1)).model_


def test_a_free_run_of_an_exact_model_meets_the_log(model: Any) -> None:
    u, y = oscillator(seed=1)
    found = model.simulate(u, y[:2])
    np.testing.assert_allclose(found.outputs[:, 0], y, atol=1e-8)
    assert (found.first, found.diverged) == (2, None)


def test_the_start_is_the_least_squares_estimate(model: Any) -> None:
    u, y = oscillator(seed=1)
    noisy = y + 0.05 * np.random.default_rng(2).normal(size=len(y))
    errors = [
        np.sqrt(np.mean((model.simulate(u, noisy[:rows]).outputs[40:, 0] - y[40:]) ** 2))
        for rows in (2, 40)
    ]
    assert errors[1] < 0.3 * errors[0]


def test_the_least_squares_start_is_that_of_the_normal_equations(model: Any) -> None:
    u, y = oscillator(40, seed=3)
    noisy = y + 0.05 * np.random.default_rng(4).normal(size=len(y))
    found = model.simulate(u, noisy[:21]).start
    x0 = model.state(noisy[:2, None], u[:1, None])
    free = model.rolled_out(x0[None], u[None, 1:20, None], "relifted")[0, :, 0]
    nudged = [x0 + step * np.eye(len(x0))[i] for i in range(2) for step in (1.0,)]
    D = np.column_stack(
        [model.rolled_out(x[None], u[None, 1:20, None], "relifted")[0, :, 0] - free for x in nudged]
    )
    weigh = np.array([[1.0, 0.0], [1.0, -1.0]])  # y[t] and y[t - 1] from y[t] and its last step
    rows = np.vstack([D, weigh])
    step = np.linalg.lstsq(rows, np.concatenate([noisy[2:21] - free, np.zeros(2)]), rcond=None)[0]
    np.testing.assert_allclose(found[:2], x0[:2] + step, atol=1e-7)


def test_a_divergence_is_told_in_words_and_nothing_warns() -> None:
    wild = kc.LiftedModel.from_arrays([[1.5]], [[1.0]], state_names=["speed"])
    found = wild.simulate(np.ones(200), [0.0])
    assert found.diverged == 16
    assert "diverges at row 16 in speed" in found.verdict
    assert np.isnan(found.outputs[found.diverged :]).all()
    assert np.isfinite(found.outputs[: found.diverged]).all()


def test_leaving_the_data_is_told(model: Any) -> None:
    found = model.simulate(50.0 * np.ones(100), [0.0, 0.0])
    assert found.left_data is not None
    assert f"leaves the training data at row {found.left_data}" in found.verdict


def test_too_short_a_start_is_refused(model: Any) -> None:
    with pytest.raises(ValueError, match="first_outputs has 1 rows; expected at least 2"):
        model.simulate(np.zeros(10), [0.0])
    with pytest.raises(ValueError, match="actions has 1 rows"):
        model.simulate(np.zeros(1), [0.0, 0.0, 0.0])


def test_a_model_with_a_memory_reports(model: Any) -> None:
    u, y = oscillator(seed=5)
    text = str(model.report(kc.Trajectory(y, u, dt=0.1)))
    assert "y0" in text


def test_a_model_prints_in_a_line(model: Any) -> None:
    assert repr(model).count("\n") == 0
    assert "memory 1" in repr(model)
