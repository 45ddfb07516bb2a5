"""Episodes in lock-step, against the same episodes one after another."""

from typing import Any

import gymnasium as gym
import numpy as np
import pytest
from gymnasium.vector import AutoresetMode, SyncVectorEnv

from koopman_control import EDMDc, KoopmanMPC, SampledFeatures, collect, evaluate
from koopman_control.common.arrays import Array
from koopman_control.evaluation import episode as lockstep
from koopman_control.trajectories import HeldUniform

PLANT = "koopman_envs/VanDerPol-v0"


class Pusher:
    """Pushes as far as it sees; copies fall back where they see nothing."""

    def __init__(self) -> None:
        self.fallback = np.zeros(0, dtype=bool)
        self.batches: list[int] = []

    @property
    def last(self) -> Any:
        return self

    def reset(self) -> None:
        """Nothing is remembered."""

    def act(self, observation: Array) -> Array:
        self.fallback = np.ravel(observation == 0.0)
        return 0.1 + 0.3 * observation

    def batch(self, n_copies: int) -> "Pusher":
        self.batches.append(n_copies)
        return self


def several(make: Any, lengths: list[int], **options: Any) -> SyncVectorEnv:
    return SyncVectorEnv([lambda n=n: make(length=n, **options) for n in lengths])  # type: ignore[misc]


@pytest.mark.parametrize("copies", [3, 8])
def test_episodes_in_lockstep_are_those_one_after_another(copies: int) -> None:
    data = collect(PLANT, HeldUniform(hold=(5, 40)), n_steps=400, seed=0)
    features = SampledFeatures(15, random_state=0)
    model = EDMDc(features, states=(0, 1)).fit(data).model_
    mpc = KoopmanMPC(model, 20, [1.0, 0.1], 0.01, reference=lambda y: (y[2], 0.0))
    alone = evaluate(mpc, gym.make(PLANT, max_episode_steps=60), seeds=range(7))
    env = gym.make_vec(PLANT, num_envs=copies, max_episode_steps=60)
    many = evaluate(mpc, env, seeds=range(7))
    np.testing.assert_allclose(many.returns, alone.returns, rtol=1e-9)
    np.testing.assert_array_equal(many.lengths, alone.lengths)
    assert many.act_seconds.shape == alone.act_seconds.shape
    assert (many.env_id, many.dt, many.seeds) == (alone.env_id, alone.dt, alone.seeds)
    np.testing.assert_array_equal(many.action_bounds, alone.action_bounds)
    assert many.violations == pytest.approx(alone.violations, nan_ok=True)
    assert many.fallback_share == alone.fallback_share
    for one, other in zip(many.episodes, alone.episodes, strict=True):
        np.testing.assert_allclose(one.observations, other.observations, atol=1e-9)
        np.testing.assert_allclose(one.actions, other.actions, atol=1e-6)  # of float32


def test_episodes_of_different_lengths_end_each_at_their_own_step(adder: Any) -> None:
    pusher = Pusher()
    told: list[int] = []
    env = several(adder, [5, 3, 4])
    many = evaluate(pusher, env, [7, 2, 1, 3], on_episode=lambda one: told.append(one.seed))
    np.testing.assert_array_equal(many.lengths, [5, 3, 4, 5])
    assert (told, pusher.batches, many.dt) == ([7, 2, 1, 3], [3], 0.1)
    for seed, length, found in zip([7, 2, 1, 3], [5, 3, 4, 5], many.returns, strict=True):
        assert found == evaluate(pusher, adder(length=length), [seed]).returns[0]
    assert many.fallback_share == pytest.approx(4.0 / 17.0)
    assert all(episode.terminated for episode in many.episodes)
    assert [len(episode.observations) for episode in many.episodes] == [6, 4, 5, 6]


def test_a_plant_that_reports_no_violations_has_none_to_count(adder: Any) -> None:
    assert evaluate(Pusher(), several(adder, [5, 5]), [1]).violations["total"] == 0.0
    silent = several(adder, [5, 5], defect="silent")
    assert evaluate(Pusher(), silent, [1]).violations["total"] is None


def test_episodes_that_never_end_are_refused(adder: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(lockstep, "LONGEST_EPISODE", 20)
    with pytest.raises(ValueError, match="did not end within 20 steps; give the environment a"):
        evaluate(Pusher(), several(adder, [10, 21]), [1, 2])


def test_what_cannot_run_in_lockstep_is_named(adder: Any, constant: Any) -> None:
    env = several(adder, [5, 5])
    with pytest.raises(TypeError, match=r"Constant without batch\(n_copies\)"):
        evaluate(constant([0.0]), env)
    with pytest.raises(ValueError, match="workers is 2; a vector environment"):
        evaluate(Pusher(), env, workers=2)
    kind = AutoresetMode.SAME_STEP
    with pytest.raises(ValueError, match=r"expected AutoresetMode\.NEXT_STEP"):
        evaluate(Pusher(), SyncVectorEnv([adder], autoreset_mode=kind))
    with pytest.raises(ValueError, match=r"gave the observations .*; expected finite numbers"):
        evaluate(Pusher(), several(adder, [5], defect="observation"))
