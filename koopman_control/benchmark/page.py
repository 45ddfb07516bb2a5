"""The page of the benchmark: control.html and its figures, from the cells."""

from __future__ import annotations

from collections.abc import Mapping
from importlib import resources
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from koopman_control.benchmark.cells import Cell, Name
from koopman_control.benchmark.conditions import CONDITIONS, SHARES
from koopman_control.benchmark.figures import (
    Curve,
    learning_curves,
    paired_differences,
    performance_profiles,
)
from koopman_control.benchmark.names import OWN
from koopman_control.benchmark.plan import Plan
from koopman_control.benchmark.statistics import mean_of_runs, over_tasks
from koopman_control.benchmark.subjects import SUBJECTS
from koopman_control.benchmark.summary import differences, scores_by_subject
from koopman_control.benchmark.tables import tables, text
from koopman_control.common import write_text_atomically
from koopman_control.evaluation.report import picture, render

if TYPE_CHECKING:  # matplotlib is loaded where figures are drawn
    from matplotlib.figure import Figure

CAPTIONS = {
    "performance_profiles": "Share of runs that score above each threshold, every task weighing "
    "the same; the higher and the further right, the better. Bands are 95 % intervals. On the "
    "right, scores near the reference.",
    "learning_curves": "Mean score over the runs, learned from a quarter of each task’s budget up "
    "to twice of it, all judged on the same seeds; runs that failed to learn count as random "
    "actions. Scores below the axis lie on its edge.",
    "paired_differences": "Our score less that of a baseline on the same learning seeds, with 95 % "
    "intervals over them: blue where ours is higher with that confidence, vermillion where lower. "
    "Arrows lie beyond the edge.",
}


def write_page(
    folder: Path, cells: Mapping[Name, Cell], plan: Plan, facts: Mapping[str, Any]
) -> None:
    """Write control.html and a PNG per figure.

    Args:
        folder: Where to.
        cells: What was found; at least one.
        plan: What was left out.
        facts: `settings`, `versions` and `machine` of the file of runs.
    """
    pictures = [
        picture(folder, name, figure, CAPTIONS[name]) for name, figure in _figures(cells).items()
    ]
    subjects = SUBJECTS | dict(plan.subjects)
    source = resources.files(__package__).joinpath("page.html.jinja").read_text("utf-8")
    page = render(
        source,
        verdict=verdict(cells),
        n_tasks=len({task for task, _, _ in cells}),
        n_runs=sum(len(cell.returns) for cell in cells.values()),
        **facts["settings"],
        tables=tables(cells),
        pictures=pictures,
        subjects={name: subject.summary for name, subject in subjects.items()},
        conditions={name: condition.summary for name, condition in CONDITIONS.items()},
        left_out={" under ".join(names): reason for names, reason in plan.left_out.items()},
        failed=_failed(cells),
        machine=facts["machine"],
        versions=facts["versions"],
    )
    write_text_atomically(folder / "control.html", page)


def verdict(cells: Mapping[Name, Cell]) -> str:
    """Say in a sentence or two how our controller did."""
    scores = scores_by_subject(cells).get((OWN, "nominal"))
    if scores is None:
        return "Our own controller has no score yet."
    runs = np.concatenate(scores)
    return (
        f"Interquartile mean score over {len(scores)} tasks and {len(runs)} runs: "
        f"{text(over_tasks(scores))}. The worst run scores {runs.min():.3f}."
    )


def curves(cells: Mapping[Name, Cell]) -> dict[str, dict[str, Curve]]:
    """Collect scores by budget for every task and subject that has more than one."""
    found: dict[str, dict[str, Curve]] = {}
    for task, subject in dict.fromkeys((task, subject) for task, subject, _ in cells):
        by_share = {
            share: (cell.data_steps, list(cell.scores.values()))
            for budget, share in SHARES.items()
            if (cell := cells.get((task, subject, budget))) is not None
            if cell.scores is not None
        }
        if len(by_share) > 1:
            found.setdefault(task, {})[subject] = _curve(by_share)
    return found


def _curve(by_share: Mapping[float, tuple[int, list[float]]]) -> Curve:
    """Order scores by steps; where all runs failed, none tells of how many, but its share does."""
    whole = max(steps / share for share, (steps, _) in by_share.items())
    return [
        (steps or round(share * whole), mean_of_runs(scores))
        for share, (steps, scores) in by_share.items()
    ]


def _figures(cells: Mapping[Name, Cell]) -> dict[str, Figure]:
    """Draw what there is enough data for."""
    profiles = {
        subject: scores
        for (subject, condition), scores in scores_by_subject(cells).items()
        if condition == "nominal" and subject != "reference"
    }
    compared, learned = differences(cells, "nominal"), curves(cells)
    figures: dict[str, Figure] = {}
    if profiles:
        figures["performance_profiles"] = performance_profiles(profiles)
    if learned:
        figures["learning_curves"] = learning_curves(learned)
    if compared:
        figures["paired_differences"] = paired_differences(compared)
    return figures


def _failed(cells: Mapping[Name, Cell]) -> dict[str, str]:
    return {
        ", ".join(name): f"learning seeds {', '.join(map(str, sorted(cell.failed)))}"
        for name, cell in cells.items()
        if cell.failed
    }
