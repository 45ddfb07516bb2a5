from typing import Any

import gymnasium as gym
import numpy as np
import pytest

from koopman_control.common import Array
from koopman_control.trajectories import (
    CollectionInterrupted,
    HeldUniform,
    Multisine,
    OrnsteinUhlenbeck,
    Trajectory,
    collect,
    total_steps,
)


class Counter(gym.Env[Any, Any]):
    """Observation (step, last action); terminates after `length` steps."""

    dt = 0.5
    observation_space = gym.spaces.Box(-np.inf, np.inf, (2,), dtype=np.float64)
    action_space = gym.spaces.Box(-0.1, 0.1, (1,), dtype=np.float32)

    def __init__(self, length: int = 7) -> None:
        self.length, self.total, self.seeds, self.closed = length, 0, list[int | None](), False

    def reset(
        self, *, seed: int | None = None, options: dict[str, Any] | None = None
    ) -> tuple[Array, dict[str, Any]]:
        super().reset(seed=seed)
        self.seeds.append(seed)
        self.k = 0
        return np.zeros(2), {}

    def step(self, action: Any) -> tuple[Array, float, bool, bool, dict[str, Any]]:
        assert action.dtype == np.float32
        assert self.action_space.contains(action)
        self.k, self.total = self.k + 1, self.total + 1
        return np.array([self.k, action[0]]), float(self.k), self.k == self.length, False, {}

    def close(self) -> None:
        self.closed = True


class Constant:
    """A controller that always wants the same action and counts its resets."""

    def __init__(self, *action: float) -> None:
        self.action, self.resets = np.array(action), 0

    def reset(self) -> None:
        self.resets += 1

    def act(self, observation: Array) -> Array:
        observation[:] = np.nan  # a controller must not be able to spoil the record
        return self.action


def assert_same(left: list[Trajectory], right: list[Trajectory]) -> None:
    assert len(left) == len(right)
    for a, b in zip(left, right, strict=True):
        np.testing.assert_array_equal(a.observations, b.observations)
        np.testing.assert_array_equal(a.actions, b.actions)
        assert a.seed == b.seed


def test_it_stops_exactly_at_the_budget_and_marks_the_cut() -> None:
    env = Counter(length=7)
    runs = collect(env, n_steps=17)
    assert [len(run) for run in runs] == [7, 7, 3]
    assert [run.terminated for run in runs] == [True, True, False]
    assert [run.truncated for run in runs] == [False, False, True]
    assert total_steps(runs) == env.total == 17


def test_an_episode_that_ends_with_the_budget_is_not_followed_by_another() -> None:
    env = Counter(length=7)
    assert [len(run) for run in collect(env, n_steps=14)] == [7, 7]
    assert len(env.seeds) == 2


def test_it_counts_episodes_too() -> None:
    assert [len(run) for run in collect(Counter(), n_episodes=3)] == [7, 7, 7]


def test_what_is_stored_is_what_was_applied_and_seen() -> None:
    (run,) = collect(Counter(length=4), n_episodes=1)
    np.testing.assert_array_equal(run.observations[:, 0], np.arange(5))
    np.testing.assert_array_equal(run.observations[1:], np.c_[np.arange(1, 5), run.actions])
    assert run.rewards is not None
    np.testing.assert_array_equal(run.rewards, [1, 2, 3, 4])
    assert run.dt == 0.5
    assert run.action_bounds is not None
    np.testing.assert_array_equal(run.action_bounds, np.array([[-0.1], [0.1]], np.float32))


def test_actions_beyond_the_box_are_clipped_and_stored_clipped() -> None:
    (run,) = collect(Counter(), Constant(5.0), n_episodes=1)
    np.testing.assert_array_equal(run.actions, np.float32(0.1))


def test_controllers_are_reset_before_every_episode() -> None:
    controller = Constant(0.05)
    collect(Counter(), controller, n_episodes=3)
    assert controller.resets == 3


def test_an_episode_is_broken_off_where_asked_and_every_step_counts() -> None:
    env = Counter(length=7)
    runs = collect(env, n_steps=10, until=lambda observation: observation[0] >= 4)
    assert [len(run) for run in runs] == [4, 4, 2]
    assert env.total == 10
    assert [run.observations[-1, 0] for run in runs] == [4, 4, 2]
    assert all(run.truncated and not run.terminated for run in runs)


def test_an_episode_lasts_a_step_even_where_it_would_be_broken_off_at_once() -> None:
    runs = collect(Counter(), n_steps=3, until=lambda observation: True)
    assert [len(run) for run in runs] == [1, 1, 1]


def test_noise_is_added_about_the_controllers_action() -> None:
    (run,) = collect(
        Counter(length=5000),
        Constant(0.05),
        n_episodes=1,
        noise=OrnsteinUhlenbeck(correlation_steps=1, scale=0.05),
    )
    assert run.actions.mean() == pytest.approx(0.05, abs=1e-3)
    assert run.actions.std() == pytest.approx(0.005, rel=0.1)


