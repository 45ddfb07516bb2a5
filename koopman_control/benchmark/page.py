"""The page of the benchmark: control.html and its figures, from the cells."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from importlib import resources
from pathlib import Path
from typing import Any

import numpy as np
from matplotlib.artist import Artist
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from koopman_control.benchmark.conditions import CONDITIONS, SHARES
from koopman_control.benchmark.plan import Key, Plan
from koopman_control.benchmark.run import Record, RunFile
from koopman_control.benchmark.statistics import (
    OWN,
    Cell,
    Estimate,
    Name,
    cells_of,
    mean_of_runs,
    over_tasks,
    performance_profile,
)
from koopman_control.benchmark.subjects import SUBJECTS
from koopman_control.benchmark.summary import (
    differences,
    main_tables,
    scores_by_subject,
    summarised,
    tables,
    text,
)
from koopman_control.benchmark.variants import fingerprint
from koopman_control.common import Array, PathLike, ensure_writable_folder, write_text_atomically
from koopman_control.common.border import checked
from koopman_control.evaluation import PairedDifference, metrics_json
from koopman_control.evaluation.plots import style
from koopman_control.evaluation.report import picture, render
from koopman_control.evaluation.summary import printable
from koopman_control.tasks import TASKS

_STYLES = (
    (style.ORANGE, "--"), (style.GREEN, "-."), (style.PURPLE, ":"), (style.VERMILLION, "--"),
    (style.GREY, "-."), (style.INK, ":"), (style.ORANGE, ":"), (style.GREEN, "--"),
    (style.PURPLE, "-."), (style.VERMILLION, ":"), (style.GREY, "--"), (style.INK, "-."),
)  # fmt: skip
SPANS = ((0.0, 1.0), (0.9, 1.02))  # of scores: all, and near the reference
COLUMNS = 4  # of small panels
LOWEST = -0.25  # scores below are drawn at the edge
WIDEST = 1.5  # differences of scores beyond are drawn at the edge

Curve = Sequence[tuple[int, Estimate]]  # environment steps and score, in that order


def performance_profiles(scores: Mapping[str, Sequence[Array]]) -> Figure:
    """Draw the share of runs that score more than a threshold.

    Args:
        scores: For each subject the scores (runs,) on each task.

    Returns:
        A line per subject with its 95 % band, every task weighing the same.
    """
    figure = style.new_figure(height=4.2)
    panels = figure.subplots(1, len(SPANS), sharey=True)
    for axes, span in zip(panels, SPANS, strict=True):
        thresholds = np.linspace(*span, 201)
        for name, values in scores.items():
            colour, line = subject_style(name, list(scores))
            share, low, high = performance_profile(values, thresholds)
            axes.fill_between(thresholds, 100 * low, 100 * high, color=colour, alpha=0.15, lw=0)
            axes.plot(thresholds, 100 * share, color=colour, ls=line, lw=1.8, label=name)
        axes.set(xlim=span, ylim=(0.0, 102.0))
        style.plain_axes(axes, "score (0 random actions, 1 reference)")
    panels[0].set_ylabel("runs above (%)", fontsize=9.5, color=style.INK)
    style.legend_below(figure, *style.entries(panels[0]))
    style.set_title(figure, _profile_finding(scores))
    return figure


def learning_curves(curves: Mapping[str, Mapping[str, Curve]]) -> Figure:
    """Draw scores against environment steps, a small panel per task.

    Args:
        curves: Task, subject, and the scores after so many environment steps.
    """
    rows = -(-len(curves) // COLUMNS)
    figure = style.new_figure(height=0.9 + 1.75 * rows)
    panels = figure.subplots(rows, COLUMNS, squeeze=False, sharey=True).ravel()
    names = list(dict.fromkeys(name for subjects in curves.values() for name in subjects))
    handles: dict[str, Artist] = {}
    for axes, (task, subjects) in zip(panels, curves.items(), strict=False):
        for name, curve in subjects.items():
            handles[name] = _curve(axes, curve, *subject_style(name, names))
        axes.set(ylim=(LOWEST, 1.1), xlim=(0, None))
        axes.axhline(1.0, color=style.GREY, lw=0.8, ls="--")
        style.plain_axes(axes, title=task)
        style.count_ticks(axes.xaxis, 3)
    for axes in panels[len(curves) :]:
        axes.set_visible(False)
    for axes in panels[max(0, len(curves) - COLUMNS) : len(curves)]:
        axes.set_xlabel("environment steps", fontsize=9.5, color=style.INK)
    figure.supylabel("score", fontsize=9.5, color=style.INK)
    style.legend_below(figure, list(handles.values()), list(handles))
    style.set_title(figure, _learning_finding(curves))
    return figure


def paired_differences(differences: Mapping[str, Mapping[str, PairedDifference]]) -> Figure:
    """Draw by how much our score is above that of each baseline, learning seed by learning seed.

    Args:
        differences: Baseline, task, and the difference on the same learning seeds.
    """
    tasks = list(dict.fromkeys(task for found in differences.values() for task in found))
    rows = -(-len(differences) // COLUMNS)
    figure = style.new_figure(height=0.9 + rows * (0.5 + 0.2 * len(tasks)))
    panels = figure.subplots(rows, COLUMNS, squeeze=False, sharey=True, sharex=True).ravel()
    for axes, (name, found) in zip(panels, differences.items(), strict=False):
        axes.axvline(0.0, color=style.GREY, lw=1)
        for task, difference in found.items():
            _difference(axes, tasks.index(task), difference)
        axes.set(xlim=(-0.35, WIDEST))
        style.plain_axes(axes, title=f"to {name}")
        style.count_ticks(axes.xaxis, 3)
    for axes in panels[len(differences) :]:
        axes.set_visible(False)
    panels[0].set_yticks(range(len(tasks)), [printable(task) for task in tasks], **style.LITERAL)
    panels[0].set_ylim(len(tasks) - 0.5, -0.5)
    figure.supxlabel("difference of scores, paired by learning seed", fontsize=9.5, color=style.INK)
    style.set_title(figure, _difference_finding(differences))
    return figure


def subject_style(name: str, names: Sequence[str]) -> tuple[str, str]:
    """Return colour and line of a subject, the same in every figure of the same subjects."""
    if name == OWN:
        return style.BLUE, "-"
    others = [other for other in names if other != OWN]
    return _STYLES[others.index(name) % len(_STYLES)]


def _curve(axes: Axes, curve: Curve, colour: str, line: str) -> Artist:
    steps = [x for x, _ in curve]
    value, low, high = (
        np.maximum([getattr(found, part) for _, found in curve], LOWEST)
        for part in ("value", "low", "high")
    )
    axes.fill_between(steps, low, high, color=colour, alpha=0.15, lw=0)
    return axes.plot(steps, value, color=colour, ls=line, lw=1.5, marker="o", ms=3)[0]


def _difference(axes: Axes, row: int, difference: PairedDifference) -> None:
    colour = style.GREY
    if difference.low > 0.0:
        colour = style.BLUE
    elif difference.high < 0.0:
        colour = style.VERMILLION
    if difference.mean > WIDEST:  # an arrow: beyond the edge
        axes.plot(0.97 * WIDEST, row, ">", color=colour, ms=6)
        return
    axes.plot([difference.low, difference.high], [row, row], color=colour, lw=2)
    axes.plot(difference.mean, row, "D", color=colour, ms=4)


def _profile_finding(scores: Mapping[str, Sequence[Array]]) -> str:
    if OWN not in scores:
        return "Share of runs above each score"
    share = performance_profile(scores[OWN], np.array([0.9]))[0][0]
    return f"{100 * share:.0f} % of our runs score above 0.9 of the true-model reference"


def _learning_finding(curves: Mapping[str, Mapping[str, Curve]]) -> str:
    own = [subjects[OWN] for subjects in curves.values() if OWN in subjects]
    if not own:
        return "Score against environment steps used for learning"
    least, most = (np.mean([curve[end][1].value for curve in own]) for end in (0, -1))
    return f"Our score, mean over tasks: {least:.2f} with the least data, {most:.2f} with the most"


def _difference_finding(differences: Mapping[str, Mapping[str, PairedDifference]]) -> str:
    found = [d for tasks in differences.values() for d in tasks.values()]
    better, worse = sum(d.low > 0.0 for d in found), sum(d.high < 0.0 for d in found)
    return (
        f"Our score is higher than a baseline's in {better} of {len(found)} comparisons and lower "
        f"in {worse}, with 95 % confidence"
    )


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
            found.setdefault(task, {})[subject] = _curve_of(by_share)
    return found


def _curve_of(by_share: Mapping[float, tuple[int, list[float]]]) -> Curve:
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


@checked
def write_results(folder: PathLike, plan: Plan, runs: RunFile) -> str:
    """Summarise all valid runs of a folder, those of earlier plans included.

    Args:
        folder: Where to; made if it is not there.
        plan: The plan; says what was left out, and why.
        runs: The runs.

    Returns:
        The Markdown table.
    """
    cells = cells_of(valid(plan, runs), plan.evaluation_seeds)
    left_out = {" under ".join(names): reason for names, reason in plan.left_out.items()}
    content = runs.header | {"left_out": left_out} | summarised(cells)
    table = main_tables(cells)
    results = ensure_writable_folder(folder)
    write_text_atomically(results / "control.json", metrics_json(content))
    write_text_atomically(results / "control.md", table)
    if cells:
        write_page(results, cells, plan, runs.header)
    return table


def valid(plan: Plan, runs: RunFile) -> dict[Key, Record]:
    """Return the records of tasks that are still what they were then."""
    tasks = {**TASKS, **plan.tasks}
    current = {name: fingerprint(task) for name, task in tasks.items()}
    return {
        key: record
        for key, record in runs.records().items()
        if record.get("settings") == current.get(key.task, "unknown")
    }
