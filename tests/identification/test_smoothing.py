"""Noise taken out of the data by the model's own smoother."""

from __future__ import annotations

import warnings
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import scipy.linalg

from koopman_control.common.arrays import Array
from koopman_control.features import Coordinates, PolynomialFeatures, SampledFeatures
from koopman_control.identification import Corrections, EDMDc, prediction_error, smoother
from koopman_control.identification.measured import Measured
from koopman_control.identification.smoother import smooth_run
from koopman_control.identification.smoothing import PASSES
from koopman_control.trajectories import Trajectory

pytest.importorskip("numba", reason="loops along the data take minutes in plain Python")

FEW = SampledFeatures(20, steepness=0.5, random_state=0)
SMOOTH = Corrections(noise="smooth")


def run(
    seed: int,
    noise: float = 0.0,
    n_steps: int = 150,
    units: Any = 1.0,
    dt: float | None = 0.05,
) -> Trajectory:
    """A run of the forced Van der Pol oscillator."""
    rng = np.random.default_rng(seed)
    U = rng.uniform(-1.0, 1.0, (n_steps, 1))
    X = [rng.uniform(-2.0, 2.0, 2)]
    for u in U[:, 0]:
        x = X[-1]
        for _ in range(5):
            x = x + 0.01 * np.array([x[1], (1.0 - x[0] ** 2) * x[1] - x[0] + u])
        X.append(x)
    noisy = np.array(X) + noise * rng.normal(size=(n_steps + 1, 2))
    return Trajectory(noisy * units, U, dt=dt)


def runs(n: int = 10, noise: float = 0.03, **settings: Any) -> list[Trajectory]:
    return [run(seed, noise, **settings) for seed in range(n)]


CLEAN = [run(seed) for seed in range(100, 120)]
EXACT = runs(noise=0.0)


def fit(data: list[Trajectory], corrections: Corrections | None = SMOOTH, **settings: Any) -> EDMDc:
    return EDMDc(FEW, corrections=corrections, horizon=10, n_folds=3, **settings).fit(data)


def error(estimator: EDMDc, clean: list[Trajectory] = CLEAN) -> float:
    return float(np.sqrt(np.mean(prediction_error(estimator.model_, clean, 30) ** 2)))


def off(found: list[Trajectory], true: list[Trajectory] = EXACT) -> Array:
    """Root mean square by which trajectories differ, (p,)."""
    each = [a.observations - b.observations for a, b in zip(found, true, strict=True)]
    return np.asarray(np.sqrt(np.mean(np.concatenate(each) ** 2, axis=0)))


@pytest.fixture(scope="module")
def smoothed() -> EDMDc:
    return fit(runs())


def test_the_smoother_of_a_linear_plant_is_the_least_squares_course() -> None:
    rng, T, d = np.random.default_rng(0), 12, 3
    F, f = rng.normal(size=(T, d, d)), rng.normal(size=(T, d))
    Q, P0 = np.diag(rng.uniform(0.5, 2.0, d)), np.diag(rng.uniform(0.5, 2.0, d))
    r, start, a = rng.uniform(0.5, 2.0, 2), rng.normal(size=d), rng.normal(size=(T, d))
    Y = rng.normal(size=(T + 1, 2))
    Y[3], Y[7, 1] = np.nan, np.nan
    found = smooth_run(Y, (a, f, F), (start, P0), (Q, r), np.zeros(d, dtype=bool))
    X, V = found.X, found.V
    n = (T + 1) * d
    G, g = [np.eye(d, n) / np.sqrt(np.diag(P0))[:, None]], [start / np.sqrt(np.diag(P0))]
    for t in range(T):
        row = np.zeros((d, n))
        row[:, t * d : (t + 1) * d], row[:, (t + 1) * d : (t + 2) * d] = -F[t], np.eye(d)
        G.append(row / np.sqrt(np.diag(Q))[:, None])
        g.append((f[t] - F[t] @ a[t]) / np.sqrt(np.diag(Q)))
    for t, i in np.argwhere(~np.isnan(Y)):
        row = np.zeros((1, n))
        row[0, t * d + i] = 1.0 / np.sqrt(r[i])
        G.append(row)
        g.append(Y[t, [i]] / np.sqrt(r[i]))
    A, b = np.vstack(G), np.concatenate(g)
    expected, *_ = scipy.linalg.lstsq(A, b)
    np.testing.assert_allclose(X.ravel(), expected, rtol=1e-9, atol=1e-9)
    variance = np.diagonal(np.linalg.inv(A.T @ A))
    np.testing.assert_allclose(V.ravel(), variance, rtol=1e-9)


