"""Dead time of plants of which only a part of the state is logged.

After equinor/TimeSeriesAnalysis #27 and #28: with only the position known, the wrong delay wins.
"""

import warnings

import numpy as np
import pytest

from koopman_control import (
    EDMDc,
    PolynomialFeatures,
    Trajectory,
    estimate_input_delay,
    with_input_delay,
)
from koopman_control.identification import prediction_error

PLANTS = {
    "first order": ((0.9,), (0.5,)),
    "oscillator": ((1.5, -0.7), (0.3, 0.2)),
    "damped double integrator": ((1.9, -0.905), (0.05, 0.045)),
    "non-minimum phase": ((1.2, -0.4), (-0.2, 0.5)),
    "mass, position only": ((1.98, -0.9801), (0.005, 0.005)),
    "third order": ((2.6, -2.29, 0.685), (0.01, 0.03, 0.005)),
}


def logged(
    plant: str, dead: int, hold: int, *, noise: float = 0.0, unit: float = 1.0, seed: int = 7
) -> list[Trajectory]:
    """Simulate y_t+1 = a_1 y_t + ... + b_1 u_t-dead + ..., of which y and u are logged."""
    rng, (a, b), n = np.random.default_rng(seed), PLANTS[plant], 300
    runs = []
    for _ in range(6):
        u = np.repeat(rng.uniform(-1.0, 1.0, n // hold + 1), hold)[:n]
        sent, y = np.append(np.zeros(dead + len(b)), u), np.zeros(n + len(a))
        for t in range(n):
            y[t + len(a)] = np.dot(a, y[t : t + len(a)][::-1])
            y[t + len(a)] += np.dot(b, sent[t + 1 : t + 1 + len(b)][::-1])
        y = y[len(a) - 1 :] + noise * np.std(np.diff(y)) * rng.normal(size=n + 1)
        runs.append(Trajectory(unit * y[:, None], u[:, None], dt=1.0))
    return runs


@pytest.mark.parametrize("plant", PLANTS)
@pytest.mark.parametrize("dead", [0, 3])
@pytest.mark.parametrize("hold", [1, 5])
def test_the_delay_is_found_though_the_state_is_not_all_seen(
    plant: str, dead: int, hold: int
) -> None:
    data = logged(plant, dead, hold)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        estimate = estimate_input_delay(data)
    assert estimate.delays == (dead,)
    assert estimate.memory >= len(PLANTS[plant][0]) - 1


@pytest.mark.parametrize("plant", ["oscillator", "mass, position only", "non-minimum phase"])
@pytest.mark.parametrize("hold", [1, 5])
def test_it_is_found_under_noise_and_in_any_unit(plant: str, hold: int) -> None:
    for unit in (1.0, 2.0**-30):
        data = logged(plant, 3, hold, noise=0.05, unit=unit)
        assert estimate_input_delay(data).delays == (3,)


def test_taking_it_out_leaves_a_model_that_is_exact() -> None:
    data = logged("mass, position only", 3, 5)
    estimate = estimate_input_delay(data)
    runs = with_input_delay(data, estimate.delays)
    estimator = EDMDc(
        PolynomialFeatures(1), memory=estimate.memory, n_folds=0, regularization=0.0
    ).fit(runs[:5])
    assert np.max(prediction_error(estimator.model_, runs[5:], 10)) < 1e-10
    assert f"with a memory of {estimate.memory} samples" in str(estimate)


def test_inputs_have_delays_of_their_own() -> None:
    rng, n, y = np.random.default_rng(0), 400, np.zeros(402)
    u = rng.uniform(-1.0, 1.0, (n, 2))
    sent = np.vstack([np.zeros((5, 2)), u])
    for t in range(n):
        y[t + 2] = (
            1.8 * y[t + 1] - 0.85 * y[t] + 0.1 * sent[t + 5 - 4, 0] + 0.2 * sent[t + 5 - 1, 1]
        )
    estimate = estimate_input_delay(Trajectory(y[1:, None], u))
    assert estimate.delays == (4, 1)
    assert estimate.errors.shape == (2, 11)


def test_a_memory_can_be_given_or_refused() -> None:
    data = logged("mass, position only", 3, 5)
    assert estimate_input_delay(data, memory=2).memory == 2
    assert estimate_input_delay(data, memory=2).delays == (3,)
    assert estimate_input_delay(data, memory=0).delays != (3,)
    with pytest.raises(ValueError, match="max_delay is 10 with memory=300, but the longest"):
        estimate_input_delay(data, memory=300)
    with pytest.raises(ValueError, match="memory is -1"):
        estimate_input_delay(data, memory=-1)


def test_short_runs_limit_what_is_tried() -> None:
    long = logged("mass, position only", 0, 1)
    short = [Trajectory(run.observations[:13], run.actions[:12], dt=1.0) for run in long]
    assert estimate_input_delay([*long, *short], 10).memory == 1  # 2 would lose the short ones
