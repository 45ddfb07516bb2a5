"""Log files as trajectories: what `identify` and `control` read, of whatever kind."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

import typer

if TYPE_CHECKING:
    from koopman_control.trajectories import Trajectory

LARGE = 200_000_000  # bytes of a file whose reading is shown
EVERY = 1_000_000  # rows that are told
MOST_CELLS = 1_000_000  # numbers of a file that are used: fits look at fewer
MINARI = "minari:"  # before the name of a data set on this machine


def read_logs(
    paths: Sequence[Path],
    inputs: Sequence[str],
    outputs: Sequence[str],
    *,
    time: str | None = None,
    dt: float | None = None,
    run: str | None = None,
    angles: Sequence[str] = (),
    missing: Sequence[str] = (),
) -> tuple[list[Trajectory], list[str]]:
    """Read files into trajectories, each file a run or several; whatever is wrong is one sentence.

    `minari:NAME` is a Minari data set, with outputs y0, y1, ... and inputs u0, u1, ..., of which
    all are taken where none are named.

    Returns:
        The trajectories, and what was made of the files.
    """
    from koopman_control.common import positive_float

    if dt is not None:
        positive_float("dt", dt)
    asked = [*inputs, *outputs, *([time] if time else []), *([run] if run else [])]
    twice = sorted({column for column in asked if asked.count(column) > 1})
    if twice:
        raise ValueError(f"column {twice[0]!r} is named twice; name each column once")
    data: list[Trajectory] = []
    notes: list[str] = []
    for path in paths:
        if str(path).startswith(MINARI):
            if time or run or missing:
                raise ValueError(
                    f"{path} holds episodes without a column of times, of runs or of markers; "
                    "leave --time, --run-column and --missing out"
                )
            data += _episodes(str(path), inputs, outputs, dt, angles)
            continue
        if not inputs or not outputs:
            raise ValueError(
                f"{path} is a table: name its columns with --inputs and --outputs (only Minari "
                "data sets need no names)"
            )
        runs, said = _rows(path, inputs, outputs, time, dt, run, angles, missing)
        data += runs
        notes += said
    if time is None and dt is None:
        data = [replace(trajectory, dt=None) for trajectory in data]
        notes.append("No --time and no --dt: time is counted in rows.")
    return data, notes


def _rows(
    path: Path,
    inputs: Sequence[str],
    outputs: Sequence[str],
    time: str | None,
    dt: float | None,
    run: str | None,
    angles: Sequence[str],
    missing: Sequence[str],
) -> tuple[list[Trajectory], list[str]]:
    """Read a table."""
    import numpy as np

    from koopman_control.trajectories import from_table, read_columns
    from koopman_control.trajectories.log_files import PIECES

    asked = [*inputs, *outputs, *([time] if time else []), *([run] if run else [])]
    found = read_columns(path, asked, _progress(path), MOST_CELLS)
    columns, label = dict(found.columns), run
    if PIECES in columns:
        if run:
            own = np.unique(columns[run].astype(str), return_inverse=True)[1]
            columns[PIECES] = columns[PIECES] * (1 + own.max()) + own
        label = PIECES
    runs, report = from_table(
        columns, list(outputs), list(inputs), time=time, dt=dt, angles=list(angles),
        run=label, missing=list(missing),
    )  # fmt: skip
    notes = [f"{path.name}: {note}" for note in found.notes]
    if report.n_runs > 1 or report.n_incomplete or report.n_back or report.jitter > 0.01:
        notes.append(f"{path.name}: {str(report).replace(chr(10), '; ')}.")
    return runs, notes


def _episodes(
    name: str,
    inputs: Sequence[str],
    outputs: Sequence[str],
    dt: float | None,
    angles: Sequence[str],
) -> list[Trajectory]:
    """Read a Minari data set."""
    import numpy as np

    from koopman_control.trajectories import from_minari

    episodes = from_minari(name.removeprefix(MINARI))
    p, m = episodes[0].observations.shape[1], episodes[0].actions.shape[1]

    def places(names: Sequence[str], letter: str, size: int) -> list[int]:
        there = [f"{letter}{i}" for i in range(size)]
        absent = [column for column in names if column not in there]
        if absent:
            raise ValueError(f"{name} has no column {absent[0]!r}; it has {', '.join(there)}")
        return [there.index(column) for column in names or there]

    seen, applied = places(outputs, "y", p), places(inputs, "u", m)
    turning = [seen.index(i) for i in places(angles, "y", p)] if angles else []
    found = []
    for episode in episodes:
        Y = episode.observations[:, seen].copy()
        Y[:, turning] = np.unwrap(Y[:, turning], axis=0)
        bounds = episode.observation_bounds
        found.append(
            replace(
                episode,
                observations=Y,
                actions=episode.actions[:, applied],
                rewards=None,
                dt=dt,
                observation_bounds=None if bounds is None or turning else bounds[:, seen],
                observation_names=tuple(f"y{i}" for i in seen),
                action_names=tuple(f"u{i}" for i in applied),
            )
        )
    return found


def _progress(path: Path) -> Callable[[int], None] | None:
    """Report rows read of large files on standard error."""
    if not path.is_file() or path.stat().st_size < LARGE:
        return None

    def report(rows: int) -> None:
        if rows % EVERY == 0:
            typer.echo(f"\r{path.name}: {rows:,} rows", nl=False, err=True)

    return report
