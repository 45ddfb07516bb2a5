"""From an environment's steps alone to a controller."""

from pathlib import Path
from typing import Any

import gymnasium as gym
import numpy as np
import pytest

from koopman_control.autopilot import Autopilot, Levers
from koopman_control.autopilot.controller import Held, PilotController
from koopman_control.common.arrays import Array
from koopman_control.evaluation import ZeroPolicy, evaluate
from koopman_control.trajectories import CollectionFailed, total_steps


class Cart(gym.Env[Array, Array]):
    """A mass on a line, pushed with a force; the nearer to zero, the better."""

    observation_space = gym.spaces.Box(-np.inf, np.inf, (2,), np.float64)
    action_space = gym.spaces.Box(-1.0, 1.0, (1,), np.float64)
    dt = 0.2

    def __init__(
        self, reward: float | None = None, ends_after: int = 60, fails_at: int = -1
    ) -> None:
        self._reward, self._ends_after, self._fails_at = reward, ends_after, fails_at
        self._total = 0

    def reset(
        self, *, seed: int | None = None, options: Any = None
    ) -> tuple[Array, dict[str, Any]]:
        super().reset(seed=seed)
        self._x, self._k = self.np_random.uniform(-1.0, 1.0, 2), 0
        return self._x.copy(), {}

    def step(self, action: Array) -> tuple[Array, float, bool, bool, dict[str, Any]]:
        u, dt = float(action[0]), self.dt
        paid = -float(self._x @ self._x) - 0.1 * u**2 if self._reward is None else self._reward
        self._x = np.array([[1.0, dt], [0.0, 1.0]]) @ self._x + np.array([0.5 * dt**2, dt]) * u
        self._k, self._total = self._k + 1, self._total + 1
        if self._total == self._fails_at:
            raise RuntimeError("the cable broke")
        short = self._ends_after < 10
        over = self._k >= self._ends_after
        return self._x.copy(), paid, over and short, over and not short, {}


def best_return(seed: int) -> float:
    """Return of the linear-quadratic regulator, by dynamic programming over the episode."""
    A, B = np.array([[1.0, 0.2], [0.0, 1.0]]), np.array([[0.02], [0.2]])
    P, gains = np.zeros((2, 2)), []
    for _ in range(60):
        K = np.linalg.solve(0.1 + B.T @ P @ B, B.T @ P @ A)
        P = np.eye(2) + A.T @ P @ (A - B @ K)
        gains.append(K)
    env = Cart()
    x, total = env.reset(seed=seed)[0], 0.0
    for K in reversed(gains):
        x, r, *_ = env.step(np.clip(-K @ x, -1.0, 1.0))
        total += r
    return total


@pytest.mark.slow
def test_a_cart_is_brought_to_rest_nearly_as_well_as_by_the_optimal_regulator() -> None:
    learned = Autopilot(400, seed=20).learn(Cart())
    seeds = range(20_000, 20_005)
    returns = evaluate(learned.controller, Cart(), seeds).returns
    best = np.array([best_return(seed) for seed in seeds])
    assert returns.mean() > 1.05 * best.mean()  # its decisions last four steps
    assert (returns > best - 0.5).all()
    assert total_steps(learned.data) == 400
    assert learned.reward.r2 > 0.999
    assert learned.rounds[-1].steps < 400 and not learned.end.n_ends
    assert any("R2" in note for note in learned.notes)
    assert any("concave quadratic" in note for note in learned.notes)
    assert isinstance(learned.controller, Held)


@pytest.mark.slow
def test_the_same_seed_learns_the_same_to_the_last_bit_also_after_an_interruption(
    tmp_path: Path,
) -> None:
    class Stop(Exception):
        pass

    def stop(step: int) -> None:
        if step == 250:
            raise Stop

    settings = Autopilot(300, seed=21, levers=Levers(value=False))
    with pytest.raises(Stop) as stopped:
        settings.learn(Cart(), on_step=stop, checkpoint=tmp_path)
    assert total_steps(stopped.value.trajectories) == 250  # type: ignore[attr-defined]
    counted: list[int] = []
    once = settings.learn(Cart(), on_step=counted.append, checkpoint=tmp_path)
    again = settings.learn(Cart())
    assert counted[-1] == 300
    np.testing.assert_array_equal(once.model.A, again.model.A)
    np.testing.assert_array_equal(once.data[-1].actions, again.data[-1].actions)


