from __future__ import annotations

from dataclasses import replace
from math import inf

import numpy as np
import pytest

from koopman_control.benchmark import SUBJECTS
from koopman_control.benchmark.baselines import (
    _searched,
    fitted,
    linear,
    pykoop_features,
    shared_learning,
)
from koopman_control.benchmark.subjects import Subject, koopman, no_action
from koopman_control.benchmark.variants import without_angles
from koopman_control.evaluation import evaluate
from koopman_control.tasks import TASKS
from koopman_control.trajectories import Trajectory
from tests.benchmark.tiny import tiny_task


def test_angles_become_cosine_and_sine_with_their_weight_target_and_no_bounds() -> None:
    task = replace(TASKS["koopman_envs/CartPoleSwingUp-v0"])
    plain = without_angles(task, 6)
    assert plain.states == (0, 1, 2, 3, 4)
    assert plain.angles == ()
    assert plain.Q == (0.5, 0.01, 0.5, 0.5, 0.002)
    assert callable(plain.reference)
    target = plain.reference(np.array([0.0, 0.0, 1.0, 0.0, 0.0, 0.7]))
    assert target.tolist() == [0.7, 0.0, 1.0, 0.0, 0.0]
    low, high = plain.mpc["output_bounds"]
    assert low.tolist() == [-2.0, -inf, -inf, -inf, -inf]
    assert high.tolist() == [2.0, inf, inf, inf, inf]


def test_a_number_as_target_of_an_angle_becomes_a_point_on_the_circle() -> None:
    plain = without_angles(TASKS["Pendulum-v1"], 3)
    assert plain.Q == (1.0, 1.0, 0.1)
    assert np.asarray(plain.reference).tolist() == [1.0, 0.0, 0.0]


def test_subjects_at_equal_data_share_one_learning() -> None:
    task = tiny_task()
    first = shared_learning(task, 4)
    assert shared_learning(tiny_task(), 4) is first
    assert shared_learning(task, 5) is not first
    assert linear(task, 4).data_steps == task.n_steps


def test_the_linear_baseline_of_a_linear_task_is_the_task_itself() -> None:
    task = tiny_task(n_rounds=0)
    ours, theirs = (
        evaluate(train(task, 0).controller, task.environment(), range(1000, 1002)).returns
        for train in (koopman, linear)
    )
    np.testing.assert_array_equal(ours, theirs)


def test_pykoop_models_predict_what_pykoop_predicts() -> None:
    pytest.importorskip("pykoop")
    task = without_angles(tiny_task(), 3)
    data = shared_learning(tiny_task(), 0).data
    model = fitted(task, data, 0)
    states = [run.observations[:, :2] for run in data]
    center = np.concatenate(states).mean(axis=0)
    scale = np.concatenate(states).std(axis=0)
    pipeline = _searched([(x - center) / scale for x in states], [run.actions for run in data], 0)
    U = data[1].actions[:10]
    theirs = pipeline.predict_trajectory(
        ((states[1][:1] - center) / scale),
        np.vstack([U, np.zeros((1, 1))]),
        relift_state=False,
        episode_feature=False,
    )
    ours = model.predict(states[1][0], U, rollout="linear")
    np.testing.assert_allclose(ours, theirs[1:, :2] * scale + center, atol=1e-8)


def test_pykoop_features_learn_from_the_data_of_the_task() -> None:
    pytest.importorskip("pykoop")
    trained = pykoop_features(tiny_task(), 0)
    data = shared_learning(tiny_task(), 0).data
    assert trained.data_steps == 240
    trained.controller.reset()
    bounds = np.asarray(data[0].action_bounds)
    action = trained.controller.act(data[0].observations[0])
    assert np.all(bounds[0] <= action) and np.all(action <= bounds[1])


def test_a_single_run_is_fitted_by_pykoop_without_a_choice() -> None:
    pytest.importorskip("pykoop")
    rng = np.random.default_rng(0)
    U, x = rng.uniform(-1.0, 1.0, (150, 1)), [np.zeros(2)]
    for u in U:
        x.append(np.array([0.9 * x[-1][0] + 0.1 * x[-1][1], 0.8 * x[-1][1] + 0.5 * u[0]]))
    task = without_angles(tiny_task(), 3)
    run = Trajectory(np.column_stack([x, np.zeros(151)]), U)
    model = fitted(task, [run], 0)
    ahead = model.predict(x[100], U[100:105], rollout="linear")
    np.testing.assert_allclose(ahead, x[101:106], atol=1e-3)


@pytest.mark.parametrize("name", ["sac", "tqc"])
def test_deep_agents_use_their_budget_and_repeat_themselves(name: str) -> None:
    subject = SUBJECTS[name]
    assert subject.needs is not None and subject.train is not None
    pytest.importorskip(subject.needs[0])
    task = tiny_task(n_steps=110)
    first, second = subject.train(task, 1), subject.train(task, 1)
    observation = np.array([0.1, 0.2, 0.3])
    np.testing.assert_array_equal(
        first.controller.act(observation), second.controller.act(observation)
    )
    assert first.data_steps == 110


def test_a_missing_package_is_named_with_its_remedy() -> None:
    with pytest.raises(ImportError, match=r"pip install 'koopman-control\[rl\]'"):
        Subject("", no_action, needs=("no_such_package", "rl")).require()
