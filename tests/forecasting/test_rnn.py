"""The estimator against exact answers: systems that its features contain."""

from typing import Any

import numpy as np
import pytest
from sklearn.base import clone

from koopman_control.common import Array
from koopman_control.features import PolynomialFeatures, SampledFeatures
from koopman_control.forecasting import SampledRNN, onestep
from koopman_control.trajectories import Trajectory


def quadratic_map(n_steps: int, seed: int, drive: float = 0.3) -> tuple[Array, Array]:
    """Simulate a stable map with squares and an input, exactly in the span of degree two."""
    rng = np.random.default_rng(seed)
    U = drive * rng.uniform(-1.0, 1.0, (n_steps, 1))
    Y = [rng.uniform(-0.5, 0.5, 2)]
    for u in U[:, 0]:
        a, b = Y[-1]
        Y.append(np.array([0.8 * a + 0.3 * b + u, 0.5 * b - 0.4 * a * a + 0.2 * u * a]))
    return np.array(Y), U


def squares(**settings: Any) -> SampledRNN:
    return SampledRNN(PolynomialFeatures(2), **({"horizon": 10} | settings))


def test_a_map_within_the_span_is_forecast_exactly() -> None:
    Y, U = quadratic_map(200, seed=0)
    fit = squares().fit(Y, inputs=U)
    truth, V = quadratic_map(60, seed=1)
    forecast = fit.forecast(truth[:1], 60, inputs=V)
    np.testing.assert_allclose(forecast, truth[1:], atol=1e-9)
    assert fit.score(truth, inputs=V) > -1e-9


@pytest.mark.parametrize("increments", [True, False])
def test_steps_and_values_regress_to_the_same_map_without_a_penalty(increments: bool) -> None:
    Y, U = quadratic_map(200, seed=0)
    fit = squares(increments=increments, regularization=0.0).fit(Y, inputs=U)
    np.testing.assert_allclose(fit.forecast(Y[:1], 200, inputs=U), Y[1:], atol=1e-9)


def test_trajectories_frames_and_arrays_give_one_fit() -> None:
    pandas = pytest.importorskip("pandas", reason="needs pip install pandas")
    Y, U = quadratic_map(200, seed=0)
    rows = squares().fit(Y, inputs=U).forecast(Y[:1], 20, inputs=U[:20])
    path = squares().fit(Trajectory(Y, U))
    ahead = path.forecast(Trajectory(Y[:6], U[:5]), 20, inputs=U[5:25])
    frame = squares().fit(pandas.DataFrame(Y, columns=["a", "b"]), inputs=pandas.DataFrame(U))
    np.testing.assert_allclose(rows, Y[1:21], atol=1e-9)
    np.testing.assert_allclose(ahead, Y[6:26], atol=1e-9)
    history = pandas.DataFrame(Y[:1], columns=["a", "b"])
    np.testing.assert_array_equal(frame.forecast(history, 20, inputs=U[:20]), rows)


@pytest.mark.parametrize("lengths", [(30, 90, 60), (50, 60, 30, 90, 40)])
def test_several_series_of_different_lengths_never_join(lengths: tuple[int, ...]) -> None:
    """Also not where there are as many as folds of the cross-validation, which then cuts none."""
    runs = [quadratic_map(n, seed=n) for n in lengths]
    fit = squares().fit([Y for Y, _ in runs], inputs=[U for _, U in runs])
    for Y, U in runs:
        np.testing.assert_allclose(fit.forecast(Y[:1], len(U), inputs=U), Y[1:], atol=1e-9)


def test_many_histories_at_once_are_the_histories_one_by_one() -> None:
    Y, U = quadratic_map(300, seed=0)
    fit = SampledRNN(SampledFeatures(30, random_state=0), memory=2).fit(Y, inputs=U)
    starts = [0, 40, 90]
    histories = np.stack([Y[s : s + 5] for s in starts])
    inputs = np.stack([U[s : s + 4 + 12] for s in starts])
    together = fit.forecast(histories, 12, inputs=inputs)
    assert together.shape == (3, 12, 2)
    for forecast, history, u in zip(together, histories, inputs, strict=True):
        np.testing.assert_allclose(fit.forecast(history, 12, inputs=u), forecast, atol=1e-12)


def test_adding_series_gives_the_fit_to_all_of_them() -> None:
    Y, U = quadratic_map(400, seed=0)
    fit = SampledRNN(SampledFeatures(20, random_state=0), regularization=1e-8, n_folds=2)
    fit.fit(Y[:201], inputs=U[:200])
    fit.partial_fit(Y[200:], inputs=U[200:])
    lift = fit._ensemble.members[0].lift
    runs = fit._ensemble.scaling.runs([type(fit._like)(Y, U, fit._like.names)])
    rows = [lift.rows(np.hstack([r.X[:-1], r.U]), np.diff(r.X, axis=0)) for r in runs]
    Phi, dY = rows[0]
    penalty = np.sqrt(1e-8 * len(Phi)) * np.eye(Phi.shape[1])
    stacked = np.vstack([Phi, penalty]), np.vstack([dY, 0 * penalty[:, :2]])
    K = np.linalg.lstsq(*stacked, rcond=None)[0]
    expected = lift.step_map(K)
    found = fit._ensemble.members[0].step_map
    np.testing.assert_allclose(found.nonlinear, expected.nonlinear, atol=1e-7)
    np.testing.assert_allclose(found.linear, expected.linear, atol=1e-7)


