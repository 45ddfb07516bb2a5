"""The command `serve`: a saved controller in a real-time loop, for a plant in another process."""

from __future__ import annotations

import socket
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from itertools import chain, count
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, BinaryIO

import typer

from koopman_control.cli.errors import one_sentence

if TYPE_CHECKING:
    from rich.table import Table

    from koopman_control.deploy import ServedStep, ServingReport
    from koopman_control.deploy.serving import OnStep

LOOPBACK = "127.0.0.1"
REFRESH, NEEDED = 0.25, 0.006  # seconds between two views, and that drawing one may take


def serve(
    controller: Annotated[Path, typer.Argument(help="Saved controller, such as controller.npz.")],
    rate: Annotated[
        float | None, typer.Option(help="Steps per second; without it, each line is answered.")
    ] = None,
    deadline: Annotated[
        float | None, typer.Option(help="Microseconds for a step; half of the period by default.")
    ] = None,
    patience: Annotated[
        int, typer.Option(min=0, help="Ticks without observation for which the input is held.")
    ] = 3,
    listen: Annotated[
        int | None,
        typer.Option(min=0, max=65535, help="Port on 127.0.0.1 to use in place of stdin/stdout."),
    ] = None,
    log: Annotated[
        Path | None, typer.Option(help="CSV file of all steps; serve-<time>.csv by default.")
    ] = None,
    steps: Annotated[int | None, typer.Option(min=1, help="End after so many steps.")] = None,
    view: Annotated[
        bool | None, typer.Option("--view/--no-view", help="Show the loop; on a terminal only.")
    ] = None,
    debug: Annotated[bool, typer.Option(help="Show the traceback of an error.")] = False,
) -> None:
    """Run a saved controller in real time, with the plant in another process.

    Reads an observation a line from standard input, as a JSON list, and writes {"u": [...]} to
    standard output; or does so for one connection to a port of this machine. Nothing else goes
    there. With --rate the loop keeps its own clock; a watchdog holds the last input where no
    observation comes, and then goes to the safe input. Every step is written to a log that
    `identify` and `from_table` read. Ctrl-C ends with the safe input.
    """
    with one_sentence(debug):
        from koopman_control.deploy import Lines, StepLog
        from koopman_control.deploy import serve as run
        from koopman_control.mpc import KoopmanMPC

        mpc = KoopmanMPC.load(controller)
        path = log or _fresh(time.strftime("serve-%Y%m%d-%H%M%S"))
        m, measured = len(mpc.safe_input), len(mpc.inputs.measured)
        table = StepLog(path, mpc.model, m, measured)
        shown = sys.stderr.isatty() if view is None else view
        with _streams(listen) as (reader, writer), _window(shown, rate) as on_step:
            report = run(
                mpc,
                Lines(reader, writer),
                rate=rate,
                deadline=deadline,
                patience=patience,
                log=table,
                on_step=on_step,
                n_steps=steps,
            )
        typer.echo(f"{report}\nLog: {path}", err=True)
        if table.error:
            raise OSError(table.error)


def _fresh(name: str) -> Path:
    """Return a name for a log that nobody has yet."""
    names = chain([name], (f"{name}-{i}" for i in count(2)))
    return next(path for path in (Path(f"{own}.csv") for own in names) if not path.exists())


@contextmanager
def _streams(port: int | None) -> Iterator[tuple[BinaryIO, BinaryIO]]:
    """Standard input and output, or both ends of the first connection to a port."""
    if port is None:
        yield sys.stdin.buffer, sys.stdout.buffer
        return
    with socket.create_server((LOOPBACK, port)) as server:
        typer.echo(f"Waiting on {LOOPBACK}:{server.getsockname()[1]}", err=True)
        connection, _ = server.accept()
        with connection:
            connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            with connection.makefile("rb") as reader, connection.makefile("wb") as writer:
                yield reader, writer


@contextmanager
def _window(shown: bool, rate: float | None) -> Iterator[OnStep | None]:
    """Show the loop on standard error, now and then, when there is time for it."""
    if not shown:
        yield None
        return
    from rich.console import Console
    from rich.live import Live

    with Live(console=Console(stderr=True), auto_refresh=False) as live:
        last = 0.0

        def show(step: ServedStep, report: ServingReport, left: float) -> None:
            nonlocal last
            now = time.monotonic()
            if now - last >= REFRESH and left > NEEDED:
                last = now
                live.update(_table(step, report, rate), refresh=True)

        yield show


def _table(step: ServedStep, report: ServingReport, rate: float | None) -> Table:
    """Lay the state of the loop out."""
    from rich.table import Table

    def row(values: Any) -> str:
        return "none" if values is None else "  ".join(f"{value:9.4g}" for value in values)

    act, table = report.act_us, Table(show_header=False)
    table.add_column()
    table.add_column(justify="right")
    asked = "" if rate is None else f" (asked: {rate:g})"
    pace = (report.steps - 1) / report.seconds if report.seconds > 0.0 else 0.0
    table.add_row("step, run", f"{step.number}, {step.run}")
    table.add_row("steps per second", f"{pace:.1f}{asked}")
    table.add_row("observation", row(step.y))
    table.add_row("input", row(step.u))
    table.add_row("rung, trust", f"{step.rung}, {step.trust:.2f}")
    table.add_row("rungs", ", ".join(f"{n} {rung}" for rung, n in report.rungs.most_common()))
    table.add_row("act p50 / p99 / max, µs", " / ".join(f"{value:.0f}" for value in act.values()))
    table.add_row("late, missed, skipped", f"{report.late}, {report.missed}, {report.skipped}")
    return table
