"""Lifted models on disk: one checked .npz with the arrays, and everything else as settings."""

from __future__ import annotations

import math
import operator
from collections.abc import Mapping
from typing import Any

import numpy as np

from koopman_control.common.arrays import finite_array
from koopman_control.common.border import shown
from koopman_control.common.files import PathLike, load_npz, refusing, save_npz
from koopman_control.features import (
    Coordinates,
    FeatureMap,
    describe_features,
    rebuild_features,
)
from koopman_control.identification.foreign import FeatureLift, GivenLift, MatrixLift
from koopman_control.identification.joint import JointMap
from koopman_control.identification.model import LiftedModel
from koopman_control.identification.signals import Signals

KIND = "lifted-model"
FORMAT_VERSION = 4
FEATURE = "features/"  # prefix of the feature map's own arrays
INPUT = "input_features/"  # prefix of the arrays of the inputs' feature map
JOINT = "joint/"  # prefix of the arrays of a joint map
QUANTILES = "error_quantiles/"  # prefix of the roll-outs' error quantiles
# The arrays of a model and of its signals, and those that may be missing.
_ARRAYS, _OPTIONAL = ("A", "B", "C"), ("N", "reduction")
_JOINT = ("constant", "linear", "center", "scale", "bounds")
_SIGNALS, _SIGNALS_OPTIONAL = (
    ("center", "scale", "limits", "saturating"),
    ("action_bounds", "ground"),
)


def write_model(path: PathLike, model: LiftedModel) -> None:
    """Write a model to a .npz file, replacing what was there."""
    settings, arrays = describe_model(model)
    save_npz(path, KIND, FORMAT_VERSION, arrays, settings)


def read_model(path: PathLike) -> LiftedModel:
    """Read what `write_model` wrote."""
    arrays, settings = load_npz(path, KIND, FORMAT_VERSION)
    with refusing(f"{path} does not hold a whole lifted model; make it again"):
        return rebuild_model(settings, arrays)


def describe_model(model: LiftedModel) -> tuple[dict[str, Any], dict[str, Any]]:
    """Return a model's settings (JSON-able) and its arrays by name.

    Raises:
        TypeError: If its features are of a class that cannot be saved.
    """
    feature_settings, feature_arrays = _described(model.features)
    signals, coordinates = model.signals, model.coordinates
    arrays: dict[str, Any] = {}
    for part, names in ((model, _ARRAYS + _OPTIONAL), (signals, _SIGNALS + _SIGNALS_OPTIONAL)):
        arrays |= {name: a for name in names if (a := getattr(part, name)) is not None}
    arrays |= {FEATURE + name: value for name, value in feature_arrays.items()}
    input_settings = None
    if signals.input_features is not None:
        input_settings, input_arrays = describe_features(signals.input_features)
        arrays |= {INPUT + name: value for name, value in input_arrays.items()}
    arrays |= {QUANTILES + rollout: bounds for rollout, bounds in model.error_quantiles.items()}
    if model.joint is not None:
        arrays |= {JOINT + name: getattr(model.joint, name) for name in _JOINT}
    joint = []
    for i, (features, nonlinear) in enumerate(_members(model.joint)):
        member, own = _described(features)
        joint.append(member)
        arrays |= {f"{JOINT}{i}/{name}": value for name, value in own.items()}
        arrays[f"{JOINT}{i}/nonlinear"] = nonlinear
    settings = {
        "n_observations": coordinates.n_observations,
        "columns": coordinates.columns,
        "memory": coordinates.memory,
        "n_inputs": coordinates.n_inputs,
        "features": feature_settings,
        "input_features": input_settings,
        "dt": signals.dt,
        "state_names": signals.state_names,
        "input_delay": signals.input_delay,
        "error_level": model.error_level,
        "joint": joint,
        "summary": {key: _to_json(value) for key, value in model.summary.items()},
    }
    return settings, arrays


