"""The command `export`: a saved controller in, C99 for a robot or a microcontroller out."""

from __future__ import annotations

from enum import StrEnum
from pathlib import Path
from typing import Annotated

import typer

from koopman_control.cli.errors import one_sentence


class Precision(StrEnum):
    """Kinds of numbers."""

    double = "double"
    float = "float"


def export(
    controller: Annotated[Path, typer.Argument(help="File that KoopmanMPC.save wrote.")],
    to: Annotated[Path, typer.Option(help="Folder for the C files.")] = Path("build"),
    precision: Annotated[Precision, typer.Option(help="Of its numbers.")] = Precision.double,
    name: Annotated[str, typer.Option(help="What the C functions begin with.")] = "koopman_mpc",
    rank_tolerance: Annotated[
        float | None, typer.Option(help="Relative error of predictions that may save memory.")
    ] = None,
    flash: Annotated[int | None, typer.Option(help="Bytes for constants and code.")] = None,
    certify: Annotated[bool, typer.Option(help="Say what a step takes at worst.")] = False,
    wheel: Annotated[bool, typer.Option(help="Also build a Python package of it.")] = False,
    debug: Annotated[bool, typer.Option(help="Show the traceback of an error.")] = False,
) -> None:
    """Write a saved controller as self-contained C99: observer, lift, solver and fallbacks.

    TO gets the controller, a check that replays recorded steps on the target, two loops to start
    from and a CMakeLists.txt.
    """
    with one_sentence(debug):
        from koopman_control.deploy import build_wheel, export_c
        from koopman_control.deploy.loss import told_loss
        from koopman_control.deploy.sources import certificate_of
        from koopman_control.evaluation.summary import printable
        from koopman_control.mpc import KoopmanMPC

        mpc = KoopmanMPC.load(controller)
        folder = export_c(
            mpc,
            to,
            precision.value,
            name,
            rank_tolerance=rank_tolerance,
            flash=flash,
            certify=certify,
        )
        files = ", ".join(sorted(path.name for path in folder.glob(f"{name}*")))
        typer.echo(printable(f"Written to {folder}: {files}, and a check to run on the target."))
        if precision is Precision.float or rank_tolerance:
            typer.echo(printable(told_loss(mpc, folder, name)))
        if certify:
            for line in certificate_of(folder, name).splitlines():
                typer.echo(printable(line))
        if wheel:
            typer.echo(printable(f"Built {build_wheel(folder, name)}."))
