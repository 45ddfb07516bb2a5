from __future__ import annotations

from dataclasses import dataclass, replace

import cloudpickle
import pytest

from koopman_control.benchmark.variants import fingerprint
from koopman_control.identification import LeastSquares
from koopman_control.mpc import Search
from koopman_control.tasks import TASKS, Task

TASK = TASKS["Pendulum-v1"]


@dataclass(frozen=True)
class TaskOfTomorrow(Task):
    new_setting: int = 3


def test_all_ready_tasks_differ() -> None:
    assert len({fingerprint(task) for task in TASKS.values()}) == len(TASKS)


def test_a_changed_setting_is_another_task_and_other_words_are_not() -> None:
    assert fingerprint(replace(TASK, R=0.002)) != fingerprint(TASK)
    assert fingerprint(replace(TASK, mpc={"search": Search(guesses=5)})) != fingerprint(TASK)
    assert fingerprint(replace(TASK, summary="swing", state_names=None)) == fingerprint(TASK)


def test_settings_that_came_later_count_only_where_they_are_used() -> None:
    settings = {name: getattr(TASK, name) for name in Task.__dataclass_fields__}
    assert fingerprint(TaskOfTomorrow(**settings)) == fingerprint(TASK)
    assert fingerprint(TaskOfTomorrow(**settings, new_setting=4)) != fingerprint(TASK)
    assert fingerprint(replace(TASK, name="Other")) == fingerprint(TASK)
    uncensored = replace(TASK, fit={"least_squares": LeastSquares(limits=None)})
    assert fingerprint(uncensored) != fingerprint(TASK)


@pytest.mark.parametrize("name", TASKS)
def test_a_task_is_the_same_in_another_process(name: str) -> None:
    task = TASKS[name]
    there = cloudpickle.loads(cloudpickle.dumps(task))
    assert fingerprint(there) == fingerprint(task)
    assert there._cost() == task._cost()
