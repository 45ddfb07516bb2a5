"""The command `identify`: log files in; a model, its free runs on unseen data and a report out."""

from __future__ import annotations

import shutil
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer
from typer.core import TyperCommand

from koopman_control.cli.clusters import Cluster, on_cluster
from koopman_control.cli.errors import CHECKPOINT, one_sentence, run_folder
from koopman_control.cli.log_data import MINARI, read_logs

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
        list[Path],
        typer.Argument(
            help="CSV, TSV, Parquet, MATLAB or .npz files, one run each; or minari:NAME."
        ),
    ],
    inputs: Annotated[
        list[str] | None, typer.Option(help="Column of an input; may be repeated.")
    ] = None,
    outputs: Annotated[
        list[str] | None, typer.Option(help="Column of an output; may be repeated.")
    ] = None,
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
    jobs: Annotated[
        int, typer.Option(min=1, help="Processes, where no --cluster has its own.")
    ] = 1,
    cluster: Cluster = None,
    export: Annotated[Path | None, typer.Option(help="Write the model here, too (.npz).")] = None,
    resume: Annotated[
        Path | None, typer.Option(help="Go on in the folder of an interrupted run.")
    ] = None,
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
                paths, inputs or [], outputs or [], time=time, dt=dt, run=run_column,
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
        title = logs[0].name.removeprefix(MINARI)
        with (
            on_cluster(cluster, jobs) as processes,
            going_on(output, title.partition(".")[0], resume) as (folder, checkpoint),
        ):
            for note in notes:
                typer.echo(printable(f"Note: {note}"), err=True)
            found = identified(
                data, seconds=seconds, random_state=seed, jobs=processes, checkpoint=checkpoint
            )
            judged = judge_on_log(found, judged_on)
            columns = {
                "inputs": inputs or list(data[0].action_names or ()),
                "outputs": outputs or list(data[0].observation_names or ()),
                "time": time, "run_column": run_column, "angle": angle, "missing": missing,
            }  # fmt: skip
            summary = {**found.model.summary, "log": columns}
            found = replace(found, model=replace(found.model, summary=summary))
            asked = columns | {
                "logs": [str(path) for path in logs], "dt": dt,
                "test": [str(path) for path in test or []], "split": split,
                "seconds": seconds, "seed": seed,
            }  # fmt: skip
            page = write_identification(folder, found, judged, title, notes, asked)
            if export is not None:
                found.model.save(export)
        if json:
            typer.echo((folder / "metrics.json").read_text("utf-8"), nl=False)
        else:
            for sentence in judged.verdict:
                typer.echo(printable(sentence))
            typer.echo(f"Model: {found.structure}, in {found.seconds:.0f} s.")
            typer.echo(f"Report: {page}")


@contextmanager
def going_on(output: Path, name: str, resume: Path | None) -> Iterator[tuple[Path, Path]]:
    """Make the folder of a run, or find that of an interrupted one, and the file of its search.

    The file goes when the run has ended; where it is interrupted, how to go on is said.
    """
    folder = run_folder(output, name, resume)
    kept = folder / CHECKPOINT
    kept.mkdir(exist_ok=True)
    try:
        yield folder, kept / "search.npz"
    except KeyboardInterrupt:
        if any(kept.iterdir()):
            typer.echo(f"Go on with the same command and --resume {folder}", err=True)
        raise
    except Exception:
        shutil.rmtree(kept, ignore_errors=True)  # the same would go wrong again
        raise
    else:
        shutil.rmtree(kept, ignore_errors=True)
    finally:
        for empty in (kept, folder):
            with suppress(OSError):
                empty.rmdir()  # it refuses where there is something


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
