"""The tables of the page: scores by subject and by condition, figures by task."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from koopman_control.benchmark.cells import Cell, Name
from koopman_control.benchmark.names import OWN, short
from koopman_control.benchmark.statistics import Estimate, mean_of_runs, over_tasks
from koopman_control.benchmark.summary import COLUMNS, row, scores_by_subject

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
            rows.setdefault(short(entry[0]), []).append(_score(cells.get(entry)))
    by_subject = scores_by_subject(cells)
    overall = [by_subject.get(entries[0][1:]) for entries in known.values()]
    rows[ALL] = [NOTHING if scores is None else text(over_tasks(scores)) for scores in overall]
    return Table(title, list(known), rows, note)


def figures_table(cells: Mapping[Name, Cell]) -> Table:
    """Lay out returns, violations and times of our controller, a row per task."""
    own = [cell for (_, s, c), cell in cells.items() if (s, c) == (OWN, "nominal")]
    rows = {
        short(cell.name[0]): row(cell, cells.get((cell.name[0], "reference", "nominal")))[1:]
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
