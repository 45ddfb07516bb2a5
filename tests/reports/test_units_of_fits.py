"""What is fitted to the same data in other units predicts the same, by the same choices.

Public reports of the kind: LeastSquaresOptim.jl #39, astropy #6269, DataDrivenDiffEq.jl #220.
"""

from __future__ import annotations

import warnings
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

from koopman_control.common.arrays import Array
from koopman_control.features import SampledFeatures
from koopman_control.forecasting import SampledRNN
from koopman_control.identification import (
    Corrections,
    EDMDc,
    LeastSquares,
    LiftedModel,
    OnlineModel,
    adapt,
    bootstrap_models,
    error_quantiles,
    estimate_input_delay,
    predict_ensemble,
    prediction_error,
    pseudospectrum,
    reduced,
    refine_over_horizon,
    spectrum,
    stabilized,
)
from koopman_control.trajectories import Trajectory, coverage

LOW, HIGH = np.array([-0.7, -0.6]), np.array([0.7, 0.6])
TWOS = (np.array([2.0**20, 2.0**-15]), np.array([2.0**30, 2.0**-12]))
TENS = [
    (np.array([1e-12, 1e12]), np.array([1e-12, 1.0])),
    (np.array([1e-6, 1e3]), np.array([1.0, 1e9])),
    (np.array([1e12, 1e12]), np.array([1e-9, 1e9])),
    (np.array([1e-9, 1e-9]), np.array([1e9, 1e3])),
]
ONES = np.ones(2), np.ones(2)


def recorded(
    x: Array, u: Array, *, held: bool = False, delay: int = 0, noise: float = 0.01
) -> list[Trajectory]:
    """Excite a pendulum with two motors, its states and inputs in units (2,) each.

    `held` stops its angle and its speed, and says so.
    """
    rng, episodes = np.random.default_rng(1), []
    known: dict[str, Any] = {}
    if held:
        known = {"observation_bounds": np.stack([LOW, HIGH]) * x}
        known |= {"action_bounds": np.array([[-1.0], [1.0]]) * u}
    for _ in range(3):
        states, inputs = [rng.normal(size=2)], rng.uniform(-1.0, 1.0, (120, 2))
        for k in range(len(inputs)):
            (angle, speed), (one, other) = states[-1], inputs[max(k - delay, 0)]
            pull = -np.sin(angle) - 0.2 * speed + one * (1.0 + 0.3 * angle)
            states.append(states[-1] + 0.1 * np.array([speed + 0.3 * other, pull]))
            if held:
                states[-1] = np.clip(states[-1], LOW, HIGH)
        X = np.array(states) + noise * rng.normal(size=(121, 2))
        episodes.append(Trajectory((np.clip(X, LOW, HIGH) if held else X) * x, inputs * u, **known))
    return episodes


KINDS: dict[str, dict[str, Any]] = {
    "re-lifted": {},
    "linear": {"rollout": "linear"},
    "bilinear": {"coupling": "bilinear", "rollout": "bilinear"},
    "memory": {"memory": 2},
    "limits": {},
    "angle": {"angles": [0]},
    "delay": {"input_delay": 2},
    "input features": {"input_features": SampledFeatures(10, random_state=1)},
    "several candidates": {
        "features": [SampledFeatures(n, random_state=0) for n in (10, 30)],
    },
    "several draws": {"rollout": "linear", "n_draws": 2},
    "a strength for each state": {"regularization": "cv-per-state"},
    "states as targets": {"least_squares": LeastSquares(targets="states")},
    "truncation": {"least_squares": LeastSquares(penalty="truncation")},
    "lasso": {"least_squares": LeastSquares(penalty="lasso")},
    "elastic net": {"least_squares": LeastSquares(penalty="elasticnet")},
    "smoothed": {"corrections": Corrections(noise="smooth")},
    "refined": {"rollout": "linear", "corrections": Corrections(refine_horizon=True)},
    "stabilised": {"rollout": "linear", "corrections": Corrections(stability=0.95)},
}


def fitted(kind: str, x: Array, u: Array) -> tuple[list[Array], dict[str, Any]]:
    """Fit in given units; return predictions in old ones, and what was chosen and said."""
    x = np.where([kind == "angle", False], 1.0, x)
    data = recorded(x, u, held=kind == "limits", delay=2 if kind == "delay" else 0)
    settings: dict[str, Any] = {
        "features": SampledFeatures(20, random_state=0),
        "horizon": 10,
    } | KINDS[kind]
    with warnings.catch_warnings(record=True) as said:
        warnings.simplefilter("always")
        est = EDMDc(**settings).fit(data)
    model, run = est.model_, est.model_.signals.runs(data[:1])[0]
    predicted = [
        model.predict(run.X[20], run.U[20:50], rollout)[:, :2] / x
        for rollout in ("relifted", model.lifted_rollout)
        if kind != "input features" or rollout == "relifted"
    ]
    chosen = {
        "features": str(est.choices_[0].features),
        "strength": est.choices_[0].regularization,
        "per state": model.summary.get("regularization_per_state"),
        "held": model.signals.saturating.tolist(),
        "left out": model.summary["n_censored"],
        "warnings": [str(one.message) for one in said],
    }
    return predicted, chosen


@pytest.mark.parametrize("kind", KINDS)
def test_a_fit_in_other_units_makes_the_same_choices_and_predictions(kind: str) -> None:
    """Bit for bit where units are powers of two, which round nothing."""
    wanted, chosen = fitted(kind, *ONES)
    same, also_chosen = fitted(kind, *TWOS)
    assert also_chosen == chosen
    np.testing.assert_array_equal(same, wanted)
    for units in TENS:
        found, also_chosen = fitted(kind, *units)
        assert also_chosen == chosen
        np.testing.assert_allclose(found, wanted, rtol=0.0, atol=1e-8)


