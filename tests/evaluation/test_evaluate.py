from dataclasses import FrozenInstanceError
from typing import Any

import gymnasium as gym
import numpy as np
import pytest

from koopman_control.evaluation import (
    Episode,
    Evaluation,
    RandomPolicy,
    ZeroPolicy,
    action_bounds,
    evaluate,
)


def test_an_evaluation_summarises_its_episodes_exactly(adder: Any, constant: Any) -> None:
    result = evaluate(constant([0.0]), adder(), seeds=[3, 1, 2, 6])
    np.testing.assert_array_equal(result.returns, [-15.0, -5.0, -10.0, -30.0])
    np.testing.assert_array_equal(result.lengths, [5, 5, 5, 5])
    assert (result.mean, result.iqm, result.worst) == (-15.0, -12.5, -30.0)
    assert result.ci95[0] < result.mean < result.ci95[1]
    assert result.seeds == (3, 1, 2, 6)
    assert result.env_id == "Adder"
    assert result.dt == 0.1
    assert result.act_seconds.shape == (20,)
    assert result.fallback_share == 0.4
    assert result.violations == {"steps": 0, "total": 0.0, "episodes": 0}


def test_steps_are_counted_by_the_rung_that_was_used(adder: Any, constant: Any) -> None:
    class Laddered(constant):  # type: ignore[misc]
        def act(self, observation: Any) -> Any:
            action = super().act(observation)
            self.last.rung = "shifted" if self.last.fallback else "solved"
            return action

    result = evaluate(Laddered([0.0]), adder(), seeds=range(4))
    assert result.rungs == {"solved": 12, "shifted": 8}
    assert evaluate(constant([0.0]), adder(), seeds=range(4)).rungs == {}


def test_violations_add_up_over_episodes(adder: Any, constant: Any) -> None:
    result = evaluate(constant([0.5]), adder(), seeds=range(4))
    assert result.violations == {"steps": 12, "total": 12.0, "episodes": 4}
    silent = evaluate(constant([0.5]), adder(defect="silent"), seeds=range(4))
    assert silent.violations == {"steps": 0, "total": None, "episodes": 0}


def test_the_first_episodes_and_the_worst_one_are_kept(adder: Any, constant: Any) -> None:
    late = evaluate(constant([0.0]), adder(), seeds=range(10))
    early = evaluate(constant([0.0]), adder(), seeds=range(9, -1, -1))
    assert [episode.seed for episode in late.episodes] == [0, 1, 2, 3, 4, 5, 9]
    assert [episode.seed for episode in early.episodes] == [9, 8, 7, 6, 5, 4]


def test_the_number_of_workers_changes_nothing() -> None:
    bounds = [[-2.0], [2.0]]
    one = evaluate(RandomPolicy(bounds), "Pendulum-v1", seeds=range(1000, 1007))
    two = evaluate(RandomPolicy(bounds), "Pendulum-v1", seeds=range(1000, 1007), workers=2)
    np.testing.assert_array_equal(one.returns, two.returns)
    assert one.seeds == two.seeds
    for a, b in zip(one.episodes, two.episodes, strict=True):
        np.testing.assert_array_equal(a.observations, b.observations)


def test_the_zero_policy_on_pendulum_returns_what_was_measured_independently() -> None:
    # -1276.86 +- 360.99: stock Pendulum-v1, seeds 1000 to 1099, a plain loop.
    result = evaluate(ZeroPolicy([[-2.0], [2.0]]), "Pendulum-v1")
    assert result.mean == pytest.approx(-1276.86, abs=0.005)
    assert result.returns.std(ddof=1) == pytest.approx(360.99, abs=0.005)
    assert result.dt == 0.05


def test_progress_is_told_in_the_order_of_the_seeds(adder: Any, constant: Any) -> None:
    told: list[Episode] = []
    evaluate(constant([0.0]), adder(), seeds=[5, 3, 4], on_episode=told.append)
    assert [episode.seed for episode in told] == [5, 3, 4]


def test_a_given_environment_stays_open(constant: Any) -> None:
    env = gym.make("Pendulum-v1", max_episode_steps=2)
    evaluate(constant([0.0]), env, seeds=[0])
    evaluate(constant([0.0]), env, seeds=[0])
    np.testing.assert_array_equal(action_bounds(env), [[-2.0], [2.0]])


def test_metrics_have_their_stable_names(adder: Any, constant: Any) -> None:
    metrics = evaluate(constant([0.0]), adder(), seeds=[1, 2]).metrics()
    assert set(metrics) == {
        "env_id", "seeds", "returns", "return_mean", "return_ci95", "return_iqm", "return_worst",
        "act_us", "fallback_share", "rungs", "violations", "versions", "settings",
    }  # fmt: skip
    assert set(metrics["act_us"]) == {"p50", "p99", "max"}
    assert metrics["act_us"]["p50"] <= metrics["act_us"]["p99"] <= metrics["act_us"]["max"]
    assert metrics["returns"] == [-5.0, -10.0]


def test_an_evaluation_is_frozen(adder: Any, constant: Any) -> None:
    result = evaluate(constant([0.0]), adder(), seeds=[1])
    assert isinstance(result, Evaluation)
    with pytest.raises(FrozenInstanceError):
        result.env_id = "other"  # type: ignore[misc]


def test_bad_arguments_are_named(adder: Any, constant: Any) -> None:
    controller = constant([0.0])
    with pytest.raises(ValueError, match="seeds is empty"):
        evaluate(controller, adder(), seeds=[])
    with pytest.raises(ValueError, match="workers is 0"):
        evaluate(controller, adder(), workers=0)
    with pytest.raises(TypeError, match="expected an object with reset"):
        evaluate(lambda observation: observation, adder())  # type: ignore[arg-type]
    with pytest.raises(TypeError, match="discrete"):
        evaluate(controller, "CartPole-v1")
    with pytest.raises(ValueError, match="Pendulum"):
        evaluate(controller, "Pendulumm-v1")
