"""The results as plain data (control.json), as Markdown, and as the tables of the page."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np

from koopman_control.benchmark.statistics import (
    OWN,
    Cell,
    Estimate,
    Name,
    iqm_of_returns,
    mean_of_runs,
    over_tasks,
    score_difference,
)
from koopman_control.common import Array
from koopman_control.evaluation import PairedDifference

UNTOLD = "autopilot"  # the subject that is told nothing
COLUMNS = (
    "task", "steps", "IQM", "mean", "worst run's mean", "worst episode", "reference", "score",
    "violations", "learning, s", "act p50 / p99, µs",
)  # fmt: skip


def summarised(cells: Mapping[Name, Cell]) -> dict[str, Any]:
    """Return all figures: per cell, over tasks, and paired differences of ours to others."""
    return {
        "cells": [figures(cell) for cell in cells.values()],
        "over_tasks": [
            {"subject": subject, "condition": condition, "tasks": len(scores)}
            | {"iqm": asdict(over_tasks(scores)), "mean": asdict(over_tasks(scores, np.mean))}
            for (subject, condition), scores in scores_by_subject(cells).items()
        ],
        "differences": {
            condition: {
                subject: {task: asdict(difference) for task, difference in found.items()}
                for subject, found in differences(cells, condition).items()
            }
            for condition in dict.fromkeys(condition for _, _, condition in cells)
        },
    }


def differences(
    cells: Mapping[Name, Cell], condition: str
) -> dict[str, dict[str, PairedDifference]]:
    """Compare our scores with those of every other subject: subject, task, difference."""
    found: dict[str, dict[str, PairedDifference]] = {}
    for (task, subject, under), cell in cells.items():
        own = cells.get((task, OWN, condition))
        if under != condition or subject == OWN or own is None:
            continue
        if (difference := score_difference(own, cell)) is not None:
            found.setdefault(subject, {})[task] = difference
    return found


def scores_by_subject(cells: Mapping[Name, Cell]) -> dict[tuple[str, str], list[Array]]:
    """Collect the scores (runs,) on each task that has them, by subject and condition."""
    found: dict[tuple[str, str], list[Array]] = {}
    for (_, subject, condition), cell in cells.items():
        if cell.scores is not None:
            found.setdefault((subject, condition), []).append(np.array(list(cell.scores.values())))
    return found


def figures(cell: Cell) -> dict[str, Any]:
    """Return the figures of one cell and its returns."""
    task, subject, condition = cell.name
    matrix, scores = cell.matrix, cell.scores
    means = matrix.mean(axis=1)
    return {
        "task": task,
        "subject": subject,
        "condition": condition,
        "runs": len(matrix),
        "failed": sorted(cell.failed),
        "iqm": asdict(iqm_of_returns(cell)),
        "mean": asdict(mean_of_runs(means)),
        "worst_run": float(means.min()),
        "worst_episode": float(matrix.min()),
        "score": None if scores is None else asdict(mean_of_runs(list(scores.values()))),
        "scores": None if scores is None else {str(s): x for s, x in scores.items()},
        "violations": _violations(cell),
        "fallback_share": _share(cell),
        "data_steps": cell.data_steps,
        "times": _times(cell),
        "returns": {str(seed): row.tolist() for seed, row in cell.returns.items()},
    }


def markdown(cells: Mapping[Name, Cell], subject: str = OWN) -> str:
    """Write the table of one subject under nominal conditions, a row per task."""
    rows = [
        row(cell, cells.get((task, "reference", "nominal")))
        for (task, name, condition), cell in cells.items()
        if name == subject and condition == "nominal"
    ]
    lines = [" | ".join(map(_inert, cells)) for cells in (COLUMNS, *rows)]
    lines = [f"| {line} |" for line in lines]
    return "\n".join([lines[0], f"|{'---|' * len(COLUMNS)}", *lines[1:]]) + "\n"


def main_tables(cells: Mapping[Name, Cell]) -> str:
    """Write the table of the tasks' own controllers, and that of the autopilot where it ran."""
    nominal = {subject for _, subject, condition in cells if condition == "nominal"}
    told_nothing = f"The autopilot, told nothing:\n\n{markdown(cells, UNTOLD)}"
    if UNTOLD not in nominal:
        return markdown(cells)
    return f"{markdown(cells)}\n{told_nothing}" if OWN in nominal else told_nothing


def _inert(text: str) -> str:
    """Keep a name from ending its cell, or from being read as HTML, a link or mathematics."""
    plain = re.sub(r"([\\`*\[\]|$])", r"\\\1", " ".join(text.split()))
    return plain.replace("<", "&lt;").replace(">", "&gt;")


