from typing import Any

import gymnasium as gym
import numpy as np
import pytest

from koopman_envs import ODEEnv, ODEVectorEnv

Env = type[ODEEnv]
Envs = type[ODEVectorEnv]


def test_each_copy_follows_the_single_environment_through_ends_and_resets(
    oscillator: Env, oscillators: Envs
) -> None:
    options: dict[str, Any] = {"observation_noise": 0.1, "actuator_delay": 1, "observed": [1]}
    singles = [lambda: gym.wrappers.TimeLimit(oscillator(**options), 8)] * 6
    one_by_one = gym.vector.SyncVectorEnv(singles)
    together = oscillators(6, max_episode_steps=8, **options)
    np.testing.assert_array_equal(one_by_one.reset(seed=5)[0], together.reset(seed=5)[0])
    ends = np.zeros(2)
    for _ in range(60):
        actions = together.action_space.sample()
        expected, got = one_by_one.step(actions), together.step(actions)
        for one, other in zip(expected[:4], got[:4], strict=True):
            np.testing.assert_array_equal(one, other)
        np.testing.assert_equal(got[4], expected[4])
        ends += [got[2].sum(), got[3].sum()]
    assert (ends > 0).all()  # some episodes ended in either way


def test_spaces_are_those_of_gymnasiums_vector(oscillator: Env, oscillators: Envs) -> None:
    one_by_one, together = gym.vector.SyncVectorEnv([oscillator] * 3), oscillators(3)
    assert one_by_one.observation_space == together.observation_space
    assert one_by_one.action_space == together.action_space
    assert one_by_one.single_observation_space == together.single_observation_space
    assert one_by_one.single_action_space == together.single_action_space
    assert one_by_one.metadata["autoreset_mode"] == together.metadata["autoreset_mode"]


def test_a_list_of_seeds_gives_each_copy_its_own(oscillator: Env, oscillators: Envs) -> None:
    observations, _ = oscillators(2).reset(seed=[11, 4])
    np.testing.assert_array_equal(observations[1], oscillator().reset(seed=4)[0])


def test_a_reset_without_a_seed_goes_on_with_the_generators(
    oscillator: Env, oscillators: Envs
) -> None:
    env, envs = oscillator(), oscillators(2)
    env.reset(seed=3)
    envs.reset(seed=3)
    np.testing.assert_array_equal(envs.reset()[0][0], env.reset()[0])


def test_copies_start_from_one_chosen_state_or_from_one_each(oscillators: Envs) -> None:
    envs = oscillators(2)
    envs.reset(options={"state": [0.1, 0.2]})
    np.testing.assert_array_equal(envs.states, [[0.1, 0.2], [0.1, 0.2]])
    envs.reset(options={"state": [[0.1, 0.2], [0.3, 0.4]], "reference": [[1.0], [2.0]]})
    np.testing.assert_array_equal(envs.states, [[0.1, 0.2], [0.3, 0.4]])
    np.testing.assert_array_equal(envs.references, [[1.0], [2.0]])


def test_what_was_returned_does_not_change_later(oscillators: Envs) -> None:
    envs = oscillators(4)
    envs.reset(seed=0)
    results = envs.step(np.zeros((4, 1), np.float32))
    before = [np.array(part) for part in results[:4]]
    violation = results[4]["violation"].copy()
    envs.step(np.ones((4, 1), np.float32))
    for part, copy in zip(results[:4], before, strict=True):
        np.testing.assert_array_equal(part, copy)
    np.testing.assert_array_equal(results[4]["violation"], violation)


@pytest.mark.parametrize(
    ("actions", "message"),
    [
        (np.zeros(2), r"actions have shape \(2,\); OscillatorVector expects \(2, 1\)"),
        (np.array([[0.0], [np.nan]]), "expects finite numbers"),
    ],
)
def test_impossible_actions_are_refused_and_change_nothing(
    oscillators: Envs, actions: Any, message: str
) -> None:
    envs = oscillators(2)
    envs.reset(seed=0)
    before = envs.states
    with pytest.raises(ValueError, match=message):
        envs.step(actions)
    np.testing.assert_array_equal(envs.states, before)


def test_episodes_must_begin_before_their_first_step(oscillators: Envs) -> None:
    with pytest.raises(gym.error.ResetNeeded, match=r"call reset\(\) first"):
        oscillators(2).step(np.zeros((2, 1), np.float32))


@pytest.mark.parametrize("count", [0, 1.5, True])
def test_an_impossible_number_of_copies_is_refused(oscillators: Envs, count: Any) -> None:
    with pytest.raises((TypeError, ValueError), match=f"num_envs is {count}; expected"):
        oscillators(count)


def test_a_list_of_seeds_of_another_length_is_refused(oscillators: Envs) -> None:
    with pytest.raises(ValueError, match="seed has 3 entries; expected 2"):
        oscillators(2).reset(seed=[1, 2, 3])


def test_every_copy_has_its_picture(oscillators: Envs) -> None:
    pytest.importorskip("pygame")
    envs = oscillators(3, render_mode="rgb_array")
    envs.reset(options={"state": [[0.0, 0.0], [0.5, 0.0], [0.5, 0.0]]})
    pictures = envs.render()
    assert pictures is not None
    assert [picture.shape for picture in pictures] == [(500, 500, 3)] * 3
    np.testing.assert_array_equal(pictures[1], pictures[2])
    assert oscillators(3).render() is None


def test_an_unknown_render_mode_is_refused(oscillators: Envs) -> None:
    with pytest.raises(ValueError, match="render_mode is 'human'"):
        oscillators(2, render_mode="human")
