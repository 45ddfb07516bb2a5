from __future__ import annotations

from contextlib import closing
from dataclasses import replace

import numpy as np
import pytest

from koopman_control.benchmark import CONDITIONS
from koopman_control.benchmark.conditions import (
    AGAINST_NOISE,
    NOISE,
    noise_of_states,
    noisy,
    pole_reference,
    with_kalman_filter,
)
from koopman_control.benchmark.variants import without_estimator
from koopman_control.mpc import KalmanObserver, KoopmanMPC, Search
from koopman_control.tasks import TASKS
from tests.benchmark.tiny import tiny_task


def test_a_filter_expects_the_noise_of_an_angle_read_as_cosine_and_sine() -> None:
    task = CONDITIONS["noise"].learning(TASKS["Pendulum-v1"])
    np.testing.assert_allclose(noise_of_states(task), [0.01, 0.08], rtol=1e-6)
    observer = task.mpc["estimator"]
    assert isinstance(observer, KalmanObserver)
    np.testing.assert_allclose(
        np.asarray(observer.measurement_noise, float), [0.01, 0.08], rtol=1e-6
    )


def test_a_filter_expects_the_noise_of_the_states_and_not_of_the_goal() -> None:
    task = noisy(tiny_task())
    with closing(task.environment()) as env:
        space = env.observation_space
        half = 0.5 * (space.high - space.low)  # type: ignore[attr-defined]
    np.testing.assert_allclose(noise_of_states(task), NOISE * half[:2])


def test_states_without_noise_are_taken_as_exact() -> None:
    np.testing.assert_array_equal(noise_of_states(TASKS["Pendulum-v1"]), [0.0, 0.0])
    np.testing.assert_array_equal(
        with_kalman_filter(tiny_task()).mpc["estimator"].measurement_noise, [1e-9, 1e-9]
    )


def test_a_filtered_task_is_learned_and_searches_among_more_plans() -> None:
    settings = {"rollout": "relifted", "coupling": "bilinear", "mpc": {"search": Search(guesses=2)}}
    task = with_kalman_filter(noisy(tiny_task(**settings)))
    assert task.mpc["search"].guesses == 16
    learned = task.learn(0)
    action = learned.controller.act(learned.data[0].observations[0])
    assert np.isfinite(action).all()
    assert isinstance(learned.controller, KoopmanMPC)
    assert learned.controller.last is not None
    assert learned.controller.last.rung == "solved"


def test_other_roll_outs_do_without_a_filter_chosen_for_the_task_s_own() -> None:
    task = replace(tiny_task(), mpc={"search": Search(guesses=0)})
    assert without_estimator(with_kalman_filter(task)) == task


def test_poles_lean_against_where_the_cart_is_and_goes_but_never_far() -> None:
    observation = np.zeros(9)
    observation[[0, 5]] = 0.2, 0.1
    np.testing.assert_allclose(pole_reference(observation), [-0.04, 0.0, 0.0, 0.0])
    observation[[0, 5]] = -1.0, -3.0
    np.testing.assert_allclose(pole_reference(observation), [0.1, 0.0, 0.0, 0.0])


@pytest.mark.parametrize("name", AGAINST_NOISE)
def test_what_is_done_against_noise_changes_the_plan_and_not_what_it_is_judged_on(
    name: str,
) -> None:
    task = CONDITIONS["noise"].learning(TASKS[name])
    assert task.n_steps == TASKS[name].n_steps
    assert task.settings() != TASKS[name].settings()
    assert CONDITIONS["noise"].judging(TASKS[name]).env_arguments == task.env_arguments
