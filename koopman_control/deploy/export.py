"""Controllers as C99: the whole step in a few files, and what it takes to build and check it."""

from __future__ import annotations

import hashlib
import json
import re
from dataclasses import asdict
from pathlib import Path
from typing import Any, get_args

from koopman_control.common.arrays import positive_int
from koopman_control.common.border import checked, shown
from koopman_control.common.files import (
    PathLike,
    ensure_writable_folder,
    write_text_atomically,
)
from koopman_control.deploy.arrays import Arrays, Precision
from koopman_control.deploy.certification import certified
from koopman_control.deploy.rehearsal import Rehearsal, rehearse
from koopman_control.deploy.sources import CODE, FORMAT, Facts, rendered, whole_context
from koopman_control.mpc import KoopmanMPC

ACCURACY = {"double": 1e-9, "float": 1e-3}  # of an input, relative to the width of its box
HIDDEN = {"double": 0.0, "float": 1e-7}  # by rounding
CODE_BYTES = {"linear": 8_000, "bilinear": 14_000, "relifted": 14_000}  # about, on a Cortex-M4
IDENTIFIER = re.compile(r"[A-Za-z_][A-Za-z0-9_]{0,30}")  # more characters need not count in C99
KEYWORDS = frozenset(
    "auto break case char const continue default do double else enum extern float for goto if "
    "inline int long register restrict return short signed sizeof static struct switch typedef "
    "union unsigned void volatile while main real program".split()
)
AROUND = {
    "check.c": "check.c.jinja",
    "check_data.h": "check_data.h.jinja",
    "main.c": "main.c.jinja",
    "main_linux.c": "main_linux.c.jinja",
    "CMakeLists.txt": "CMakeLists.txt.jinja",
}


@checked
def export_c(
    mpc: KoopmanMPC,
    folder: PathLike,
    precision: Precision = "double",
    name: str = "koopman_mpc",
    *,
    rank_tolerance: float | None = None,
    flash: int | None = None,
    certify: bool = False,
) -> Path:
    """Write a whole controller as C99: observer, lift, prediction, solver and fallbacks.

    The folder gets `<name>.h`, `<name>.c` and `<name>_data.h`, which are the controller; `check.c`,
    which replays recorded steps on the target and prints the worst deviation; `main.c` and
    `main_linux.c`, loops to start from; a `CMakeLists.txt`; and `<name>.json` for `CompiledMPC`.
    The code allocates nothing, needs no more than the functions of `math.h`, and keeps all that
    changes in a struct, so that several controllers can live in one program.

    Args:
        mpc: The controller. A target that is a Python function becomes an argument of the step;
            parameters become fields of the struct.
        folder: Where the files go; made if it is not there.
        precision: "double" or "float".
        name: What the C functions begin with.
        rank_tolerance: For linear roll-outs: predictions go through as few combinations of the
            lifted state as leave no more out than this, relative to the largest ones, if that takes
            less memory. None: nothing is left out in double, and what rounding hides, 1e-7, in
            single precision. `closed_loop_loss` tells what larger ones cost.
        flash: Bytes there are for constants and code; None: any number.
        certify: Whether to say in the header what a step takes at worst (see `Certificate`), which
            takes some seconds.

    Returns:
        The folder.

    Raises:
        NotExportableError: If the controller has something without C code; the error names it.
        ValueError: If the name is no C identifier, the precision another, the tolerance not in
            [0, 1), or the controller takes more than `flash`.
        FolderNotWritableError: If the folder cannot be written to.

    Example:
        >>> export_c(mpc, "build", precision="float")  # doctest: +SKIP
    """
    if not IDENTIFIER.fullmatch(name) or name in KEYWORDS:
        raise ValueError(
            f"name is {shown(name)}; expected a C identifier: letters, digits and _, at most 31, "
            "no keyword, beginning with a letter"
        )
    if precision not in get_args(Precision):
        raise ValueError(f"precision is {shown(precision)}; expected 'double' or 'float'")
    tolerance = HIDDEN[precision] if rank_tolerance is None else rank_tolerance
    if not 0.0 <= tolerance < 1.0:
        raise ValueError(f"rank_tolerance is {shown(rank_tolerance)}; expected it in [0, 1)")
    facts = Facts.of(mpc, precision, name)
    context = whole_context(mpc, facts, tolerance)
    _check_flash(context["flash"] + CODE_BYTES[mpc.rollout], context["flash"], flash)
    code = rendered(CODE, context)
    certificate = ""
    if certify:
        certificate = str(certified(mpc, facts, code, context))
        code = rendered(CODE, {**context, "certificate": certificate})
    recorded = rehearse(mpc)
    checks = Arrays(precision)
    around = rendered(AROUND, {**context, **_check(mpc, recorded, facts, checks)})
    where = ensure_writable_folder(folder)
    sums = {file: hashlib.sha256(text.encode()).hexdigest() for file, text in code.items()}
    told = {"format": FORMAT, "files": sums, "facts": asdict(facts), "certificate": certificate}
    for file, text in {**code, **around, f"{name}.json": json.dumps(told, indent=2)}.items():
        write_text_atomically(where / file, text)
    return where


def _check_flash(size: int, constants: int, there: int | None) -> None:
    if there is not None:
        positive_int("flash", there)
        if size > there:
            raise ValueError(
                f"flash is {there:,} bytes, but the controller takes about {size:,}: {constants:,} "
                "of constants, and code; expected a smaller one: precision='float', fewer free "
                "inputs (Inputs(Knots(8))), fewer lifted states (identification.reduced), a "
                "shorter horizon, or a rank_tolerance"
            )


def _check(mpc: KoopmanMPC, recorded: Rehearsal, facts: Facts, arrays: Arrays) -> dict[str, Any]:
    """Write recorded steps as arrays, and say how far a step may be from them."""
    for key, values in recorded.arrays().items():
        arrays.add(f"recorded_{key}", values)
    local = mpc.rollout != "linear" and facts.precision == "float"
    return {
        "recorded": recorded,
        "allowed": len(recorded.rungs) // 10 if local else 0,
        "check_arrays": arrays.text,
        # Costs in single precision tell plans apart to the root of its rounding.
        "accuracy": arrays.number(1e-2 if local else ACCURACY[facts.precision]),
    }
