"""Environments that change the action, or the observation, they were given (CALVIN #29)."""

from typing import Any

import gymnasium as gym
import numpy as np
import pytest
from gymnasium.vector import SyncVectorEnv

from koopman_control import EDMDc, KoopmanMPC, PolynomialFeatures, Trajectory, collect, evaluate
from koopman_control.common.arrays import Array


class InPlace(gym.Env[Any, Any]):
    """Scales actions where they are, and moves its state where it has shown it."""

    observation_space = gym.spaces.Box(-10.0, 10.0, (1,), np.float32)
    action_space = gym.spaces.Box(-1.0, 1.0, (1,), np.float32)

    def reset(self, *, seed: int | None = None, options: Any = None) -> Any:
        super().reset(seed=seed)
        self.x, self.steps = np.zeros(1, dtype=np.float32), 0
        return self.x, {}

    def step(self, action: Any) -> Any:
        action *= 5.0
        self.x *= 0.5
        self.x += action
        self.steps += 1
        return self.x, 0.0, False, self.steps >= 4, {}


class Half:
    """Acts alike for one plant and for many, always with the same array."""

    def __init__(self, *shape: int) -> None:
        self.action = np.full(shape, 0.5)
        self.fallback = np.zeros(shape[0], dtype=bool)

    def reset(self) -> None:
        pass

    def act(self, observation: Array) -> Array:
        observation[:] = np.nan
        return self.action

    def batch(self, n_copies: int) -> "Half":
        return Half(n_copies, 1)


PASSED = [[0.0], [2.5], [3.75], [4.375], [4.6875]]


@pytest.mark.parametrize("n", [0, 2])
def test_an_evaluation_records_what_was_applied_and_seen(n: int) -> None:
    env = SyncVectorEnv([InPlace] * n, copy=False) if n else InPlace()
    for episode in evaluate(Half(1), env, seeds=range(n or 1)).episodes:
        np.testing.assert_array_equal(episode.actions, [[0.5]] * 4)
        np.testing.assert_array_equal(episode.observations, PASSED)


def test_a_collection_records_what_was_applied_and_seen() -> None:
    def meddles(observation: Array) -> bool:
        observation[:] = np.nan
        return False

    (run,) = collect(InPlace(), Half(1), n_episodes=1, until=meddles)
    np.testing.assert_array_equal(run.actions, [[0.5]] * 4)
    np.testing.assert_array_equal(run.observations, PASSED)


def test_a_controller_remembers_what_was_in_a_buffer_that_is_used_again() -> None:
    rng = np.random.default_rng(0)
    x, U, seen = np.array([0.3, 0.1]), rng.uniform(-1.0, 1.0, (150, 1)), [0.3]
    for u in U:
        x = np.array([x[0] + 0.1 * x[1], 0.95 * x[1] - 0.2 * x[0] + 0.1 * u[0]])
        seen.append(x[0])
    settings = EDMDc(PolynomialFeatures(1), memory=2, n_folds=0, regularization=1e-8)
    model = settings.fit([Trajectory(np.array(seen)[:, None], U, dt=0.1)]).model_

    def meddles(y: Array) -> Array:
        y[:] = 9.0
        return np.array([0.2])

    def actions(reference: Any, buffer: Array | None) -> list[float]:
        mpc = KoopmanMPC(model, 10, R=0.01, reference=reference)
        applied = []
        for y in np.sin(np.arange(8.0)):
            shown = np.zeros(1) if buffer is None else buffer
            shown[:] = y
            applied.append(mpc.act(shown)[0])
            if buffer is not None:
                assert shown == y  # nor is the plant's array changed
        return applied

    expected = actions(lambda y: np.array([0.2]), None)
    assert len(set(expected)) == 8
    for reference in (lambda y: np.array([0.2]), meddles):
        assert actions(reference, np.zeros(1)) == expected
