"""The C files of a controller: written from templates, and read again."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path
from typing import Any

import jinja2

from koopman_control.common.files import FileFormatError, PathLike
from koopman_control.deploy.arrays import Arrays, Precision
from koopman_control.deploy.parts import context_of, target_parts
from koopman_control.mpc import KoopmanMPC

TEMPLATES = jinja2.Environment(
    loader=jinja2.PackageLoader("koopman_control.deploy"),
    trim_blocks=True,
    lstrip_blocks=True,
    keep_trailing_newline=True,
    undefined=jinja2.StrictUndefined,
)
FORMAT = 1
USUAL_PERIOD = 0.01  # seconds, where the model does not know its own
CODE = {
    "{name}.h": "controller.h.jinja",
    "{name}.c": "controller.c.jinja",
    "{name}_data.h": "data.h.jinja",
}


@dataclass(frozen=True)
class Facts:
    """What a program has to know of an exported controller to call it.

    Args:
        name: Of the controller.
        precision: Of its numbers.
        n_observations: Numbers of an observation.
        n_inputs: Numbers of an input.
        horizon: Steps of a plan.
        n_targets: Numbers in a row of the reference.
        n_measured: Measured inputs.
        preview: Rows of their preview.
        given: Whether the reference of states, and that of inputs, is given at every step.
        parameters: Shapes of the user's parameters by name.
    """

    name: str
    precision: Precision
    n_observations: int
    n_inputs: int
    horizon: int
    n_targets: int
    n_measured: int
    preview: int
    given: tuple[bool, bool]
    parameters: Mapping[str, tuple[int, ...]]

    @classmethod
    def of(cls, mpc: KoopmanMPC, precision: Precision, name: str) -> Facts:
        """Collect them."""
        states, inputs = target_parts(mpc)
        return cls(
            name=name,
            precision=precision,
            n_observations=mpc.model.coordinates.n_observations,
            n_inputs=inputs.width,
            horizon=mpc.horizon,
            n_targets=states.width,
            n_measured=len(mpc.inputs.measured),
            preview=mpc.inputs.delay + mpc.horizon,
            given=(states.kind == "given", inputs.kind == "given"),
            parameters={key: value.shape for key, value in mpc.parameters.items()},
        )


def sources_of(mpc: KoopmanMPC, facts: Facts) -> dict[str, str]:
    """Write a controller in C; returns the texts of its files by name."""
    return rendered(CODE, whole_context(mpc, facts))


def whole_context(mpc: KoopmanMPC, facts: Facts, tolerance: float = 0.0) -> dict[str, Any]:
    """Collect all that the templates ask for; see `low_rank` for the tolerance."""
    arrays = Arrays(facts.precision)
    return {
        **context_of(mpc, arrays, tolerance),
        "name": facts.name,
        "upper": facts.name.upper(),
        "precision": facts.precision,
        "version": version("koopman-control"),
        "title": f"{mpc.model.n_lifted} lifted states, {mpc.rollout} roll-out, N = {mpc.horizon}",
        "flash": arrays.size,
        "index_type": arrays.ordinal,
        "certificate": "",
        "arrays": arrays.text,
        "dt": mpc.model.dt,
        "period": round(1e9 * (mpc.model.dt or USUAL_PERIOD)),
    }


def rendered(files: Mapping[str, str], context: dict[str, Any]) -> dict[str, str]:
    """Write files, templates by name, for a context; returns texts by name."""
    name = context["name"]
    return {
        file.format(name=name): TEMPLATES.get_template(template).render(context)
        for file, template in files.items()
    }


def read_export(folder: PathLike, name: str) -> tuple[Facts, dict[str, str]]:
    """Read what `export_c` wrote.

    Raises:
        FileNotFoundError: If there is no such controller.
        FileFormatError: If a file was changed, or is of a version this one cannot read.
    """
    where = Path(folder)
    try:
        told = json.loads((where / f"{name}.json").read_text(encoding="utf-8"))
        sources = {file: (where / file).read_text(encoding="utf-8") for file in told["files"]}
        facts = Facts(**told["facts"])
        number = told["format"]
    except FileNotFoundError as error:
        raise FileNotFoundError(
            f"{error.filename} does not exist; expected a folder that export_c wrote, with a "
            f"controller of the name {name!r}"
        ) from None
    except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
        raise FileFormatError(
            f"{where / name}.json is no export that this version can read ({error}); export anew"
        ) from error
    if number != FORMAT:
        raise FileFormatError(f"{where / name}.json has format {number}; expected {FORMAT}")
    for file, text in sources.items():
        if hashlib.sha256(text.encode()).hexdigest() != told["files"][file]:
            raise FileFormatError(f"{where / file} was changed since it was exported; export anew")
    return facts, sources


def certificate_of(folder: PathLike, name: str) -> str:
    """Return what `export_c(certify=True)` found, as it stands in the header."""
    told = json.loads((Path(folder) / f"{name}.json").read_text(encoding="utf-8"))
    return str(told["certificate"])
