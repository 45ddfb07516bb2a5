"""Figures of the benchmark: performance profiles, learning curves, paired differences."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
from matplotlib.artist import Artist
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from koopman_control.benchmark.names import OWN, short
from koopman_control.benchmark.statistics import Estimate, performance_profile
from koopman_control.common import Array
from koopman_control.evaluation import PairedDifference
from koopman_control.evaluation.plots import style

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
    style.legend_below(figure, *panels[0].get_legend_handles_labels())
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
        style.plain_axes(axes, title=short(task))
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
    panels[0].set_yticks(range(len(tasks)), [short(task) for task in tasks])
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
