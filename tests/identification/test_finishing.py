"""Corrections that a fit applies by itself."""

from typing import Any

import numpy as np
import pytest

from koopman_control.features import FourierFeatures, SampledFeatures
from koopman_control.identification import (
    Corrections,
    EDMDc,
    refine_over_horizon,
    stabilized,
)
from koopman_control.identification.stability import diverges, spectral_radius
from koopman_control.identification.structure import core_of
from koopman_control.trajectories import Trajectory


def runs(n_runs: int = 4, noise: float = 0.02) -> list[Trajectory]:
    """Runs of a van der Pol oscillator, measured with noise."""
    rng, data = np.random.default_rng(0), []
    for _ in range(n_runs):
        x, U = [rng.uniform(-2.0, 2.0, 2)], rng.uniform(-1.0, 1.0, (80, 1))
        for (u,) in U:
            p, v = x[-1]
            x.append(np.array([p + 0.05 * v, v + 0.05 * ((1.0 - p**2) * v - p + u)]))
        X = np.array(x)
        data.append(Trajectory(X + noise * rng.normal(size=X.shape), U))
    return data


FEATURES = SampledFeatures(20, random_state=0)


def fit(**corrections: Any) -> EDMDc:
    return EDMDc(FEATURES, rollout="linear", horizon=10, corrections=Corrections(**corrections))


@pytest.mark.filterwarnings("ignore:data leave")  # nearly as many unknowns as samples
def test_a_linear_roll_out_that_diverges_on_the_data_is_stabilised() -> None:
    wild = EDMDc(
        FourierFeatures(150, random_state=0), regularization=0.0, rollout="linear", horizon=30
    )
    data = runs()
    left = wild.set_params(corrections=Corrections(stability=None)).fit(data).model_
    assert diverges(left, data, 30)
    model = wild.set_params(corrections=Corrections(stability="auto")).fit(data).model_
    assert not diverges(model, data, 30)
    assert model.summary["spectral_radius_before"] > 1.0
    assert model.summary["one_step_error"] >= model.summary["one_step_error_before"]


def test_a_roll_out_that_stays_with_the_data_is_left_alone() -> None:
    data = runs()
    model, plain = (fit(stability=wanted).fit(data).model_ for wanted in ("auto", None))
    np.testing.assert_array_equal(model.A, plain.A)
    assert "spectral_radius_before" not in model.summary


def test_a_radius_asked_for_is_kept_in_any_case() -> None:
    data = runs()
    model = fit(stability=0.9).fit(data).model_
    core = core_of(model)
    assert spectral_radius(model.A[core, core]) <= 0.9 + 1e-9
    alone = stabilized(fit().fit(data).model_, 0.9, data)  # perhaps on other numbers of threads
    np.testing.assert_allclose(model.A, alone.A, rtol=0.0, atol=1e-10)


def test_continued_fits_are_stabilised_too() -> None:
    estimator = fit(stability=0.9)
    for run in runs():
        estimator.partial_fit(run)
    core = core_of(estimator.model_)
    assert spectral_radius(estimator.model_.A[core, core]) <= 0.9 + 1e-9


def test_the_horizon_is_refined_and_the_gain_reported() -> None:
    data = runs()
    model = fit(refine_horizon=True).fit(data).model_
    expected = refine_over_horizon(fit().fit(data).model_, data, 10)
    np.testing.assert_array_equal(model.A, expected.A)
    assert model.summary["horizon_error"] <= model.summary["horizon_error_start"]
    assert model.summary["horizon_steps"] == 10


@pytest.mark.parametrize("settings", [{"noise": "smooth"}, {"refine_horizon": True}])
def test_corrections_need_all_data_and_no_weights(settings: dict[str, Any]) -> None:
    with pytest.raises(ValueError, match="needs all data at once, unlike partial_fit"):
        fit(**settings).partial_fit(runs())
    with pytest.raises(ValueError, match="knows no sample_weight"):
        fit(**settings).fit(runs(), sample_weight=[1.0, 2.0, 1.0, 1.0])


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"noise": "tls"}, "noise is 'tls'; expected one of ignore, smooth, auto"),
        ({"stability": -1.0}, "stability is -1.0"),
        ({"noise_std": 0.1}, "noise_std is given with noise='ignore', which has no use for it"),
    ],
)
def test_settings_that_make_no_sense_are_refused(settings: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        Corrections(**settings)


def test_a_bilinear_model_is_not_refined() -> None:
    refined = Corrections(refine_horizon=True)
    with pytest.raises(ValueError, match="only the linear and the re-lifted"):
        EDMDc(FEATURES, coupling="bilinear", rollout="bilinear", corrections=refined).fit(runs())


def test_refining_is_asked_for_by_yes_or_no() -> None:
    unclear: Any = 3
    with pytest.raises(TypeError, match="refine_horizon is 3; expected True or False"):
        Corrections(refine_horizon=unclear)
