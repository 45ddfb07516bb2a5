"""The command `identify`: log files in; a model, its free runs on unseen data and a report out."""

from __future__ import annotations

import time as clock
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer
from typer.core import TyperCommand

from koopman_control.cli.errors import new_folder, one_sentence

if TYPE_CHECKING:
    from koopman_control.trajectories import Trajectory

SEVERAL = ("--inputs", "--outputs", "--test")  # options that take all values up to the next option


class SeveralValues(TyperCommand):
    """A command whose options may be followed by several values: `--inputs u1 u2`."""

    def parse_args(self, ctx: Any, args: list[str]) -> list[str]:
        """Repeat the option before every further value."""
        expanded: list[str] = []
        option, taken = None, 0
        for arg in args:
            if arg.startswith("-") and arg != "-":
                option, taken = (arg if arg in SEVERAL else None), 0
            elif option is not None:
                taken += 1
                if taken > 1:
                    expanded.append(option)
            expanded.append(arg)
        return super().parse_args(ctx, expanded)


def identify(
    logs: Annotated[
        list[Path], typer.Argument(help="CSV, TSV, Parquet, MATLAB or .npz files, one run each.")
    ],
    inputs: Annotated[list[str], typer.Option(help="Column of an input; may be repeated.")],
    outputs: Annotated[list[str], typer.Option(help="Column of an output; may be repeated.")],
    time: Annotated[str | None, typer.Option(help="Column of times in seconds or dates.")] = None,
    dt: Annotated[
        float | None, typer.Option(help="Seconds from row to row, or to resample to with --time.")
    ] = None,
    test: Annotated[
        list[Path] | None, typer.Option(help="File to judge on; may be repeated.")
    ] = None,
    split: Annotated[
        float, typer.Option(min=0.05, max=0.95, help="Share to fit to, where no --test is given.")
    ] = 0.75,
    run_column: Annotated[
        str | None, typer.Option(help="Column that labels runs in one file.")
    ] = None,
    angle: Annotated[
        list[str] | None, typer.Option(help="Output that is an angle and jumps by 2 pi.")
    ] = None,
    missing: Annotated[
        list[str] | None,
        typer.Option(help="Stands for a missing value, as -9999; 'none': every number counts."),
    ] = None,
    seconds: Annotated[
        float, typer.Option(min=1.0, help="Time after which nothing new is tried.")
    ] = 60.0,
    seed: Annotated[int, typer.Option(min=0, max=4_000_000, help="Seed of the features.")] = 0,
    export: Annotated[Path | None, typer.Option(help="Write the model here, too (.npz).")] = None,
    output: Annotated[Path, typer.Option(help="Folder in which a folder is made.")] = Path("runs"),
    json: Annotated[
        bool, typer.Option("--json", help="Print metrics.json and nothing else to standard output.")
    ] = False,
    debug: Annotated[bool, typer.Option(help="Show the traceback of an error.")] = False,
) -> None:
    """Identify a model from log files, and say how well it simulates data it has not seen.

    Memory, feed-through, coupling and sampling are chosen by simulations of data left out. Writes
    report.html, metrics.json, model.npz and figures to OUTPUT/<file>-<time>/.
    """
    with one_sentence(debug):
        from koopman_control.evaluation import judge_on_log, write_identification
        from koopman_control.evaluation.summary import printable
        from koopman_control.identification import identify as identified
        from koopman_control.trajectories import coverage

        def read(paths: Sequence[Path]) -> tuple[list[Trajectory], list[str]]:
            return read_logs(
                paths, inputs, outputs, time=time, dt=dt, run=run_column,
                angles=angle or [], missing=missing or [],
            )  # fmt: skip

        if export is not None and (export.is_dir() or not export.parent.is_dir()):
            raise ValueError(f"export is {export}; expected a file in a folder that is there")
        data, notes = read(logs)
        if test:
            judged_on, more = read(test)
            notes += [f"test data: {note}" for note in more]
        else:
            data, judged_on = split_runs(data, split)
        notes += coverage(data).findings
        name = f"{logs[0].name.partition('.')[0]}-{clock.strftime('%Y%m%d-%H%M%S')}"
        with new_folder(output / name) as folder:
            for note in notes:
                typer.echo(printable(f"Note: {note}"), err=True)
            found = identified(data, seconds=seconds, random_state=seed)
            judged = judge_on_log(found, judged_on)
            asked = {
                "logs": [str(path) for path in logs], "inputs": inputs, "outputs": outputs,
                "time": time, "dt": dt, "test": [str(path) for path in test or []],
                "split": split, "run_column": run_column, "angle": angle, "missing": missing,
                "seconds": seconds, "seed": seed,
            }  # fmt: skip
            page = write_identification(folder, found, judged, logs[0].name, notes, asked)
            if export is not None:
                found.model.save(export)
        if json:
            typer.echo((folder / "metrics.json").read_text("utf-8"), nl=False)
        else:
            for sentence in judged.verdict:
                typer.echo(printable(sentence))
            typer.echo(f"Model: {found.structure}, in {found.seconds:.0f} s.")
            typer.echo(f"Report: {page}")


