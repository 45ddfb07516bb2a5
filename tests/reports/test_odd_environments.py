"""What environments return that is no observation and no reward (nearest: pykoop #193).

All that was measured before is kept.
"""

import pickle
from collections.abc import Callable
from typing import Any

import gymnasium as gym
import numpy as np
import pytest
from gymnasium.vector import SyncVectorEnv

from koopman_control import (
    EDMDc,
    KoopmanMPC,
    LiftedModel,
    PolynomialFeatures,
    collect,
    evaluate,
    learn,
)
from koopman_control.common.arrays import Array
from koopman_control.evaluation import ZeroPolicy
from koopman_control.trajectories import CollectionFailed, total_steps

ZERO = ZeroPolicy([[-1.0], [1.0]])


class Odd(gym.Env[Any, Any]):
    """Four steps an episode; from step `since` on, counted over all, its answers are odd."""

    observation_space = gym.spaces.Box(-1e3, 1e3, (2,), np.float32)
    action_space = gym.spaces.Box(-1.0, 1.0, (1,), np.float32)

    def __init__(self, since: int = 0, **odd: Callable[[Any], Any]) -> None:
        self.since, self.odd, self.count = since, odd, 0

    def _said(self, what: str, value: Any) -> Any:
        return self.odd[what](value) if what in self.odd and self.count >= self.since else value

    def reset(self, *, seed: int | None = None, options: Any = None) -> Any:
        super().reset(seed=seed)
        self.x, self.steps = self.np_random.normal(size=2), 0
        return self._said("reset", (self._said("observation", self.x), {}))

    def step(self, action: Any) -> Any:
        self.x, self.steps, self.count = (
            0.9 * self.x + 0.1 * action[0],
            self.steps + 1,
            1 + self.count,
        )
        answer = (
            self._said("observation", self.x),
            self._said("reward", -1.0),
            self._said("terminated", False),
            self.steps >= 4,
            self._said("info", {}),
        )
        return self._said("step", answer)


def raises(_: Any) -> Any:
    raise RuntimeError("the simulator lost contact")


ACCEPTED: list[dict[str, Callable[[Any], Any]]] = [
    {"observation": list},
    {"observation": tuple},
    {"observation": lambda x: x.astype(np.float16)},
    {"observation": lambda x: (10 * x).astype(int)},
    {"reward": lambda r: np.array([r])},
    {"reward": np.array},
    {"reward": int},
    {"reward": np.float32},
    {"terminated": lambda _: np.array([False])},
    {"info": lambda _: None},
]
REFUSED: list[tuple[dict[str, Callable[[Any], Any]], str]] = [
    ({"observation": lambda x: x[:, None]}, r"observation .* of shape \(2, 1\).*flatten it"),
    ({"observation": lambda x: x[None]}, r"observation .* of shape \(1, 2\).*flatten it"),
    ({"observation": lambda x: np.append(x, 0.0)}, r"of shape \(3,\).*expected shape \(2,\)"),
    ({"observation": lambda x: x[:1]}, r"of shape \(1,\).*expected shape \(2,\)"),
    ({"observation": lambda x: {"x": x}}, "observation {'x': .*FlattenObservation"),
    ({"observation": lambda x: "x"}, "observation 'x' .*expected real numbers"),
    ({"observation": lambda x: ["0.1", "0.2"]}, "expected real numbers"),
    ({"observation": lambda x: [[0.1], [0.2, 0.3]]}, "expected real numbers"),
    ({"observation": lambda x: None}, "observation None .*expected real numbers"),
    ({"observation": lambda x: x + 1j}, "expected real numbers"),
    ({"observation": lambda x: x * np.nan}, "expected finite numbers"),
    ({"reward": lambda r: None}, "reward None in step .*expected one finite number"),
    ({"reward": lambda r: np.array([r, r])}, "expected one finite number"),
    ({"reward": lambda r: "-1"}, "reward '-1' in step"),
    ({"reward": lambda r: np.inf}, "reward inf in step"),
    ({"terminated": lambda _: [False, True]}, r"gave terminated \[False, True\] in step"),
    ({"terminated": lambda _: None}, "gave terminated None in step"),
    ({"info": lambda _: "fine"}, "the info 'fine' in step"),
    ({"step": lambda answer: answer[:4]}, "gave 4 values in step .*expected the five"),
    ({"step": raises}, "raised RuntimeError in step .*: the simulator lost contact"),
    ({"reset": lambda answer: answer[0]}, r"at the reset .*expected the pair"),
    ({"reset": raises}, "raised RuntimeError at the reset with .*: the simulator lost contact"),
]


@pytest.mark.parametrize("odd", ACCEPTED)
def test_other_kinds_of_numbers_are_taken(odd: dict[str, Any]) -> None:
    assert evaluate(ZERO, Odd(**odd), seeds=[0]).lengths.tolist() == [4]
    (run,) = collect(Odd(**odd), n_episodes=1)
    assert run.observations.shape == (5, 2)


