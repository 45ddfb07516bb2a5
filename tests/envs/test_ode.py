from typing import Any

import gymnasium as gym
import numpy as np
import pytest

from koopman_envs import ODEEnv

Env = type[ODEEnv]


def test_one_step_holds_the_scaled_input_over_all_substeps(oscillator: Env) -> None:
    env = oscillator()
    env.reset(options={"state": [1.0, 0.0]})
    observation, reward, terminated, truncated, info = env.step(np.array([0.25], np.float32))
    # Action 0.25 is u = 1.5; x1'' = -x1 + 1.5 from (1, 0): x1 = 1.5 - 0.5 cos t, x2 = 0.5 sin t.
    exact = [1.5 - 0.5 * np.cos(0.1), 0.5 * np.sin(0.1), 0.0]
    np.testing.assert_allclose(observation, exact, atol=1e-9)
    assert reward == -(1.0 + 1.5**2)  # of the state before the step
    assert (terminated, truncated) == (False, False)
    assert info["violation"] == pytest.approx(observation[0] - 1.0)
    assert info["violations"] == {"high": info["violation"], "low": 0.0}


def test_the_reference_is_seen_before_it_counts(oscillator: Env) -> None:
    env = oscillator()
    first, _ = env.reset(options={"state": [0.0, 0.0], "reference": [8.0]})
    second, reward, *_ = env.step(np.array([-0.5], np.float32))
    assert (first[2], second[2], reward) == (8.0, 4.0, -800.0)


def test_a_stop_holds_the_state_after_the_step(oscillator: Env) -> None:
    env = oscillator()
    env.reset(options={"state": [1.0, 1.0]})
    steps = [env.step(np.array([0.25], np.float32)) for _ in range(15)]
    # x1 = 1.5 + 1.12 sin(...) would pass 2.6; x2 stays within 1.12.
    assert max(observation[0] for observation, *_ in steps) == 2.0
    assert max(info["violation"] for *_, info in steps) == 1.0


def test_leaving_the_admissible_set_ends_the_episode(oscillator: Env) -> None:
    env = oscillator()
    env.reset(options={"state": [0.0, 1.0]})
    ended = [env.step(np.array([1.0], np.float32))[2] for _ in range(2)]
    assert ended == [False, True]  # x2 = cos t + 3 sin t passes 1.5 between 0.1 and 0.2
    with pytest.raises(gym.error.ResetNeeded, match="is over or has not begun"):
        env.step(np.array([1.0], np.float32))


def test_an_episode_must_begin_before_its_first_step(oscillator: Env) -> None:
    with pytest.raises(gym.error.ResetNeeded, match=r"call reset\(\) first"):
        oscillator().step(np.array([0.0], np.float32))


def test_actions_beyond_the_box_are_clipped(oscillator: Env) -> None:
    env = oscillator()
    results = []
    for action in (1.0, 7.0):
        env.reset(options={"state": [0.0, 0.0]})
        results.append(env.step(np.array([action], np.float32))[0])
    np.testing.assert_array_equal(results[0], results[1])


@pytest.mark.parametrize(
    ("action", "message"),
    [
        ([np.nan], "expects finite"),
        ([np.inf], "expects finite"),
        ([0.0, 0.0], r"shape \(2,\); Oscillator expects \(1,\)"),
    ],
)
def test_impossible_actions_are_refused_and_change_nothing(
    oscillator: Env, action: list[float], message: str
) -> None:
    env = oscillator()
    env.reset(seed=0)
    before = env.state
    with pytest.raises(ValueError, match=message):
        env.step(np.array(action, np.float32))
    np.testing.assert_array_equal(env.state, before)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"stat": [0.0, 0.0]}, r"unknown reset option 'stat'; known are \['reference', 'state'\]"),
        ({"state": [0.0]}, r"shape \(1,\); expected \(2,\)"),
        ({"state": [0.0, 1.1]}, r"holds 1.1 at index \(1,\); expected a number from -1.0 to 1.0"),
        ({"state": [0.0, np.nan]}, r"holds nan at index \(1,\)"),
        ({"reference": [-0.1]}, r"holds -0.1 at index \(0,\); expected a number from 0.0"),
        ({"reference": [0.0, 0.0]}, r"shape \(2,\); expected \(1,\)"),
    ],
)
def test_impossible_reset_options_are_refused(
    oscillator: Env, options: dict[str, Any], message: str
) -> None:
    with pytest.raises(ValueError, match=message):
        oscillator().reset(options=options)


def test_an_unknown_render_mode_is_refused(oscillator: Env) -> None:
    with pytest.raises(ValueError, match="render_mode is 'ascii'"):
        oscillator(render_mode="ascii")


def test_without_a_render_mode_there_is_no_picture(oscillator: Env) -> None:
    env = oscillator()
    env.reset(seed=0)
    assert env.render() is None


def test_a_window_opens_shows_and_closes(oscillator: Env, monkeypatch: pytest.MonkeyPatch) -> None:
    pytest.importorskip("pygame")
    monkeypatch.setenv("SDL_VIDEODRIVER", "dummy")
    env = oscillator(render_mode="human")
    env.reset(seed=0)
    env.step(np.array([0.0], np.float32))
    assert env.render() is None
    env.close()
    env.close()
