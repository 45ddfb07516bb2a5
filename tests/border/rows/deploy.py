"""Deployment."""

from typing import Any

import numpy as np

from koopman_control import Cost, KoopmanMPC
from koopman_control.deploy import CompiledMPC, build_wheel, closed_loop_loss, compiled, export_c
from tests.border import parts
from tests.border.rows.row import Row, saved


def exported() -> dict[str, Any]:
    """A controller in a folder, with functions as targets."""
    cost = Cost(R=0.1, input_reference=nothing)
    mpc = KoopmanMPC(parts.model(), 3, cost=cost, reference=nothing)
    return {
        "folder": saved(lambda: export_c(mpc, "build"), "build"),
        "name": "koopman_mpc",
        "reference": nothing,
        "input_reference": nothing,
    }


def plain() -> dict[str, Any]:
    """A controller in a folder."""
    folder = saved(lambda: export_c(parts.controller(), "build"), "build")
    return {"folder": folder, "name": "koopman_mpc"}


def nothing(observation: Any) -> float:
    return 0.0


def fast() -> Any:
    return compiled(parts.controller())


ROWS = [
    Row(
        "export_c",
        export_c,
        lambda: dict(
            mpc=parts.controller(),
            folder="build",
            precision="double",
            name="koopman_mpc",
            rank_tolerance=1e-6,
            flash=100_000,
            certify=False,
        ),
    ),
    Row("build_wheel", build_wheel, plain),
    Row(
        "closed_loop_loss",
        closed_loop_loss,
        lambda: dict(mpc=parts.controller(), exported=fast()),
    ),
    Row("compiled", compiled, lambda: dict(mpc=parts.controller())),
    Row("CompiledMPC", CompiledMPC, exported),
    Row(
        "CompiledMPC.act",
        lambda **k: fast().act(**{"observation": parts.start(), **k}),
        lambda: dict(observation=parts.start(), disturbance=None, applied=np.zeros(1)),
    ),
    Row(
        "CompiledMPC.reset",
        lambda **k: fast().reset(**k),
        lambda: dict(previous_input=np.zeros(1)),
    ),
]