@pytest.mark.parametrize(("odd", "message"), REFUSED)
def test_what_is_wrong_at_once_is_said_at_once(odd: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        evaluate(ZERO, Odd(**odd), seeds=[0])
    steps: list[int] = []
    with pytest.raises(CollectionFailed, match=message) as failed:
        collect(Odd(**odd), n_steps=2000, on_step=steps.append)
    assert failed.value.trajectories == [] and steps == []


@pytest.mark.parametrize(("odd", "message"), REFUSED)
def test_a_late_fault_loses_nothing(odd: dict[str, Any], message: str) -> None:
    late = Odd(since=11, **odd)  # in the last step of the third episode, or before the fourth
    with pytest.raises(CollectionFailed, match=message) as failed:
        collect(late, n_steps=2000)
    lengths = [len(run) for run in failed.value.trajectories]
    assert lengths == ([4, 4, 4] if "reset" in odd else [4, 4, 2])
    whole = collect(Odd(), n_steps=2000)
    np.testing.assert_array_equal(
        failed.value.trajectories[2].observations, whole[2].observations[: lengths[2] + 1]
    )
    again = pickle.loads(pickle.dumps(failed.value))
    assert str(again) == str(failed.value) and len(again.trajectories) == 3


@pytest.mark.parametrize("workers", [1, 2])
def test_an_evaluation_keeps_the_episodes_before_a_fault(workers: int) -> None:
    class Thirteenth(Odd):  # local classes travel to workers by value
        def reset(self, *, seed: int | None = None, options: Any = None) -> Any:
            answer = super().reset(seed=seed)
            return (answer[0][:1], {}) if seed == 13 else answer

    with pytest.raises(ValueError, match="at the reset with seed 13") as failed:
        evaluate(ZERO, Thirteenth(), seeds=range(10, 16), workers=workers)
    assert failed.value.evaluation.seeds == (10, 11, 12)  # type: ignore[attr-defined]
    assert failed.value.evaluation.returns.tolist() == [-4.0] * 3  # type: ignore[attr-defined]


def test_a_fault_of_the_controller_keeps_what_was_measured_and_its_kind() -> None:
    class Tires:
        def reset(self) -> None:
            pass

        def act(self, observation: Array) -> Array:
            if env.count == 6:
                raise OverflowError("too far")
            return np.zeros(1)

    env = Odd()
    with pytest.raises(OverflowError, match="too far") as failed:
        collect(env, Tires(), n_steps=100)
    assert [len(run) for run in failed.value.trajectories] == [4, 2]  # type: ignore[attr-defined]
    env = Odd()
    with pytest.raises(OverflowError, match="too far") as failed:
        evaluate(Tires(), env, seeds=range(5))
    assert failed.value.evaluation.seeds == (0,)  # type: ignore[attr-defined]
    with pytest.raises(ValueError, match=r"the controller returned the action \{\} in step 0"):
        evaluate(Answers({}), Odd(), seeds=[0])


class Answers:
    def __init__(self, action: Any) -> None:
        self.action = action

    def reset(self) -> None:
        pass

    def act(self, observation: Array) -> Any:
        return self.action


def test_learning_keeps_what_was_measured_when_the_controller_cannot_be_made() -> None:
    def impossible(model: LiftedModel) -> KoopmanMPC:
        raise LookupError("no such horizon")

    with pytest.raises(LookupError) as failed:
        learn(
            Odd(),
            EDMDc(PolynomialFeatures(1), n_folds=0, regularization=1.0),
            impossible,
            n_steps=300,
            first_steps=200,
        )
    assert total_steps(failed.value.trajectories) == 200  # type: ignore[attr-defined]


def test_a_vector_environment_is_checked_likewise() -> None:
    class Two:
        def reset(self) -> None:
            pass

        def act(self, observation: Array) -> Array:
            return np.zeros(1)

        def batch(self, n_copies: int) -> Any:
            many: Any = Answers(np.zeros((n_copies, 1)))
            many.fallback = np.zeros(n_copies, dtype=bool)
            return many

    def vector(**odd: Callable[[Any], Any]) -> SyncVectorEnv:
        return SyncVectorEnv([lambda: Odd(since=1, **odd)] * 2)

    assert evaluate(Two(), vector(), seeds=range(2)).lengths.tolist() == [4, 4]
    with pytest.raises(ValueError, match="raised RuntimeError in step 0 of the episodes with"):
        evaluate(Two(), vector(step=raises), seeds=range(2))
    with pytest.raises(ValueError, match=r"observations .* in step 0 .*finite numbers"):
        evaluate(Two(), vector(observation=lambda x: x * np.nan), seeds=range(2))