def rebuild_model(settings: Mapping[str, Any], arrays: Mapping[str, Any]) -> LiftedModel:
    """Rebuild a model from `describe_model`; raises something where it is not whole."""
    known: dict[str, Any] = {name: arrays[name] for name in _SIGNALS + _ARRAYS}
    known |= {name: arrays.get(name) for name in _SIGNALS_OPTIONAL + _OPTIONAL}
    quantiles: Any = _under(QUANTILES, arrays)
    signals = Signals(
        **{name: known[name] for name in _SIGNALS + _SIGNALS_OPTIONAL},
        coordinates=_coordinates(settings, len(arrays["C"])),
        input_features=None
        if settings["input_features"] is None
        else rebuild_features(settings["input_features"], _under(INPUT, arrays)),
        dt=settings["dt"],
        state_names=tuple(settings["state_names"]),
        input_delay=settings["input_delay"],
    )
    return LiftedModel(
        **{name: known[name] for name in _ARRAYS + _OPTIONAL},
        signals=signals,
        features=_rebuilt(settings["features"], _under(FEATURE, arrays)),
        error_quantiles=quantiles,
        error_level=settings["error_level"],
        joint=_joint(settings, arrays),
        summary={key: _from_json(value) for key, value in settings["summary"].items()},
    )


def _described(features: FeatureMap) -> tuple[dict[str, Any], dict[str, Any]]:
    """Describe features, a lifting that is given by a matrix or by features included."""
    if not isinstance(features, GivenLift):
        return describe_features(features)
    lift = features.lift
    if isinstance(lift, MatrixLift):
        return {"class": "GivenLift"}, {"M": lift.M}
    if isinstance(lift, FeatureLift):
        inner, arrays = describe_features(lift.features)
        return {"class": "GivenLift", "lift": inner}, {"lift/" + k: a for k, a in arrays.items()}
    raise TypeError(
        f"features is a GivenLift by {shown(lift)}, a function; files hold no code: give "
        "LiftedModel.from_arrays a fitted feature map as lift (PolynomialFeatures, a union, ...), "
        "or make the model again after loading its matrices"
    )


def _rebuilt(settings: Mapping[str, Any], arrays: Mapping[str, Any]) -> FeatureMap:
    """Rebuild features from `_described`."""
    if settings["class"] != "GivenLift":
        return rebuild_features(settings, arrays)
    if "lift" in settings:
        return GivenLift.by(
            FeatureLift(rebuild_features(settings["lift"], _under("lift/", arrays)))
        )
    return GivenLift.by(MatrixLift(finite_array("M", arrays["M"], ndim=2)))


def _members(joint: JointMap | None) -> list[tuple[FeatureMap, Any]]:
    return [] if joint is None else list(zip(joint.features, joint.nonlinear, strict=True))


def _joint(settings: Mapping[str, Any], arrays: Mapping[str, Any]) -> JointMap | None:
    """Rebuild a joint map, if there is one; files of before know none."""
    members = settings.get("joint") or []
    if not members:
        return None
    features, nonlinear = [], []
    for i, member in enumerate(members):
        own = _under(f"{JOINT}{i}/", arrays)
        nonlinear.append(own.pop("nonlinear"))
        features.append(_rebuilt(member, own))
    known = {name: arrays[JOINT + name] for name in _JOINT}
    memory = operator.index(settings["memory"])
    return JointMap(features=features, nonlinear=nonlinear, memory=memory, **known)


def _coordinates(settings: Mapping[str, Any], n_states: int) -> Coordinates:
    """Rebuild the coordinates, once they are known to be no more than the states there are."""
    n_observations, memory, n_inputs = (
        operator.index(settings[name]) for name in ("n_observations", "memory", "n_inputs")
    )
    columns = tuple(tuple(c) if isinstance(c, list) else c for c in settings["columns"])
    if not 0 <= memory <= n_states or (memory and not 0 <= n_inputs <= n_states):
        raise ValueError(f"memory is {memory} and n_inputs {n_inputs} for {n_states} states")
    return Coordinates(n_observations, columns, memory, n_inputs)


def _under(prefix: str, arrays: Mapping[str, Any]) -> dict[str, Any]:
    return {k.removeprefix(prefix): a for k, a in arrays.items() if k.startswith(prefix)}


def _to_json(value: Any) -> Any:
    """Turn a fact about a fit into what strict JSON can hold; it knows no infinity."""
    plain = value.item() if isinstance(value, np.generic) else value
    if isinstance(plain, float) and not math.isfinite(plain):
        return {"float": str(plain)}
    return plain


def _from_json(value: Any) -> Any:
    return float(value["float"]) if isinstance(value, Mapping) and "float" in value else value
