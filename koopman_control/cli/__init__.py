"""The command line: one file for each command.

A command imports what it needs when it is called, so that asking for help costs next to nothing.
"""

import typer

from koopman_control.cli import (
    benchmark,
    control,
    describe,
    export,
    forecast,
    identify,
    render,
    run,
    serve,
    tasks,
    tune,
)

__all__ = ["app"]

app = typer.Typer(
    help="Real-time convex model-predictive control learned from data, without gradients.",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    add_completion=False,
)
app.command()(run.run)
app.command()(describe.describe)
app.command()(tasks.tasks)
app.command()(render.render)
app.command()(benchmark.benchmark)
app.command()(tune.tune)
app.command()(forecast.forecast)
app.command()(control.control)
app.command()(serve.serve)
app.command()(export.export)
app.command(cls=identify.SeveralValues)(identify.identify)
