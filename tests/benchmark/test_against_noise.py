from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from koopman_control.benchmark import CONDITIONS
from koopman_control.benchmark.conditions import noisy
from koopman_control.benchmark.variants import without_estimator
from koopman_control.mpc import KalmanObserver, KoopmanMPC, Search
from koopman_control.tasks import TASKS
from tests.benchmark.tiny import tiny_task


def test_a_noisy_task_is_smoothed_and_searches_among_more_plans() -> None:
    task = CONDITIONS["noise"].learning(TASKS["Pendulum"])
    assert task.mpc["search"].guesses == 8 * TASKS["Pendulum"].mpc["search"].guesses
    for name in ("Pendulum", "VanDerPol", "TwoLinkArm"):
        assert CONDITIONS["noise"].learning(TASKS[name]).fit["corrections"].noise == "auto"


def test_a_task_that_draws_no_plans_keeps_its_search() -> None:
    assert CONDITIONS["noise"].learning(TASKS["VanDerPol"]).mpc == TASKS["VanDerPol"].mpc


@pytest.mark.slow
def test_a_noisy_task_is_learned_and_its_model_knows_the_noise() -> None:
    settings = {"rollout": "relifted", "coupling": "bilinear", "mpc": {"search": Search(guesses=2)}}
    task = noisy(tiny_task(**settings))
    assert task.mpc["search"].guesses == 16
    learned = task.learn(0)
    assert learned.estimator.noise_.passes
    controller = learned.controller
    assert isinstance(controller, KoopmanMPC)
    action = controller.act(learned.data[0].observations[0])
    assert np.isfinite(action).all()
    assert controller.last is not None
    assert controller.last.rung == "solved"


def test_other_roll_outs_do_without_a_filter_chosen_for_the_task_s_own() -> None:
    task = replace(tiny_task(), mpc={"search": Search(guesses=0)})
    observed = replace(task, mpc={**task.mpc, "estimator": KalmanObserver(0.1)})
    assert without_estimator(observed) == task


@pytest.mark.parametrize("name", ["CartPoleSwingUp", "TwoLinkArm"])
def test_what_is_done_against_noise_changes_the_plan_and_not_what_it_is_judged_on(
    name: str,
) -> None:
    task = CONDITIONS["noise"].learning(TASKS[name])
    assert task.n_steps == TASKS[name].n_steps
    assert task.settings() != TASKS[name].settings()
    assert CONDITIONS["noise"].judging(TASKS[name]).env_arguments == task.env_arguments
