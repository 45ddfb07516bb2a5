from __future__ import annotations

from contextlib import closing
from dataclasses import replace

import numpy as np
import pytest

from koopman_control.benchmark.baselines import DETECTABLE, LocalRegulator, lqr
from koopman_control.benchmark.subjects import no_action
from koopman_control.common import Array
from koopman_control.evaluation import evaluate
from koopman_control.tasks import Task
from koopman_control.trajectories import Trajectory
from tests.benchmark.tiny import tiny_task

control = pytest.importorskip("control")

A = np.array([[1.0, 0.1], [0.2, 0.95]])
B = np.array([[0.0], [0.1]])
OFFSET = np.array([0.0, 0.03])
Q, R = np.diag([1.0, 0.1]), np.array([[0.05]])


def runs(action_bound: float = 5.0, A: Array = A, offset: Array = OFFSET) -> list[Trajectory]:
    """Runs of x+ = A x + B u + offset; the third observation is a set-point of the first."""
    rng = np.random.default_rng(0)
    found = []
    for _ in range(20):
        x, rows = rng.normal(size=2), []
        set_point = rng.uniform(-1.0, 1.0)
        actions = rng.uniform(-1.0, 1.0, size=(20, 1))
        for u in [*actions, np.zeros(1)]:
            rows.append([*x, set_point])
            x = A @ x + B @ u + offset
        box = np.array([[-action_bound], [action_bound]])
        found.append(Trajectory(np.array(rows), actions, action_bounds=box))
    return found


def at_set_point(observation: Array) -> tuple[float, float]:
    return float(observation[2]), 0.0


def holding_input(observation: Array) -> float:
    return -(0.2 * float(observation[2]) + 0.03) / 0.1


TASK = Task(
    "made up", "", Q=(1.0, 0.1), R=0.05, horizon=5, n_steps=1, first_steps=1, states=(0, 1),
    reference=at_set_point, input_reference=holding_input,
)  # fmt: skip


def test_the_gain_is_that_of_the_plant() -> None:
    regulator = LocalRegulator(TASK, runs())
    observation = np.array([0.3, -0.2, 0.1])
    K = np.asarray(control.dlqr(A, B, Q, R)[0])
    expected = holding_input(observation) - K @ (observation[:2] - np.array([0.1, 0.0]))
    np.testing.assert_allclose(regulator.act(observation), expected, rtol=1e-4)


def test_samples_without_a_target_do_not_count() -> None:
    def target(observation: Array) -> tuple[float, float] | None:
        return None if observation[2] > 5.0 else at_set_point(observation)

    another_plant = [
        Trajectory(run.observations * [3.0, -1.0, 0.0] + [0.0, 0.0, 9.0], run.actions)
        for run in runs()
    ]
    task = replace(TASK, reference=target)
    observation = np.array([0.3, -0.2, 0.1])
    np.testing.assert_allclose(
        LocalRegulator(task, runs() + another_plant).act(observation),
        LocalRegulator(task, runs()).act(observation),
        rtol=1e-9,
    )


def test_beside_a_state_that_nothing_moves_plans_are_as_long_as_the_task_looks_ahead() -> None:
    """No gain brings it to rest for good; the oracle is one least-squares problem."""
    resting, x = np.array([[1.0, 0.0], [0.2, 0.95]]), np.array([0.3, -0.2])
    task = replace(TASK, reference=0.0, input_reference=0.0)
    regulator = LocalRegulator(task, runs(A=resting, offset=np.zeros(2)))
    N = task.horizon + 1
    powers = [np.linalg.matrix_power(resting, k) for k in range(N + 1)]
    weight, rows = np.sqrt(Q + DETECTABLE * np.eye(2)), np.zeros((N, 2, N))
    for k in range(N):
        for j in range(k + 1):
            rows[k, :, j] = (weight @ powers[k - j] @ B)[:, 0]
    wanted = np.concatenate([-weight @ power @ x for power in powers[1:]] + [np.zeros(N)])
    both = np.vstack([rows.reshape(-1, N), np.sqrt(R) * np.eye(N)])
    planned = np.linalg.lstsq(both, wanted, rcond=None)[0]
    np.testing.assert_allclose(regulator.act(np.array([*x, 0.0])), planned[:1], rtol=1e-8)


def test_the_baseline_regulates_with_the_data_of_the_task() -> None:
    trained, task = lqr(tiny_task(), 0), tiny_task()
    idle = no_action(task, 0).controller
    with closing(task.environment()) as env:
        ours, theirs = (evaluate(c, env, range(5)).mean for c in (trained.controller, idle))
    assert trained.data_steps == task.n_steps
    assert ours > theirs


def test_the_set_point_is_reached_without_offset() -> None:
    regulator = LocalRegulator(TASK, runs())
    x = np.array([1.0, -1.0])
    for _ in range(300):
        x = A @ x + B @ regulator.act(np.array([*x, 0.4])) + OFFSET
    np.testing.assert_allclose(x, [0.4, 0.0], atol=1e-4)


def test_a_set_point_that_costs_input_is_approached_as_far_as_it_pays() -> None:
    task = replace(TASK, input_reference=0.0)
    regulator, x = LocalRegulator(task, runs()), np.array([1.0, -1.0])
    for _ in range(300):
        x = A @ x + B @ regulator.act(np.array([*x, 0.4])) + OFFSET
    # Resting at x1 takes u = -2 x1 - 0.3: (x1 - 0.4)^2 + 0.05 u^2 is least here.
    np.testing.assert_allclose(x, [(0.4 - 0.05 * 2.0 * 0.3) / (1.0 + 0.05 * 4.0), 0.0], atol=1e-4)


def test_actions_stay_in_their_box() -> None:
    regulator = LocalRegulator(TASK, runs(action_bound=1.0))
    assert regulator.act(np.array([50.0, 0.0, 0.0])).tolist() == [-1.0]


def test_a_target_that_is_a_trajectory_moves_on_and_starts_again_with_an_episode() -> None:
    rows = np.array([[0.0, 0.0], [1.0, 0.0], [1.0, 0.0]])
    task = Task("", "", (1.0, 0.1), 0.05, 5, 1, 1, states=(0, 1), reference=rows)
    regulator, observation = LocalRegulator(task, runs()), np.zeros(3)
    first, second = regulator.act(observation), regulator.act(observation)
    assert first[0] != second[0]
    regulator.reset()
    assert regulator.act(observation).tolist() == first.tolist()


def test_without_a_target_nothing_is_done() -> None:
    def target(observation: Array) -> tuple[float, float] | None:
        return None if observation[2] > 5.0 else (0.0, 0.0)

    task = Task("", "", (1.0, 0.1), 0.05, 5, 1, 1, states=(0, 1), reference=target)
    assert LocalRegulator(task, runs()).act(np.array([1.0, 1.0, 9.0])).tolist() == [0.0]


@pytest.mark.parametrize("turns", [-1, 0, 2])
def test_angles_are_compared_without_whole_turns(turns: int) -> None:
    task = Task("", "", (1.0, 0.1), 0.05, 5, 1, 1, states=(0, 1), angles=(0,))
    regulator = LocalRegulator(task, runs())
    plain = regulator.act(np.array([0.2, 0.0, 0.0]))
    turned = regulator.act(np.array([0.2 + 2.0 * np.pi * turns, 0.0, 0.0]))
    np.testing.assert_allclose(turned, plain, atol=1e-12)
