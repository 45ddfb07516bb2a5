from __future__ import annotations

from typing import Any

import gymnasium as gym
import numpy as np
import pytest

from koopman_control.evaluation import Learned, learn
from koopman_control.features import SampledFeatures
from koopman_control.identification import Corrections, EDMDc, LiftedModel
from koopman_control.mpc import KoopmanMPC
from koopman_control.trajectories import (
    CollectionFailed,
    CollectionInterrupted,
    HeldUniform,
    total_steps,
)

ENV = "koopman_envs/VanDerPol-v0"


class NeverBetter(EDMDc):
    """Finds every refit ten times worse than the model before it."""

    def score_left_out(self, seen: Any, judged: Any) -> float:
        return -1.0


def settings(cls: type[EDMDc] = EDMDc) -> EDMDc:
    return cls(SampledFeatures(5, random_state=0), states=[0, 1], horizon=10)


def controller(model: LiftedModel) -> KoopmanMPC:
    return KoopmanMPC(model, 10, Q=[1.0, 0.1], R=0.01)


def learned(estimator: EDMDc | None = None, **kwargs: Any) -> Learned:
    given = {"n_steps": 150, "first_steps": 90, "n_rounds": 2, "seed": 3} | kwargs
    return learn(ENV, estimator or settings(), controller, **given)


def test_every_environment_step_is_counted_and_the_budget_is_met_exactly() -> None:
    seen: list[int] = []
    result = learned(on_step=seen.append)
    assert total_steps(result.data) == 150
    assert seen == list(range(1, 151))
    assert [r.steps for r in result.rounds] == [90, 120, 150]


def test_the_same_seed_gives_the_same_bits() -> None:
    first, second = learned(), learned()
    np.testing.assert_array_equal(first.model.A, second.model.A)
    for a, b in zip(first.data, second.data, strict=True):
        np.testing.assert_array_equal(a.observations, b.observations)


class Judged(EDMDc):
    """Remembers what new models are judged on."""

    def score_left_out(self, seen: Any, judged: Any) -> float:
        self.judged_ = judged
        return super().score_left_out(seen, judged)


def test_new_models_are_judged_on_data_without_noise() -> None:
    noisy = gym.make(ENV, observation_noise=0.02)
    estimator = settings(Judged).set_params(corrections=Corrections(noise="smooth"))
    result = learn(noisy, estimator, controller, n_steps=150, n_rounds=1, seed=3)
    fitted: Any = result.estimator
    assert result.rounds[-1].kept
    n = len(fitted.judged_)
    assert all(a is b for a, b in zip(fitted.judged_, fitted.smoothed_[-n:], strict=True))
    assert not np.array_equal(fitted.judged_[0].observations, result.data[-n].observations)


def test_another_seed_gives_other_data() -> None:
    assert not np.array_equal(learned().data[0].actions, learned(seed=4).data[0].actions)


def test_without_rounds_all_steps_are_open_loop() -> None:
    result = learned(n_rounds=0, excitation=HeldUniform(hold=7))
    assert len(result.rounds) == 1
    assert total_steps(result.data) == 150
    changes = np.flatnonzero(np.diff(result.data[0].actions[:, 0])) + 1
    assert set(changes % 7) == {0}


def test_rounds_for_which_no_step_is_left_are_left_out() -> None:
    result = learned(n_steps=92, first_steps=90, n_rounds=5)
    assert [r.steps for r in result.rounds] == [90, 91, 92]


def test_a_model_that_predicts_worse_does_not_replace_the_one_before() -> None:
    result = learned(settings(NeverBetter))
    assert [r.kept for r in result.rounds] == [True, False, False]
    assert result.model.summary["n_samples"] == 90


def test_models_are_compared_on_all_data_that_the_older_one_has_not_seen(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    steps: list[tuple[int, int]] = []

    def never_better(self: EDMDc, seen: Any, judged: Any) -> float:
        steps.append((total_steps(seen), total_steps(judged)))
        return -1.0

    monkeypatch.setattr(EDMDc, "score_left_out", never_better)
    result = learned()
    assert steps == [(90, 30), (90, 60)]
    lengths = [len(r.returns) for r in result.rounds]
    assert sum(lengths) == len(result.data)


def test_a_model_that_predicts_as_well_does() -> None:
    result = learned()
    assert [r.kept for r in result.rounds] == [True, True, True]
    assert result.model.summary["n_samples"] == 150


def test_rounds_record_returns_of_the_episodes_they_collected() -> None:
    result = learned()
    rewards = [t.rewards for t in result.data]
    assert all(r is not None for r in rewards)
    collected = [float(r.sum()) for r in rewards if r is not None]
    assert [x for r in result.rounds for x in r.returns] == collected


def test_an_interruption_carries_everything_collected_until_then() -> None:
    def stop_in_the_second_round(steps: int) -> None:
        if steps == 100:
            raise KeyboardInterrupt

    with pytest.raises(CollectionInterrupted) as stopped:
        learned(on_step=stop_in_the_second_round)
    assert total_steps(stopped.value.trajectories) == 100


def test_an_interruption_during_a_fit_loses_nothing_either() -> None:
    class Interrupted(EDMDc):
        def fit(self, data: Any, y: None = None, sample_weight: Any = None) -> EDMDc:
            raise KeyboardInterrupt

    with pytest.raises(CollectionInterrupted) as stopped:
        learned(settings(Interrupted))
    assert total_steps(stopped.value.trajectories) == 90


def test_an_environment_that_breaks_leaves_the_data_before() -> None:
    env = gym.wrappers.TransformObservation(
        gym.make(ENV), Broken(after=100), gym.make(ENV).observation_space
    )
    with pytest.raises(CollectionFailed, match="expected finite numbers") as failed:
        learn(env, settings(), controller, n_steps=150, first_steps=90, n_rounds=1)
    assert total_steps(failed.value.trajectories) == 98


class Broken:
    """Passes observations on until so many have gone by, resets included; then NaN."""

    def __init__(self, after: int) -> None:
        self.left = after

    def __call__(self, observation: Any) -> Any:
        self.left -= 1
        return observation if self.left >= 0 else observation * np.nan


@pytest.mark.parametrize(
    ("argument", "value", "message"),
    [
        ("n_steps", 0, "n_steps is 0; expected at least 1"),
        ("first_steps", 151, "first_steps is 151; expected at most n_steps"),
        ("n_rounds", -1, "n_rounds is -1; expected at least 0"),
    ],
)
def test_settings_out_of_range_are_named(argument: str, value: int, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        learned(None, **{argument: value})


def test_too_few_steps_for_the_features_are_refused() -> None:
    with pytest.raises(ValueError, match="collect more steps, or use fewer features"):
        learned(n_steps=6, n_rounds=0)
