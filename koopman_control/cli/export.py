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
    debug: Annotated[bool, typer.Option(help="Show the traceback of an error.")] = False,
) -> None:
    """Write a saved controller as self-contained C99: observer, lift, solver and fallbacks.

    TO gets the controller, a check that replays recorded steps on the target, two loops to start
    from and a CMakeLists.txt.
    """
    with one_sentence(debug):
        from koopman_control.deploy import export_c
        from koopman_control.evaluation.summary import printable
        from koopman_control.mpc import KoopmanMPC

        folder = export_c(KoopmanMPC.load(controller), to, precision.value, name)
        files = ", ".join(sorted(path.name for path in folder.glob(f"{name}*")))
        typer.echo(printable(f"Written to {folder}: {files}, and a check to run on the target."))
