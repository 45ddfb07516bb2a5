"""The yardstick of forecasters: how long forecasts of Lorenz's system stay close."""

from typing import Any

import numpy as np
import pytest
from scipy.integrate import solve_ivp

from koopman_control.common import Array
from koopman_control.evaluation import valid_prediction_time
from koopman_control.features import SampledFeatures
from koopman_control.forecasting import SampledRNN

DT, LYAPUNOV_EXPONENT = 0.01, 0.91


def lorenz(n_steps: int, seed: int) -> Array:
    """Simulate on the attractor with a relative accuracy of 1e-10."""

    def rates(_: float, x: Array) -> list[float]:
        return [10 * (x[1] - x[0]), x[0] * (28 - x[2]) - x[1], x[0] * x[1] - 8 / 3 * x[2]]

    start = np.random.default_rng(seed).normal(size=3) * 5 + [0, 0, 25]
    times = 20 + DT * np.arange(n_steps + 1)
    accuracy: Any = {"method": "DOP853", "rtol": 1e-10, "atol": 1e-10}
    return np.asarray(solve_ivp(rates, (0, times[-1]), start, t_eval=times, **accuracy).y.T)


def mean_valid_time(fit: SampledRNN, test: Array, scale: Array) -> float:
    forecast = fit.forecast(test[:, :1], test.shape[1] - 1)
    times = valid_prediction_time(
        forecast, test[:, 1:], scale=scale, dt=DT, lyapunov_exponent=LYAPUNOV_EXPONENT
    )
    return float(times.mean())


@pytest.mark.slow
def test_forecasts_of_lorenz_stay_close_for_more_than_twelve_lyapunov_times() -> None:
    train, rest = lorenz(20_000, seed=0), lorenz(40_000, seed=1)
    test = rest[:-1].reshape(20, 2000, 3)
    features = SampledFeatures(300, steepness=0.4, random_state=0)
    fit = SampledRNN(features).fit(train)
    assert fit.choices_[0].regularization <= 1e-18
    scale = train.std(axis=0)
    assert mean_valid_time(fit, test, scale) > 12.5
    usual = SampledRNN(features, regularization=1e-10, n_folds=0).fit(train)
    assert mean_valid_time(usual, test, scale) < 10.0