def test_data_that_stop_at_tiny_limits_are_told_from_others() -> None:
    """Limits of 6e-10 were within the absolute tolerance of 1e-6, and every sample sat on them."""
    _, chosen = fitted("limits", *TENS[-1])
    assert 0 < chosen["left out"] < 180
    assert chosen["held"] == [False, True] or chosen["held"] == [True, True]


Analysis = Callable[[EDMDc, list[Trajectory], Array], Any]


def _course(model: LiftedModel, data: list[Trajectory], x: Array) -> Array:
    start, inputs = model.state(data[0].observations[20]), data[0].actions[20:50]
    return model.predict(start, inputs, "linear") / x


def _online(est: EDMDc, data: list[Trajectory], x: Array) -> Array:
    online = OnlineModel(est.model_)
    for before, u, after in zip(
        data[1].observations[:60], data[1].actions[:60], data[1].observations[1:61], strict=True
    ):
        online.update(before, u, after)
    return _course(online.model(), data, x)


def _reduction(est: EDMDc, data: list[Trajectory], x: Array) -> list[Array]:
    found = [reduced(est.model_, 8, data), reduced(est.model_, 8)]
    return [part for one in found for part in (one.bound, _course(one.model, data, x))]


def _ensemble(est: EDMDc, data: list[Trajectory], x: Array) -> list[Array]:
    models = bootstrap_models(est, data, n_models=2)
    start, inputs = data[0].observations[20], data[0].actions[20:50]
    mean, spread = predict_ensemble(models, start, inputs, rollout="linear")
    return [mean / x, spread / x]


def _modes(est: EDMDc, data: list[Trajectory], x: Array) -> list[Array]:
    found = spectrum(est.model_, data)
    assert found.residuals is not None
    return [np.abs(found.eigenvalues), found.residuals, np.abs(found.modes / x[:, None])]


ANALYSES: dict[str, Analysis] = {
    "adapted": lambda est, data, x: _course(adapt(est.model_, data[:2]), data, x),
    "online": _online,
    "reduced": _reduction,
    "refined": lambda est, data, x: _course(refine_over_horizon(est.model_, data, 10), data, x),
    "stabilised": lambda est, data, x: [
        _course(stabilized(est.model_, 0.9, data), data, x),
        _course(stabilized(est.model_, 0.9), data, x),
    ],
    "bootstrap": _ensemble,
    "error quantiles": lambda est, data, x: error_quantiles(est.model_, data, 10) / x,
    "prediction error": lambda est, data, x: prediction_error(est.model_, data, 10),
    "spectrum": _modes,
    "pseudospectrum": lambda est, data, x: pseudospectrum(
        est.model_, data, np.array([0.9, 1.0, 1.1 + 0.2j])
    ),
    "delays": lambda est, data, x: estimate_input_delay(data, 5).errors,
    "coverage": lambda est, data, x: [one.order for one in coverage(data).inputs],
}


@pytest.mark.parametrize("name", ANALYSES)
def test_what_is_made_of_a_model_is_the_same_in_other_units(name: str) -> None:
    results = []
    for x, u in (ONES, TWOS, *TENS):
        data = recorded(x, u, delay=3 if name == "delays" else 0)
        features = SampledFeatures(20, random_state=0)
        est = EDMDc(features, rollout="linear", horizon=10).fit(data)
        found = ANALYSES[name](est, data, x)
        results.append(found if isinstance(found, list) else [found])
    for other in results[1:]:
        for part, wanted in zip(other, results[0], strict=True):
            size = np.abs(wanted)[np.isfinite(wanted)].max()
            np.testing.assert_allclose(part, wanted, rtol=0.0, atol=1e-8 * size)


@pytest.mark.parametrize("settings", [{}, {"memory": 3, "n_recurrent": 10}, {"increments": False}])
def test_a_recurrent_network_forecasts_the_same_in_other_units(settings: dict[str, Any]) -> None:
    rng = np.random.default_rng(0)
    series = np.sin(np.cumsum(0.03 * rng.normal(size=(200, 2)), axis=0))
    inputs, results = rng.normal(size=(200, 1)), []
    for x, u in (ONES, TWOS, *TENS):
        rnn = SampledRNN(SampledFeatures(20, random_state=0), horizon=10, n_draws=2, **settings)
        rnn.fit(series * x, inputs=inputs * u[0])
        told = rnn.forecast_with_intervals(series[:50] * x, 10, inputs=inputs[:59] * u[0])
        results.append([told.mean / x, told.size / x, rnn.cv_error_[:, None] * np.ones(2)])
    np.testing.assert_array_equal(results[1], results[0])
    for other in results[2:]:
        np.testing.assert_allclose(other, results[0], rtol=0.0, atol=1e-8)


@pytest.mark.parametrize("unit", [1e-12, 1e-9, 1e-3, 1.0, 1e6, 1e12])
def test_slopes_of_a_foreign_lift_are_measured_in_its_own_units(unit: float) -> None:
    """Steps of 6e-6 were far too long for what turns within nanometres."""

    def lift(X: Array) -> Array:
        return np.hstack([X / unit, np.exp(-np.square(X / unit)), np.cos(X / unit)])

    model = LiftedModel.from_arrays(np.eye(3), np.zeros((3, 1)), np.array([[unit, 0.0, 0.0]]), lift)
    X = np.array([[0.0], [0.1], [0.5], [-1.3]])
    wanted = np.hstack([np.ones_like(X), -2.0 * X * np.exp(-(X**2)), -np.sin(X)])
    found = unit * model.features.derivatives(unit * X)[:, :, 0]
    np.testing.assert_allclose(found, wanted, rtol=0.0, atol=1e-8)