def test_a_signal_is_applied_open_loop() -> None:
    (run,) = collect(Counter(length=50), Multisine(2, 25), n_episodes=1)
    np.testing.assert_allclose(run.actions[25:], run.actions[:25], atol=1e-8)


def test_the_same_seed_gives_the_same_bits_and_another_seed_others() -> None:
    a, b, c = (collect("Pendulum-v1", n_steps=250, seed=s) for s in (1, 1, 2))
    assert_same(a, b)
    assert (a[0].observations != c[0].observations).any()
    assert a[0].seed != c[0].seed


def test_a_longer_collection_begins_with_the_shorter_one() -> None:
    short = collect("Pendulum-v1", n_steps=400, seed=3)
    assert_same(collect("Pendulum-v1", n_steps=600, seed=3)[:2], short)


def test_the_first_reset_seed_of_seed_0_never_changes() -> None:
    (run,) = collect("Pendulum-v1", n_steps=1, seed=0)
    assert run.seed == np.random.SeedSequence((0, 0)).generate_state(1)[0] == 2968811710


def test_the_stored_seed_reproduces_the_episode() -> None:
    run = collect("Pendulum-v1", n_steps=300, seed=4)[1]
    env = gym.make("Pendulum-v1")
    observation, _ = env.reset(seed=run.seed)
    np.testing.assert_array_equal(observation, run.observations[0])
    for action, expected in zip(run.actions, run.observations[1:], strict=True):
        observation, *_ = env.step(action.astype(np.float32))
        np.testing.assert_array_equal(observation, expected)


def test_what_is_known_of_the_environment_is_kept() -> None:
    (run,) = collect("koopman_envs/VanDerPol-v0", n_episodes=1)
    assert (len(run), run.dt, run.env_id) == (400, 0.01, "koopman_envs/VanDerPol-v0")
    assert run.truncated
    assert run.observation_bounds is not None
    np.testing.assert_array_equal(run.observation_bounds[1], [3.0, 6.0, 0.6])


def test_every_step_is_reported() -> None:
    counts: list[int] = []
    collect(Counter(), n_steps=10, on_step=counts.append)
    assert counts == list(range(1, 11))


def test_ctrl_c_hands_over_what_was_measured() -> None:
    def interrupt(steps: int) -> None:
        if steps == 10:
            raise KeyboardInterrupt

    with pytest.raises(CollectionInterrupted, match="after 10 steps") as caught:
        collect(Counter(length=7), n_steps=100, on_step=interrupt)
    assert [len(run) for run in caught.value.trajectories] == [7, 3]
    assert caught.value.trajectories[1].truncated
    assert isinstance(caught.value, KeyboardInterrupt)


def test_ctrl_c_before_the_first_step_hands_over_nothing() -> None:
    class Stuck(Counter):
        def reset(self, **_: Any) -> Any:
            raise KeyboardInterrupt

    with pytest.raises(CollectionInterrupted) as caught:
        collect(Stuck(), n_steps=10)
    assert caught.value.trajectories == []


def test_an_environment_that_was_given_stays_open() -> None:
    env = Counter()
    collect(env, n_steps=3)
    assert not env.closed


def test_exactly_one_budget_must_be_given() -> None:
    for both in ({}, {"n_steps": 3, "n_episodes": 1}):
        with pytest.raises(ValueError, match="exactly one"):
            collect(Counter(), **both)  # type: ignore[arg-type]
    with pytest.raises(ValueError, match="n_steps is 0"):
        collect(Counter(), n_steps=0)
    with pytest.raises(ValueError, match="seed is -1"):
        collect(Counter(), n_steps=1, seed=-1)


def test_an_unknown_policy_or_noise_is_refused() -> None:
    with pytest.raises(TypeError, match="policy is 'zero'"):
        collect(Counter(), "zero", n_steps=1)
    with pytest.raises(TypeError, match=r"noise is 0\.1"):
        collect(Counter(), Constant(0.0), n_steps=1, noise=0.1)  # type: ignore[arg-type]
    with pytest.raises(ValueError, match="noise is for controllers"):
        collect(Counter(), "random", n_steps=1, noise=HeldUniform())


def test_an_action_of_the_wrong_shape_or_not_finite_is_refused() -> None:
    with pytest.raises(ValueError, match=r"the action of Constant has shape \(2,\); expected \(1"):
        collect(Counter(), Constant(0.0, 0.0), n_steps=1)
    with pytest.raises(ValueError, match="the action of Constant holds nan"):
        collect(Counter(), Constant(np.nan), n_steps=1)


def test_an_observation_that_is_not_finite_is_refused_with_its_step() -> None:
    class Broken(Counter):
        def step(self, action: Any) -> tuple[Array, float, bool, bool, dict[str, Any]]:
            observation, *rest = super().step(action)
            return (observation * np.nan if self.k == 3 else observation, *rest)  # type: ignore[return-value]

    with pytest.raises(ValueError, match=r"Broken.* gave the observation .* in step 2"):
        collect(Broken(), n_steps=10)
