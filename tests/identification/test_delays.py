import warnings
from typing import Any

import numpy as np
import pytest

from koopman_control.features import SampledFeatures
from koopman_control.identification.delays import estimate_input_delay, with_input_delay
from koopman_control.identification.edmdc import EDMDc
from koopman_control.trajectories import HeldUniform, Trajectory


def delayed(
    delays: tuple[int, ...], n_steps: int = 150, seed: int = 0, hold: int = 1, noise: float = 0.0
) -> Trajectory:
    """Simulate a nonlinear plant whose input i acts after delays[i] samples."""
    rng = np.random.default_rng(seed)
    m = len(delays)
    U = HeldUniform(hold).sample(n_steps, -np.ones(m), np.ones(m), rng)
    sent = np.vstack([np.zeros((max(delays), m)), U])
    X = [rng.normal(size=2)]
    for t in range(n_steps):
        v = [sent[t + max(delays) - k, i] for i, k in enumerate(delays)]
        x, y = X[-1]
        push = (1.0 + 0.3 * x) * v[0] + (0.5 * v[1] if m > 1 else 0.0)
        X.append(np.array([x + 0.1 * y, y + 0.1 * (-np.sin(x) - 0.3 * y + push)]))
    return Trajectory(
        np.array(X) + noise * rng.normal(size=(n_steps + 1, 2)),
        U,
        dt=0.1,
        rewards=np.arange(float(n_steps)),
    )


@pytest.mark.parametrize("delay", [0, 1, 3, 7])
@pytest.mark.parametrize("hold", [1, 6])
def test_a_known_delay_is_found(delay: int, hold: int) -> None:
    data = [delayed((delay,), seed=seed, hold=hold) for seed in range(4)]
    estimate = estimate_input_delay(data, 8)
    assert estimate.delays == (delay,)
    assert estimate.errors.shape == (1, 9)
    assert estimate.errors[0, delay] < 0.3


def test_inputs_have_delays_of_their_own() -> None:
    data = [delayed((4, 1), seed=seed) for seed in range(5)]
    assert estimate_input_delay(data).delays == (4, 1)


def test_a_delay_is_found_under_noise() -> None:
    data = [delayed((2,), seed=seed, noise=0.01) for seed in range(6)]
    assert estimate_input_delay(data).delays == (2,)


def test_the_estimate_says_what_it_found() -> None:
    text = str(estimate_input_delay([delayed((3,), seed=seed) for seed in range(3)]))
    assert text.startswith("action column 0 acts after 3 samples (0.3 s): one-step error ")


def test_an_input_without_effect_is_named() -> None:
    rng = np.random.default_rng(0)
    X = np.cumsum(rng.normal(size=(301, 1)), axis=0)
    run = Trajectory(X, rng.uniform(-1.0, 1.0, (300, 1)), action_names=("fan",))
    with pytest.warns(UserWarning, match="fan does not help to predict"):
        estimate_input_delay(run)


def test_a_delay_at_the_edge_is_pointed_out() -> None:
    data = [delayed((3,), seed=seed) for seed in range(3)]
    with pytest.warns(UserWarning, match="longest delay tried, 3; raise max_delay"):
        assert estimate_input_delay(data, 3).delays == (3,)


def test_a_shifted_run_is_the_run_of_the_plant_without_delay() -> None:
    run = delayed((5,))
    (shifted,) = with_input_delay(run, 5)
    np.testing.assert_array_equal(shifted.observations, run.observations[5:])
    np.testing.assert_array_equal(shifted.actions, run.actions[:-5])
    assert shifted.rewards is not None
    np.testing.assert_array_equal(shifted.rewards, np.arange(5, 150))
    x, y = shifted.observations[:-1].T
    expected = y + 0.1 * (-np.sin(x) - 0.3 * y + (1.0 + 0.3 * x) * shifted.actions[:, 0])
    np.testing.assert_allclose(shifted.observations[1:, 1], expected, atol=1e-14)


def test_inputs_are_shifted_one_by_one() -> None:
    run = Trajectory(np.zeros((6, 1)), np.stack([np.arange(5.0), 10.0 + np.arange(5.0)], axis=1))
    (shifted,) = with_input_delay(run, [2, 0])
    np.testing.assert_array_equal(shifted.actions, [[0.0, 12.0], [1.0, 13.0], [2.0, 14.0]])
    (same,) = with_input_delay(run, 0)
    np.testing.assert_array_equal(same.actions, run.actions)


def test_taking_the_delay_out_makes_the_fit_exact() -> None:
    data = [delayed((3,), seed=seed) for seed in range(4)]
    features = SampledFeatures(20, steepness=0.5, random_state=0)
    settings: dict[str, Any] = {"coupling": "bilinear", "horizon": 10}
    before, after = (
        EDMDc(features, **settings).fit(runs).choices_[0].score
        for runs in (data, with_input_delay(data, estimate_input_delay(data).delays))
    )
    assert after < 0.02 * before


def test_runs_too_short_for_the_delay_are_left_out() -> None:
    data = [delayed((1,), n_steps=30), delayed((1,), n_steps=3)]
    with pytest.warns(UserWarning, match="1 of 2 trajectories are not longer than the delay"):
        assert [len(run) for run in with_input_delay(data, 4)] == [26]
    with pytest.raises(ValueError, match="longest trajectory has 3 steps"):
        with_input_delay(data[1], 3)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        with_input_delay(data, 2)


def test_arguments_that_do_not_fit_are_named() -> None:
    run = delayed((1,), n_steps=20)
    with pytest.raises(ValueError, match="max_delay is 30, but the longest trajectory has 20"):
        estimate_input_delay(run, 30)
    with pytest.raises(ValueError, match="data holds 10 samples with 10 earlier inputs"):
        estimate_input_delay(run)
    with pytest.raises(ValueError, match="delay has 2 entries"):
        with_input_delay(run, [1, 2])
    with pytest.raises(ValueError, match="delay is -2"):
        with_input_delay(run, -2)
