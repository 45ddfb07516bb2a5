"""Deployment."""

from typing import Any

import numpy as np

from koopman_control.deploy import CompiledMPC, compiled, export_c
from tests.border import parts
from tests.border.rows.row import Row, saved


def exported(**settings: Any) -> dict[str, Any]:
    """The good arguments of a controller that lies in a folder, with a function as target."""
    from koopman_control import KoopmanMPC

    mpc = KoopmanMPC(parts.model(), 3, R=0.1, reference=lambda y: 0.0)
    return {"folder": saved(lambda: export_c(mpc, "build"), "build"), **settings}


def fast() -> Any:
    return compiled(parts.controller())


ROWS = [
    Row(
        "export_c",
        export_c,
        lambda: dict(
            mpc=parts.controller(), folder="build", precision="double", name="koopman_mpc"
        ),
    ),
    Row("compiled", compiled, lambda: dict(mpc=parts.controller())),
    Row(
        "CompiledMPC",
        lambda **k: CompiledMPC(**k, input_reference=None),
        lambda: exported(name="koopman_mpc", reference=lambda y: 0.0),
    ),
    Row(
        "CompiledMPC",
        lambda **k: CompiledMPC(**exported(reference=lambda y: 0.0), **k),
        lambda: dict(input_reference=None),
    ),
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