@pytest.mark.slow
def test_a_reward_of_ones_own_and_a_reference_take_the_place_of_the_environments() -> None:
    aims = (
        {"reward": lambda y, u, y_next: -((y_next[:, 0] - 0.5) ** 2)},
        {"reference": [0.5, np.nan]},
    )
    for aim in aims:
        learned = Autopilot(300, seed=22, **aim).learn(Cart(reward=0.0))
        episode = evaluate(learned.controller, Cart(), [20_000]).episodes[0]
        np.testing.assert_allclose(episode.observations[-10:, 0], 0.5, atol=0.1)


@pytest.mark.slow
def test_where_no_controller_does_better_nothing_is_done_and_said_so(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(PilotController, "act", lambda self, observation: np.ones(1))
    levers = Levers(value=False, quadratic=False)
    learned = Autopilot(1200, seed=24, levers=levers).learn(Cart())
    assert isinstance(learned.controller, ZeroPolicy)
    assert "no controller earned more in its test than doing nothing" in learned.notes[-2]
    assert total_steps(learned.data) == 1200


@pytest.mark.slow
def test_an_end_of_ones_own_is_avoided_where_staying_pays() -> None:
    too_far = {"done": lambda y: y[:, 0] > 0.3, "reward": lambda y, u, y_next: 1.0 + y_next[:, 0]}
    learned = Autopilot(400, seed=23, **too_far).learn(Cart())  # type: ignore[arg-type]
    assert learned.end.n_ends
    np.testing.assert_allclose(learned.end.box[1, 0], 0.3, atol=0.1)
    x = evaluate(learned.controller, Cart(), [20_003]).episodes[0].observations[-20:, 0]
    assert -0.5 < x.min() and x.max() < 0.35


@pytest.mark.slow
def test_a_reward_that_never_changes_is_nothing_to_learn_from_and_the_data_are_kept() -> None:
    with pytest.raises(ValueError, match="reward was 0 in all 300 steps; give reward=") as said:
        Autopilot(300, seed=20, levers=Levers(value=False)).learn(Cart(reward=0.0))
    assert total_steps(said.value.trajectories) == 300  # type: ignore[attr-defined]


def test_episodes_that_end_at_once_are_refused_in_words() -> None:
    with pytest.raises(ValueError, match=r"end after 1\.0 steps in the mean") as said:
        Autopilot(300, seed=20).learn(Cart(ends_after=1))
    assert total_steps(said.value.trajectories) >= 100  # type: ignore[attr-defined]


def test_a_budget_that_is_too_small_is_told_how_much_is_needed() -> None:
    with pytest.raises(ValueError, match="budget is 60; expected at least 134 steps for 2 obs"):
        Autopilot(60).learn(Cart())


def test_an_environment_that_breaks_leaves_what_was_collected() -> None:
    with pytest.raises(CollectionFailed, match="the cable broke") as said:
        Autopilot(300, seed=20, levers=Levers(value=False)).learn(Cart(fails_at=210))
    assert total_steps(said.value.trajectories) == 209


def test_a_reward_that_is_no_number_is_refused_in_words() -> None:
    with pytest.raises(CollectionFailed, match="gave the reward nan"):
        Autopilot(300).learn(Cart(reward=float("nan")))


def test_discrete_actions_are_refused_in_words() -> None:
    with pytest.raises(TypeError, match="discrete"):
        Autopilot(300).learn("CartPole-v1")


def test_what_a_user_gives_is_checked() -> None:
    with pytest.raises(ValueError, match="what reward returns"):
        Autopilot(300, reward=lambda y, u, y_next: y_next).learn(Cart())
    with pytest.raises(ValueError, match="reference and reward are both given"):
        Autopilot(300, reward=lambda y, u, y_next: y_next[:, 0], reference=[0.0, 0.0])