def test_rounding_does_not_grow_along_a_long_unstable_run() -> None:
    T, r = 20_000, np.array([1e-4, 1e-4])
    F = np.tile([[1.01, 0.1], [0.0, 1.02]], (T, 1, 1))
    lines, start = (np.zeros((T, 2)), np.zeros((T, 2)), F), (np.zeros(2), np.eye(2))
    noise = np.diag([1e-6, 1e-6]), r
    V = smooth_run(np.zeros((T + 1, 2)), lines, start, noise, np.zeros(2, dtype=bool)).V
    assert (V <= r).all()
    np.testing.assert_allclose(V[500 : T // 2], np.tile(V[T // 2], (T // 2 - 500, 1)), rtol=1e-9)


def test_compiled_loops_are_the_plain_ones(monkeypatch: pytest.MonkeyPatch) -> None:
    pytest.importorskip("numba")
    rng, T, d = np.random.default_rng(1), 30, 2
    lines = rng.normal(size=(T, d)), rng.normal(size=(T, d)), 0.5 * rng.normal(size=(T, d, d))
    Y = rng.normal(size=(T + 1, d))
    Y[5], Y[9] = np.nan, 40.0
    arguments: Any = (Y, lines, (Y[0], np.eye(d)), (np.eye(d), np.ones(d)), np.array([True, False]))
    fast = smooth_run(*arguments)
    monkeypatch.setattr(smoother, "find_spec", lambda name: None)
    slow = smooth_run(*arguments)
    for a, b in (
        (fast.X, slow.X),
        (fast.V, slow.V),
        (fast.innovations, slow.innovations),
        (fast.sizes, slow.sizes),
        (fast.forces, slow.forces),
    ):
        np.testing.assert_allclose(a, b, rtol=1e-9, atol=1e-12)


def test_noise_is_taken_out_of_data_and_model(smoothed: EDMDc) -> None:
    plain = fit(runs(), None)
    assert error(smoothed) < error(plain) / 3.0
    assert (off(smoothed.smoothed_) < 0.4 * 0.03).all()


def test_the_noise_is_found_and_innovations_are_white(smoothed: EDMDc) -> None:
    found = smoothed.noise_
    np.testing.assert_allclose(found.measurement, [0.03, 0.03], rtol=0.1)
    assert found.passes == PASSES
    assert found.white
    assert found.autocorrelation.shape == (10, 2)


@pytest.mark.parametrize("units", [(1e4, 1e4), (1e4, 1e-3)])
def test_other_units_change_nothing_else(units: Any) -> None:
    kept: dict[str, Any] = {
        "dt": 0.05 if units[0] == units[1] else None
    }  # speeds need units that go together
    units, smoothed = np.array(units), fit(runs(**kept))
    other = fit(runs(units=units, **kept))
    np.testing.assert_allclose(other.noise_.measurement, smoothed.noise_.measurement * units, 1e-6)
    for a, b in zip(other.smoothed_, smoothed.smoothed_, strict=True):
        np.testing.assert_allclose(a.observations / units, b.observations, atol=1e-6)


def test_a_known_level_is_kept() -> None:
    found = fit(runs(), Corrections(noise="smooth", noise_std=[0.03, 0.04])).noise_
    np.testing.assert_array_equal(found.measurement, [0.03, 0.04])
    with pytest.raises(ValueError, match="one for each of 2 states"):
        fit(runs(), Corrections(noise="smooth", noise_std=[0.1, 0.1, 0.1]))


def test_auto_keeps_a_fit_to_exact_data_bit_for_bit() -> None:
    plain, auto = fit(EXACT, None), fit(EXACT, Corrections(noise="auto"))
    np.testing.assert_array_equal(auto.model_.A, plain.model_.A)
    np.testing.assert_array_equal(auto.model_.B, plain.model_.B)
    assert auto.noise_.passes == 0
    assert all(a is b for a, b in zip(auto.smoothed_, EXACT, strict=True))


def test_auto_sees_noise_and_smooths(smoothed: EDMDc) -> None:
    auto = fit(runs(), Corrections(noise="auto"))
    np.testing.assert_array_equal(auto.model_.A, smoothed.model_.A)


def with_gaps(data: list[Trajectory], share: float) -> list[Trajectory]:
    rng, out = np.random.default_rng(5), []
    for t in data:
        Y = np.array(t.observations)
        Y[rng.random(Y.shape) < share] = np.nan
        out.append(replace(t, observations=Y, missing=True))
    return out


def test_what_was_not_measured_is_filled() -> None:
    data = with_gaps(runs(), 0.1)
    found = fit(data)
    np.testing.assert_allclose(found.noise_.replaced, [0.1, 0.1], atol=0.02)
    assert (off(found.smoothed_) < 0.5 * 0.03).all()
    assert not any(t.missing for t in found.smoothed_)


def test_gaps_are_refused_where_nobody_fills_them() -> None:
    data = with_gaps(runs(2), 0.1)
    with pytest.raises(ValueError, match=r"data\[0\] lacks \d+ entries .* only a fit that smooths"):
        fit(data, None)
    with pytest.raises(ValueError, match="expected finite numbers only"):
        replace(data[0], missing=False)


def test_single_glitches_are_dropped_and_jumps_are_kept() -> None:
    data, rng = runs(), np.random.default_rng(3)
    broken = []
    for t in data:
        Y = np.array(t.observations)
        Y[rng.choice(np.arange(2, len(Y) - 2, 4), 2, replace=False), 0] += 1.0
        broken.append(replace(t, observations=Y))
    found = fit(broken)
    assert (off(found.smoothed_) < 0.5 * 0.03).all()
    np.testing.assert_allclose(found.noise_.replaced, [2 / 151, 0.0], atol=0.002)
    step = np.where(np.arange(40) < 20, 0.0, 1.0) + 1e-3 * rng.normal(size=40)
    jump = Trajectory(step[:, None], np.zeros((39, 1)))
    assert not Measured.of([jump], Coordinates(1, (0,))).replaced.any()


def roessler(n: int, substeps: int = 50) -> Array:
    """Rössler's system, a dozen points to a turn, (n, 3): its third state is sharp peaks."""

    def slope(x: Array) -> Array:
        return np.array([-x[1] - x[2], x[0] + 0.2 * x[1], 0.2 + x[2] * (x[0] - 5.7)])

    x, h, rows = np.array([2.0, 3.0, 0.2]), 0.49 / substeps, []
    for k in range(substeps * (n + 50)):
        if k % substeps == 0:
            rows.append(x)
        middle = x + 0.5 * h * slope(x)
        x = x + h * slope(middle)
    return np.array(rows[50:])


def test_sharp_peaks_that_a_model_foretells_are_no_glitches_and_are_not_smoothed_away() -> None:
    exact = roessler(900)
    noise = 0.01 * exact.std(axis=0)
    rng = np.random.default_rng(4)
    measured = exact + noise * rng.standard_normal(exact.shape)
    peaks = Measured.of([Trajectory(measured, np.zeros((899, 1)))], Coordinates(3, (0, 1, 2)))
    assert peaks.replaced[2] > 0.03  # by themselves, they stand out
    features = SampledFeatures(80, steepness=0.3, random_state=0)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", UserWarning)  # an input that never moves
        found = EDMDc(features, corrections=SMOOTH, horizon=10).fit(
            [Trajectory(measured, np.zeros((899, 1)))]
        )
    assert found.noise_.replaced[2] < 0.25 * peaks.replaced[2]
    left = np.sqrt(np.mean((found.smoothed_[0].observations - exact) ** 2, axis=0)) / noise
    assert (left < [0.8, 0.8, 1.3]).all()  # as a glitch, a peak would be missed by 50


def pendulum(seed: int, noise: float) -> tuple[Trajectory, Trajectory]:
    """A pendulum that turns over, its speed stopped at 4; noisy and exact."""
    rng, x = np.random.default_rng(seed), np.array([np.pi, 0.0])
    U, X = np.repeat(rng.uniform(-4.0, 4.0, (40, 1)), 5, axis=0), [x]
    for u in U[:, 0]:
        speed = np.clip(x[1] + 0.05 * (5.0 * np.sin(x[0]) + u), -4.0, 4.0)
        x = np.array([x[0] + 0.05 * speed, speed])
        X.append(x)
    path = np.array(X)
    Y = np.column_stack([np.cos(path[:, 0]), np.sin(path[:, 0]), path[:, 1]])
    bounds = np.array([[-1.0, -1.0, -4.0], [1.0, 1.0, 4.0]])
    noisy = Y + noise * rng.normal(size=Y.shape)
    return tuple(Trajectory(y, U, observation_bounds=bounds) for y in (noisy, Y))  # type: ignore


def test_a_glitch_off_the_circle_does_not_make_an_angle_none() -> None:
    broken = []
    for t in (pendulum(seed, 0.01)[0] for seed in range(4)):
        Y = np.array(t.observations)
        Y[50, :2] *= 3.0
        broken.append(replace(t, observations=Y))
    assert fit(broken, angles=[(0, 1)]).noise_.passes == PASSES


def test_angles_and_states_stopped_at_limits_are_smoothed() -> None:
    noisy, exact = (list(t) for t in zip(*(pendulum(s, 0.03) for s in range(10)), strict=True))
    settings: dict[str, Any] = {"coupling": "bilinear", "angles": [(0, 1)]}
    plain, found = fit(noisy, None, **settings), fit(noisy, **settings)
    assert (off(found.smoothed_, exact) < 0.6 * 0.03).all()
    assert error(found, exact) < 0.5 * error(plain, exact)
    on_the_stop = np.mean([np.mean(np.abs(t.observations[:, 2]) == 4.0) for t in found.smoothed_])
    assert on_the_stop > 0.5 * np.mean(
        [np.mean(np.abs(t.observations[:, 2]) == 4.0) for t in exact]
    )


@pytest.mark.parametrize(
    "settings",
    [
        {"memory": 1},
        {"coupling": "bilinear"},
        {"input_features": PolynomialFeatures(2)},
        {"rollout": "linear", "n_draws": 2},
        {"input_delay": 1},
        {"states": [1], "memory": 2},
    ],
)
def test_all_kinds_of_models_smooth_their_data(settings: dict[str, Any]) -> None:
    data = runs()
    if "input_delay" in settings:
        data = [replace(t, actions=np.roll(t.actions, -1, axis=0)) for t in data]
    found = fit(data, **settings)
    columns = settings.get("states", [0, 1])
    assert (off(found.smoothed_)[columns] < 0.75 * 0.03).all()
    assert [len(t) for t in found.smoothed_] == [len(t) for t in data]
    assert np.isfinite(found.score(CLEAN))


def test_the_first_fit_alone_says_what_is_wrong_with_the_data() -> None:
    still = [replace(t, actions=np.zeros((len(t), 1))) for t in runs(3)]
    with warnings.catch_warnings(record=True) as said:
        warnings.simplefilter("always")
        fit(still)
    assert len([w for w in said if "never moves" in str(w.message)]) == 1


def test_weights_and_pieces_are_refused_by_name_or_taken_as_they_are() -> None:
    data = runs(3)
    with pytest.raises(ValueError, match="noise is 'smooth', which needs all data at once"):
        EDMDc(FEW, corrections=SMOOTH).partial_fit(data)
    auto = EDMDc(FEW, corrections=Corrections(noise="auto"), n_folds=3)
    weighted = auto.fit(data, sample_weight=[1.0, 1.0, 1.0])
    assert not hasattr(weighted, "smoothed_")