def read_logs(
    paths: Sequence[Path],
    inputs: Sequence[str],
    outputs: Sequence[str],
    *,
    time: str | None,
    dt: float | None,
    run: str | None,
    angles: Sequence[str],
    missing: Sequence[str],
) -> tuple[list[Trajectory], list[str]]:
    """Read files into trajectories, each file a run or several; whatever is wrong is one sentence.

    Returns:
        The trajectories, and what was made of the files.
    """
    import numpy as np

    from koopman_control.common import positive_float
    from koopman_control.trajectories import from_table, read_columns
    from koopman_control.trajectories.log_files import PIECES

    if dt is not None:
        positive_float("dt", dt)
    asked = [*inputs, *outputs, *([time] if time else []), *([run] if run else [])]
    twice = sorted({column for column in asked if asked.count(column) > 1})
    if twice:
        raise ValueError(f"column {twice[0]!r} is named twice; name each column once")
    data: list[Trajectory] = []
    notes: list[str] = []
    for path in paths:
        found = read_columns(path, asked, _progress(path))
        columns = dict(found.columns)
        label = run
        if PIECES in columns:
            own = columns[run].astype(str) if run else np.zeros(len(columns[PIECES]), dtype="U1")
            columns[PIECES] = np.char.add(own, columns[PIECES].astype(str))
            label = PIECES
        if time and columns[time].dtype.kind in "OUS":
            columns[time] = _dates(columns, time)
        runs, report = from_table(
            columns, list(outputs), list(inputs), time=time, dt=dt, angles=list(angles),
            run=label, missing=list(missing),
        )  # fmt: skip
        data += runs
        notes += [f"{path.name}: {note}" for note in found.notes]
        if report.n_runs > 1 or report.n_incomplete or report.n_back or report.jitter > 0.01:
            notes.append(f"{path.name}: {str(report).replace(chr(10), '; ')}.")
    if time is None and dt is None:
        data = [replace(trajectory, dt=None) for trajectory in data]
        notes.append("No --time and no --dt: time is counted in rows.")
    return data, notes


def _dates(columns: dict[str, Any], name: str) -> Any:
    """Read a column of dates as seconds since the first."""
    import numpy as np

    from koopman_control.common import optional_package
    from koopman_control.trajectories.table import read_clock, read_numbers

    try:
        return read_numbers(columns, name, ["none"])
    except (TypeError, ValueError):
        pandas = optional_package("pandas", "forecast")
        dates = read_clock(pandas.DataFrame({name: columns[name]}), name).dates
        return (dates - dates[0]) / np.timedelta64(1, "ns") * 1e-9


def split_runs(
    data: Sequence[Trajectory], share: float
) -> tuple[list[Trajectory], list[Trajectory]]:
    """Split runs into those to fit to and those to judge on, in the order of the log.

    Whole runs are kept together where there are several and the share can be met within a tenth;
    else the run in which it is met is cut.
    """
    total = sum(len(run) for run in data)
    goal = share * total
    seen: list[Trajectory] = []
    left: list[Trajectory] = []
    for run in data:
        before = sum(len(other) for other in seen)
        if left or before >= goal - 0.1 * total * (len(data) > 1):
            left.append(run)
        elif before + len(run) <= goal + 0.1 * total * (len(data) > 1):
            seen.append(run)
        else:
            cut = round(goal - before)
            first, second = _cut(run, cut)
            seen.append(first)
            left.append(second)
    if not seen or not left:
        raise ValueError(
            f"split is {share}, which leaves nothing to {'judge on' if seen else 'fit to'}; "
            "expected a share that cuts the log, or files to judge on (--test)"
        )
    return seen, left


def _cut(run: Trajectory, steps: int) -> tuple[Trajectory, Trajectory]:
    steps = min(max(steps, 1), len(run) - 1)
    first = replace(
        run, observations=run.observations[: steps + 1], actions=run.actions[:steps], rewards=None
    )
    second = replace(
        run, observations=run.observations[steps:], actions=run.actions[steps:], rewards=None
    )
    return first, second


def _progress(path: Path) -> Callable[[int], None] | None:
    """Report rows read of large files on standard error."""
    if not path.is_file() or path.stat().st_size < 200_000_000:
        return None

    def report(rows: int) -> None:
        typer.echo(f"\r{path.name}: {rows:,} rows", nl=False, err=True)

    return report