def test_the_first_series_that_is_added_is_fitted() -> None:
    Y, U = quadratic_map(200, seed=0)
    added, fitted = squares().partial_fit(Y, inputs=U), squares().fit(Y, inputs=U)
    np.testing.assert_array_equal(
        added.forecast(Y[:1], 20, inputs=U[:20]), fitted.forecast(Y[:1], 20, inputs=U[:20])
    )


def test_several_threads_find_what_one_finds(monkeypatch: pytest.MonkeyPatch) -> None:
    Y, U = quadratic_map(400, seed=0)
    monkeypatch.setattr(onestep, "CHUNK", 40)
    found = []
    for threads in (1, 3):
        monkeypatch.setattr(onestep, "n_workers", lambda work, n=threads: n)
        found.append(squares().fit(Y, inputs=U).forecast(Y[:1], 20, inputs=U[:20]))
    np.testing.assert_allclose(found[1], found[0], rtol=0.0, atol=1e-8)


def test_delays_make_up_for_what_is_not_seen() -> None:
    t = 0.2 * np.arange(400.0)
    wave = np.sin(t) + 0.5 * np.cos(1.7 * t)
    fit = SampledRNN(SampledFeatures(10, random_state=0), memory=3).fit(wave[:300])
    np.testing.assert_allclose(fit.forecast(wave[:300], 100)[:, 0], wave[300:], atol=1e-5)


def test_a_recurrent_layer_makes_up_for_what_is_not_seen() -> None:
    t = 0.2 * np.arange(1200.0)
    wave = np.sin(t) + 0.5 * np.cos(1.7 * t)
    settings: Any = {"memory": 100, "n_recurrent": 20, "horizon": 50}
    fit = SampledRNN(SampledFeatures(30, random_state=0), **settings).fit(wave[:1000])
    blind = SampledRNN(SampledFeatures(30, random_state=0), horizon=50).fit(wave[:1000])
    truth = wave[1000:1050, None]
    seeing_error = np.abs(fit.forecast(wave[:1000], 50) - truth).max()
    assert seeing_error < 0.1 * np.abs(blind.forecast(wave[:1000], 50) - truth).max()


def test_forecasts_never_leave_the_widened_range_of_the_data() -> None:
    Y = np.array([1.1**k for k in range(50)])
    fit = squares(regularization=0.0).fit(Y)
    forecast = fit.forecast(Y, 100)
    assert forecast.max() == pytest.approx(2.0 * Y.max() - Y.min())


def test_cross_validation_prefers_the_wider_candidate_that_fits() -> None:
    Y, U = quadratic_map(300, seed=0)
    maps = [PolynomialFeatures(3), SampledFeatures(1, random_state=0)]
    fit = SampledRNN(maps, horizon=5).fit(Y, inputs=U)
    assert isinstance(fit.choices_[0].features, PolynomialFeatures)
    assert fit.cv_error_.shape == (5,)
    assert fit.cv_error_.max() < 1e-8


def test_a_clone_has_the_settings_and_not_the_fit() -> None:
    Y, U = quadratic_map(100, seed=0)
    fit = squares(memory=1, n_draws=1).fit(Y, inputs=U)
    copy = clone(fit)
    assert not hasattr(copy, "choices_")
    assert repr(copy) == repr(fit)


def test_noise_is_taken_out_of_series_before_the_fit() -> None:
    rng, pairs = np.random.default_rng(1), [quadratic_map(40, seed=k) for k in range(24)]
    exact, U = [Y for Y, _ in pairs], [V for _, V in pairs]
    noisy = [Y + 0.02 * rng.normal(size=Y.shape) for Y in exact]
    plain, smooth = (squares(noise=noise).fit(noisy, inputs=U) for noise in ("ignore", "smooth"))
    truth, V = quadratic_map(60, seed=1)
    assert smooth.score(truth, inputs=V) > 0.75 * plain.score(truth, inputs=V)
    np.testing.assert_allclose(smooth.noise_.measurement, 0.02, rtol=0.15)
    before, after = (
        np.std(np.concatenate(series) - np.concatenate(exact))
        for series in (noisy, smooth.smoothed_)
    )
    assert after < 0.75 * before


def test_series_without_inputs_are_smoothed_too() -> None:
    t = np.arange(400)
    wave = np.column_stack([np.sin(0.1 * t), np.cos(0.1 * t)])
    noisy = wave + 0.05 * np.random.default_rng(0).normal(size=wave.shape)
    fit = squares(noise="smooth").fit(noisy)
    assert np.sqrt(np.mean((fit.smoothed_[0] - wave) ** 2)) < 0.3 * 0.05


def test_smoothing_needs_all_data_and_no_recurrent_layer() -> None:
    Y, U = quadratic_map(60, seed=0)
    with pytest.raises(ValueError, match="needs all data at once, unlike partial_fit"):
        squares(noise="smooth").partial_fit(Y, inputs=U)
    with pytest.raises(ValueError, match="the smoother knows past steps only"):
        squares(noise="smooth", memory=3, n_recurrent=4).fit(Y, inputs=U)
