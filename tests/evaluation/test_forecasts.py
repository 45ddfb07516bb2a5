import numpy as np
import pytest

from koopman_control.evaluation import (
    continuous_ranked_probability_score,
    mean_squared_error,
    spectrum_distance,
    state_space_divergence,
    valid_prediction_time,
)


def test_valid_time_counts_the_steps_before_the_first_too_large_error() -> None:
    truth = np.zeros((3, 10, 2))
    forecast = truth.copy()
    forecast[0, 4:, 0] = 3.0  # sqrt(mean (3 / 2)^2, 0) = 1.06 standard deviations
    forecast[1, 6, :] = np.nan
    times = valid_prediction_time(
        forecast, truth, scale=[2.0, 5.0], dt=0.5, lyapunov_exponent=0.9, threshold=1.0
    )
    np.testing.assert_allclose(times, np.array([4, 6, 10]) * 0.45)


def test_an_error_at_the_threshold_is_still_valid_and_later_agreement_does_not_count() -> None:
    truth = np.zeros((4, 1))
    forecast = np.array([[0.3], [0.31], [0.0], [0.0]])
    assert valid_prediction_time(forecast, truth, scale=[1.0]) == 1.0


def test_mean_squared_error_is_in_the_units_of_the_scale() -> None:
    assert mean_squared_error([[1.0, 4.0]], [[0.0, 0.0]]) == pytest.approx(8.5)
    assert mean_squared_error([[1.0, 4.0]], [[0.0, 0.0]], scale=[1.0, 4.0]) == pytest.approx(1.0)


def test_crps_of_one_sample_is_the_absolute_error() -> None:
    assert continuous_ranked_probability_score([[3.0, -1.0]], [1.0, 1.0]) == pytest.approx(2.0)


def test_crps_of_few_samples_is_its_definition() -> None:
    x, y = np.array([0.0, 1.0, 4.0]), 2.0
    expected = np.abs(x - y).mean() - 0.5 * np.abs(x[:, None] - x).mean()
    assert continuous_ranked_probability_score(x, y) == pytest.approx(expected)


def test_crps_of_a_uniform_distribution_is_its_integral() -> None:
    n = 1000
    samples = (np.arange(n) + 0.5) / n  # the integral of (F(x) - [x >= 1/2])^2 over [0, 1] is 1/12
    assert continuous_ranked_probability_score(samples, 0.5) == pytest.approx(1 / 12, abs=1e-6)


def test_state_space_divergence_of_a_series_from_itself_is_zero() -> None:
    y = np.random.default_rng(0).normal(size=(500, 2))
    assert state_space_divergence(y, y) == 0.0


def test_state_space_divergence_is_the_kullback_leibler_sum_of_smoothed_histograms() -> None:
    truth = np.array([[0.0], [0.0], [0.0], [1.0]])
    generated = np.array([[0.0], [1.0], [1.0], [1.0], [99.0], [np.nan]])  # two are outside
    a = 1e-5
    p = (np.array([3.0, 1.0]) + a) / (4.0 + 2 * a)
    q = (np.array([1.0, 3.0]) + a) / (4.0 + 2 * a)
    expected = float(np.sum(p * np.log(p / q)))
    assert state_space_divergence(generated, truth, n_bins=2) == pytest.approx(expected)
    assert np.isnan(state_space_divergence(generated + 50.0, truth, n_bins=2))


def test_spectrum_distance_ignores_size_and_level() -> None:
    y = np.random.default_rng(0).normal(size=(400, 2))
    assert spectrum_distance(3.0 * y - 7.0, y) == pytest.approx(0.0, abs=1e-7)


def test_chance_adds_less_to_the_spectrum_distance_of_many_runs_than_of_one() -> None:
    rng = np.random.default_rng(0)
    a, b = rng.normal(size=(2, 100, 400, 1))
    one = np.mean([spectrum_distance(x, y) for x, y in zip(a, b, strict=True)])
    assert spectrum_distance(a, b) == pytest.approx(one / 10.0, rel=0.3)
    assert spectrum_distance(a[:1], b[:1]) == spectrum_distance(a[0], b[0])


def test_spectrum_distance_of_far_apart_lines_is_one_per_column() -> None:
    t = np.arange(2000)
    low, high = np.sin(2 * np.pi * 0.1 * t), np.sin(2 * np.pi * 0.4 * t)
    assert spectrum_distance(low[:, None], high[:, None]) == pytest.approx(1.0)
    half = spectrum_distance(np.column_stack([low, low]), np.column_stack([low, high]))
    assert half == pytest.approx(0.5, abs=1e-6)


def test_two_smoothed_lines_are_as_far_apart_as_two_gaussians() -> None:
    t, shift = np.arange(4000), 30
    a, b = np.sin(2 * np.pi * 0.2 * t), np.sin(2 * np.pi * (0.2 + shift / 4000) * t)
    kernel = np.exp(-0.5 * (np.arange(-80, 81) / 20.0) ** 2)  # cut off at four deviations
    kernel /= kernel.sum()
    expected = np.sqrt(1.0 - np.sqrt(kernel[shift:] * kernel[:-shift]).sum())
    assert spectrum_distance(a[:, None], b[:, None]) == pytest.approx(expected, rel=1e-6)


@pytest.mark.parametrize(
    ("call", "says"),
    [
        (lambda: valid_prediction_time(np.zeros((3, 1)), np.zeros((4, 1)), scale=[1.0]), "shape"),
        (lambda: valid_prediction_time(np.zeros(3), np.zeros(3), scale=[1.0]), r"\(H, p\)"),
        (lambda: state_space_divergence(np.zeros((3, 6)), np.zeros((3, 6))), "fewer bins"),
        (lambda: spectrum_distance(np.zeros((9, 1)), np.zeros((9, 1))), "never moves"),
        (lambda: spectrum_distance(np.zeros(9), np.zeros(9)), r"\(S, T, p\)"),
        (lambda: continuous_ranked_probability_score(np.zeros((0, 2)), np.zeros(2)), "empty"),
    ],
)
def test_bad_input_is_named(call: object, says: str) -> None:
    assert callable(call)
    with pytest.raises(ValueError, match=says):
        call()
