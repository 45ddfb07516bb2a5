from __future__ import annotations

from pathlib import Path

import pytest

import examples.benchmarks.ablations as ablations
from koopman_control.tasks import TASKS
from tests.benchmark.tiny import ENV, tiny_task


@pytest.mark.parametrize("name", ablations.ABLATIONS)
def test_every_ablation_makes_a_difference_somewhere(name: str) -> None:
    variation = ablations.ABLATIONS[name][1]
    touched = [task for task in TASKS.values() if ablations.differs(task, variation)]
    assert touched
    for task in touched:
        variation.task(task).estimator()


def test_a_task_without_random_plans_has_none_to_lose() -> None:
    variation = ablations.ABLATIONS["one guess"][1]
    assert ablations.differs(TASKS["Pendulum-v1"], variation)
    assert not ablations.differs(tiny_task(), variation)


def test_ablations_end_in_a_page(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(ablations, "TASKS", {ENV: tiny_task()})
    ablations.main([ENV], seeds=2, episodes=2, jobs=1, out=tmp_path)
    page = (tmp_path / "control.html").read_text("utf-8")
    assert "no rounds" in page and "all data under the excitation" in page
    assert "one guess</th>" not in page.partition("What was compared")[0]
