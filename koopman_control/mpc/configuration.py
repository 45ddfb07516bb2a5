"""Controllers from settings written down as plain data, as a TOML file holds them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import fields
from typing import Any

import numpy as np

from koopman_control.common.border import checked, did_you_mean, shown
from koopman_control.identification import LiftedModel
from koopman_control.mpc.controller import KoopmanMPC
from koopman_control.mpc.estimation import KalmanObserver, MovingHorizonEstimator, OffsetFree
from koopman_control.mpc.settings import Blocks, Bounds, Cost, Inputs, Knots, Observed, Search
from koopman_control.mpc.solvers import SolverSettings

GROUPS: dict[str, type[Any]] = {"cost": Cost, "bounds": Bounds, "search": Search}
ESTIMATORS: dict[str, type[Any]] = {
    "kalman": KalmanObserver,
    "offset-free": OffsetFree,
    "moving-horizon": MovingHorizonEstimator,
}
PLAIN = ("horizon", "Q", "R", "rollout")
KNOWN = (*PLAIN, *GROUPS, "reference", "inputs", "estimator", "solver")
ROWS = {"polytope": ("G_y", "G_u", "g"), "terminal_set": ("H", "h")}  # of bounds, as tables
LONGEST = 10_000  # steps; memory grows with their square
TARGETS = ("reference", "input_reference")


@checked
def controller_from(model: LiftedModel, settings: Mapping[str, Any]) -> KoopmanMPC:
    """Make a controller of settings as a TOML file states them.

    At the top: `horizon`, `Q`, `R`, `rollout`, `solver` (a name, or a table `name` with
    `options`) and `reference` (numbers, or a table with the fields of `Observed`, "none" standing
    for None). The tables `cost`, `bounds` and `search` have the fields of `Cost`, `Bounds` and
    `Search`, a polytope being a table of `G_y`, `G_u` and `g`, a terminal set one of `H` and `h`.
    `inputs` has `knots` or `blocks`, `delay`, `measured` and `safe`. `estimator` has a `kind`,
    "kalman", "offset-free" or "moving-horizon", and that one's fields.

    Args:
        model: The model.
        settings: The settings.

    Raises:
        TypeError | ValueError: If a setting is unknown, missing, or not what `KoopmanMPC` takes.

    Example:
        >>> settings = {"horizon": 5, "R": 0.1, "inputs": {"knots": 3}}
        >>> model = LiftedModel.from_arrays([[0.9]], [[1.0]])
        >>> controller_from(model, settings).inputs.parametrization
        Knots(steps=3)
    """
    _require_known("settings", settings, KNOWN)
    if "horizon" not in settings:
        raise ValueError("settings hold no horizon; give the number of steps that plans look ahead")
    if isinstance(settings["horizon"], int) and settings["horizon"] > LONGEST:
        raise ValueError(f"horizon is {settings['horizon']}; expected at most {LONGEST} steps")
    given: dict[str, Any] = {name: settings[name] for name in PLAIN if name in settings}
    for name, kind in GROUPS.items():
        if name in settings:
            given[name] = _group(name, kind, settings[name])
    if "reference" in settings:
        given["reference"] = _target("reference", settings["reference"])
    if "inputs" in settings:
        given["inputs"] = _inputs(settings["inputs"])
    if "estimator" in settings:
        given["estimator"] = _estimator(settings["estimator"])
    if "solver" in settings:
        solver = settings["solver"]
        named = isinstance(solver, Mapping)
        given["solver"] = _group("solver", SolverSettings, solver) if named else solver
    return KoopmanMPC(model, **given)


def _require_known(place: str, given: Any, known: Any) -> None:
    if not isinstance(given, Mapping):
        raise TypeError(f"{place} is {shown(given)}; expected a table of settings")
    for name in given:
        if name not in known:
            hint = did_you_mean(str(name), known)
            raise ValueError(f"{place} holds {name!r}; expected some of {', '.join(known)}.{hint}")


def _group(place: str, kind: type[Any], given: Any) -> Any:
    """Make a group of settings of a table with its fields."""
    _require_known(place, given, [field.name for field in fields(kind)])
    own = dict(given)
    for name, value in given.items():
        if name in TARGETS:
            own[name] = _target(name, value)
        elif name in ROWS and isinstance(value, Mapping):
            _require_known(f"{place}.{name}", value, ROWS[name])
            missing = [part for part in ROWS[name] if part not in value]
            if missing:
                raise ValueError(f"{place}.{name} lacks {', '.join(missing)}")
            own[name] = tuple(np.array(value[part], float) for part in ROWS[name])
    return kind(**own)


def _target(name: str, value: Any) -> Any:
    if not isinstance(value, Mapping):
        return value
    _require_known(name, value, [field.name for field in fields(Observed)])
    columns = value.get("columns")
    if not isinstance(columns, list):
        raise ValueError(f'{name} lacks columns; expected one for each entry, or "none"')
    own = {**value, "columns": [None if column == "none" else column for column in columns]}
    return Observed(**own)


def _inputs(given: Any) -> Inputs:
    _require_known("inputs", given, ("knots", "blocks", "delay", "measured", "safe"))
    own = {name: given[name] for name in ("delay", "measured", "safe") if name in given}
    if "knots" in given and "blocks" in given:
        raise ValueError("inputs hold both knots and blocks; give one of them")
    if "knots" in given:
        own["parametrization"] = Knots(given["knots"])
    if "blocks" in given:
        own["parametrization"] = Blocks(given["blocks"])
    return Inputs(**own)


def _estimator(given: Any) -> Any:
    if not isinstance(given, Mapping) or given.get("kind") not in ESTIMATORS:
        kind = given.get("kind") if isinstance(given, Mapping) else given
        raise ValueError(f"estimator's kind is {shown(kind)}; expected {', '.join(ESTIMATORS)}")
    own = {name: value for name, value in given.items() if name != "kind"}
    if "measurement_noise" not in own:
        raise ValueError("estimator lacks measurement_noise; give its standard deviation")
    return _group("estimator", ESTIMATORS[given["kind"]], own)
