"""The re-lifted one-step map as arrays: what is lifted, how fast states go, where they stop."""

from __future__ import annotations

from typing import Any

import numpy as np

from koopman_control.deploy.arrays import Arrays
from koopman_control.deploy.programs import INFINITE, NotExportableError
from koopman_control.identification import LiftedModel
from koopman_control.identification.compiled_rollouts import (
    CoveredFeatures,
    _constants,
    covered_features,
)
from koopman_control.identification.kernel_arrays import Features
from koopman_control.identification.rollouts import LiftedInputMap, OneStepMap

KINDS = ("tanh", "relu", "sine", "softplus")  # of activations, by their codes
COVERED = "one hidden layer, Fourier or polynomial features, or a union of them with one polynomial"
# Relative inner product below which vectors are orthogonal, and size of one that depends on others.
ROUNDING = {"double": ("1e-15", "1e-15"), "float": ("1e-7", "1e-6")}


def step_map_context(model: LiftedModel, arrays: Arrays) -> dict[str, Any]:
    """Collect what the template of the one-step map asks for; constants go into `arrays`.

    Raises:
        NotExportableError: If the model has features without C code here.
    """
    step_map = model.one_step
    lift = step_map.lift if isinstance(step_map, LiftedInputMap) else None
    inner = step_map.inner if isinstance(step_map, LiftedInputMap) else step_map
    if not isinstance(inner, OneStepMap):
        raise NotExportableError(
            f"the model predicts by a {type(inner).__name__}, whose features see states and inputs "
            "together; C code covers models that are affine in their inputs, or in features of them"
        )
    features = covered_features(inner.features)
    if features is None:
        raise _uncovered(inner.features)
    inputs = entering(model)
    c = _constants(inner, features, inputs)
    maps = [_feature_map("state", c.features, arrays)]
    if lift is not None:
        maps.append(_feature_map("input", c.inputs, arrays))
    arrays.add("rate_constant", c.constant)
    arrays.add("rate_coefficients", c.coefficients.T)
    arrays.add("state_low", np.maximum(c.low, -INFINITE))
    arrays.add("state_high", np.minimum(c.high, INFINITE))
    if len(c.saturating):
        arrays.add("saturating", inner.saturating.astype(np.int64))
        arrays.add("state_sizes", c.state_sizes)
        arrays.add("input_sizes", c.input_sizes)
    if model.n_angles:
        arrays.add("state_is_angle", model.coordinates.is_angle.astype(np.int64))
    orthogonal, dependent = ROUNDING[arrays.precision]
    return {
        "steps_forward": True,
        "feature_maps": maps,
        "layer_kinds": sorted({layer["kind"] for one in maps for layer in one["layers"]}),
        "n_values": maps[0]["n_values"],
        "lifted_inputs": lift is not None,
        "q": len(c.constant) // model.n_states - 1,
        "stopping": bool(len(c.saturating)),
        "n_saturating": len(c.saturating),
        "orthogonal": orthogonal,
        "dependent": dependent,
    }


def entering(model: LiftedModel) -> CoveredFeatures:
    """Return what enters a model of its inputs, as the loops evaluate it.

    Raises:
        NotExportableError: If these features have no C code.
    """
    given = model.signals.input_features
    covered = CoveredFeatures([], model.n_inputs) if given is None else covered_features(given)
    if covered is None:
        raise _uncovered(given)
    return covered


def _uncovered(features: object) -> NotExportableError:
    return NotExportableError(
        f"{features!r} has no C code where a model is lifted at every step, as for re-lifted and "
        f"bilinear roll-outs and filters of states; expected {COVERED}"
    )


def _feature_map(name: str, f: Features, arrays: Arrays) -> dict[str, Any]:
    """Describe a feature map, whose arrays go by its name."""
    arrays.add(f"{name}_weights", f.weights)
    arrays.add(f"{name}_biases", f.biases)
    arrays.add(f"{name}_center", f.center)
    arrays.add(f"{name}_scale", f.scale)
    arrays.add(f"{name}_parents", f.parents)
    arrays.add(f"{name}_factors", f.factors)
    starts = [0, *f.ends.tolist()][: len(f.ends)]
    return {
        "name": name,
        "n_in": len(f.center),
        "n_neurons": len(f.biases),
        "n_monomials": len(f.parents),
        "n_values": len(f.biases) + len(f.center) + len(f.parents),
        "layers": [
            {"kind": KINDS[code], "first": first, "size": int(end) - first}
            for code, first, end in zip(f.codes.tolist(), starts, f.ends, strict=True)
        ],
    }
