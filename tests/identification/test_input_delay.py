"""Fits to data whose inputs act late: the estimator shifts them, the model remembers it."""

import warnings
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from sklearn.base import clone

from koopman_control.features import PolynomialFeatures, SampledFeatures
from koopman_control.identification import (
    Corrections,
    EDMDc,
    LiftedModel,
    error_quantiles,
    prediction_error,
    stabilized,
    with_input_delay,
)
from koopman_control.trajectories import Trajectory

K = 2


def late(seed: int, n_steps: int = 80) -> Trajectory:
    """Simulate a pendulum whose input acts two samples late."""
    rng = np.random.default_rng(seed)
    U, X = rng.uniform(-1.0, 1.0, (n_steps, 1)), [rng.normal(size=2)]
    for t in range(n_steps):
        (x, v), u = X[-1], U[t - K, 0] if t >= K else 0.0
        X.append(np.array([x + 0.1 * v, v - 0.1 * np.sin(x) + 0.1 * u]))
    return Trajectory(np.array(X), U, dt=0.1)


DATA = [late(seed) for seed in range(5)]
SHIFTED = with_input_delay(DATA, K)
HELD_OUT = [late(seed) for seed in range(10, 13)]


def fit(delay: int = K, **settings: Any) -> EDMDc:
    features = SampledFeatures(10, steepness=0.5, random_state=0)
    changed: dict[str, Any] = {"regularization": 1e-10, "horizon": 10} | settings
    return EDMDc(features, input_delay=delay, **changed)


@pytest.mark.parametrize(
    "settings",
    [
        {},
        {"memory": 1, "regularization": "cv"},
        {"input_features": PolynomialFeatures(2)},
        {"rollout": "linear", "n_draws": 2},
        {"rollout": "linear", "corrections": Corrections("smooth", None, True, 0.9)},
    ],
)
def test_a_fit_to_late_inputs_is_that_to_shifted_ones(settings: dict[str, Any]) -> None:
    ours, plain = fit(**settings).fit(DATA), fit(0, **settings).fit(SHIFTED)
    for name in ("A", "B", "C"):
        np.testing.assert_array_equal(getattr(ours.model_, name), getattr(plain.model_, name))
    assert (ours.model_.input_delay, plain.model_.input_delay) == (K, 0)
    assert ours.score(HELD_OUT) == plain.score(with_input_delay(HELD_OUT, K))


def test_the_model_shifts_whatever_data_it_meets() -> None:
    model, shifted = fit().fit(DATA).model_, with_input_delay(HELD_OUT, K)
    plain = replace(model, signals=replace(model.signals, input_delay=0))
    np.testing.assert_array_equal(
        prediction_error(model, HELD_OUT, 20), prediction_error(plain, shifted, 20)
    )
    here, there = (prediction_error(m, HELD_OUT, 5).max() for m in (model, plain))
    assert here < 0.5 * there
    np.testing.assert_array_equal(
        error_quantiles(model, HELD_OUT, 5), error_quantiles(plain, shifted, 5)
    )
    report, expected = model.report(HELD_OUT), plain.report(shifted)
    np.testing.assert_array_equal(report.mean_errors["relifted"], expected.mean_errors["relifted"])
    np.testing.assert_array_equal(stabilized(model, 0.9, DATA).A, stabilized(plain, 0.9, SHIFTED).A)


def test_a_file_keeps_the_delay(tmp_path: Path) -> None:
    fit().fit(DATA).model_.save(tmp_path / "model.npz")
    assert LiftedModel.load(tmp_path / "model.npz").input_delay == K


def test_weights_go_with_their_steps() -> None:
    rng = np.random.default_rng(0)
    data = [*DATA, late(6, n_steps=K)]  # the last one is too short to tell anything
    weights = [rng.uniform(0.5, 2.0, len(run)) for run in data]
    ours = fit().fit(data, sample_weight=weights).model_
    plain = fit(0).fit(SHIFTED, sample_weight=[w[K:] for w in weights[:-1]]).model_
    np.testing.assert_array_equal(ours.A, plain.A)


def test_data_added_later_are_shifted_too() -> None:
    ours, plain = fit(), fit(0)
    for late_run, run in zip(DATA, SHIFTED, strict=True):
        ours.partial_fit(late_run)
        plain.partial_fit(run)
    np.testing.assert_array_equal(ours.model_.A, plain.model_.A)
    assert ours.model_.input_delay == K
    assert ours.score_left_out(DATA, HELD_OUT) == plain.score_left_out(
        SHIFTED, with_input_delay(HELD_OUT, K)
    )


def test_short_runs_are_left_out_unless_all_are() -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        model = fit().fit([*DATA, late(7, n_steps=K)]).model_
    np.testing.assert_array_equal(model.A, fit().fit(DATA).model_.A)
    with pytest.raises(ValueError, match="delay is 2, but the longest trajectory has 2 steps"):
        fit().fit(late(7, n_steps=K))


def test_groups_of_settings_survive_cloning() -> None:
    given = fit(corrections=Corrections(stability=0.9))
    copy = clone(given)
    assert copy.get_params()["corrections"] == Corrections(stability=0.9)
    assert copy.get_params()["input_delay"] == K
    assert copy.set_params(corrections=None, input_delay=0).get_params()["corrections"] is None
    assert len(copy.get_params(deep=False)) == 14