def row(cell: Cell, reference: Cell | None) -> tuple[str, ...]:
    """Return the texts of `COLUMNS` for one cell."""
    f = figures(cell)
    times = f["times"]
    return (
        f["task"],
        str(f["data_steps"]),
        f"{f['iqm']['value']:.2f}",
        f"{f['mean']['value']:.2f}",
        f"{f['worst_run']:.2f}",
        f"{f['worst_episode']:.2f}",
        "none" if reference is None else _reference(reference),
        "none" if f["score"] is None else f"{f['score']['value']:.3f}",
        _broken(f["violations"]),
        f"{times['learn_seconds']:.1f}" if times else "none",
        f"{times['act_us_p50']:.0f} / {times['act_us_p99']:.0f}" if times else "none",
    )


def _reference(cell: Cell) -> str:
    return f"{cell.matrix.mean():.2f} ({cell.records[0]['name']})"


def _broken(violations: Mapping[str, Any]) -> str:
    if violations["total"] is None:
        return "not reported"
    if not violations["episodes"]:
        return "none"
    return f"{violations['total']:.2g} in {violations['episodes']} episodes"


def _violations(cell: Cell) -> dict[str, float | int | None]:
    found = [r["violations"] for r in cell.records if "violations" in r]
    totals = [v["total"] for v in found if v["total"] is not None]
    return {
        "total": sum(totals) if totals else None,
        "episodes": sum(v["episodes"] for v in found),
        "steps": sum(v["steps"] for v in found),
    }


def _share(cell: Cell) -> float | None:
    steps = sum(r.get("steps", 0) for r in cell.records)
    return sum(r.get("fallbacks", 0) for r in cell.records) / steps if steps else None


def _times(cell: Cell) -> dict[str, float]:
    """Summarise times: the longest learning, medians over runs of the step times."""
    found = [r["times"] for r in cell.records if "times" in r]
    if not found:
        return {}
    return {
        "learn_seconds": max(t["learn_seconds"] for t in found),
        "act_us_p50": float(np.median([t["act_us"]["p50"] for t in found])),
        "act_us_p99": float(np.median([t["act_us"]["p99"] for t in found])),
    }


NOTHING = "–"
ALL = "all tasks, IQM"


@dataclass(frozen=True)
class Table:
    """A table of text.

    Args:
        title: What it shows.
        columns: Headings, without that of the row names.
        rows: Row name to one text per column.
        note: How to read it.
    """

    title: str
    columns: Sequence[str]
    rows: Mapping[str, Sequence[str]]
    note: str


def tables(cells: Mapping[Name, Cell]) -> list[Table]:
    """Return all tables that have something to show."""
    tasks, subjects, conditions = (list(dict.fromkeys(part)) for part in zip(*cells, strict=True))
    found = [
        scores_table(
            "Score of each subject",
            {s: [(t, s, "nominal") for t in tasks] for s in subjects},
            cells,
            "Mean over the runs with its interval; below, the interquartile mean over all runs.",
        ),
        scores_table(
            "Score under each condition, our controller",
            {c: [(t, OWN, c) for t in tasks] for c in conditions},
            cells,
            "Scores of less data, of noise, of a delay and of a changed plant are on the scale of "
            "the plant as it is. What is empty is explained under “Left out”.",
        ),
        figures_table(cells),
    ]
    return [table for table in found if table.rows and table.columns]


def scores_table(
    title: str, columns: Mapping[str, Sequence[Name]], cells: Mapping[Name, Cell], note: str
) -> Table:
    """Lay out scores: a column per name, a row per task, and one over all tasks."""
    known = {name: entries for name, entries in columns.items() if any(e in cells for e in entries)}
    rows: dict[str, list[str]] = {}
    for entries in known.values():
        for entry in entries:
            rows.setdefault(entry[0], []).append(_score(cells.get(entry)))
    by_subject = scores_by_subject(cells)
    overall = [by_subject.get(entries[0][1:]) for entries in known.values()]
    rows[ALL] = [NOTHING if scores is None else text(over_tasks(scores)) for scores in overall]
    return Table(title, list(known), rows, note)


def figures_table(cells: Mapping[Name, Cell]) -> Table:
    """Lay out returns, violations and times of our controller, a row per task."""
    own = [cell for (_, s, c), cell in cells.items() if (s, c) == (OWN, "nominal")]
    rows = {
        cell.name[0]: row(cell, cells.get((cell.name[0], "reference", "nominal")))[1:]
        for cell in own
    }
    return Table(
        "Returns, violations and times of our controller",
        COLUMNS[1:],
        rows,
        "IQM: interquartile mean over all episodes of all runs. Learning is the longest of all "
        "runs, step times are medians over runs.",
    )


def text(estimate: Estimate) -> str:
    """Write a score with its interval, if it has one."""
    if not np.isfinite(estimate.low):
        return f"{estimate.value:.3f}"
    return f"{estimate.value:.3f} ({estimate.low:.3f} … {estimate.high:.3f})"


def _score(cell: Cell | None) -> str:
    if cell is None or cell.scores is None:
        return NOTHING
    return text(mean_of_runs(list(cell.scores.values()))).replace("-", "−")
