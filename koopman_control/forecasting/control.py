"""A sampled RNN as a model that a controller can plan with."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import ArrayLike

from koopman_control.common.arrays import Array, bounds_array
from koopman_control.features import Coordinates, FeatureMap
from koopman_control.forecasting.memory import DelayMemory, Scaling
from koopman_control.forecasting.onestep import StepMap
from koopman_control.identification import LiftedModel, Signals
from koopman_control.identification.foreign import GivenLift, MatrixLift
from koopman_control.identification.joint import JointMap


def as_model(
    scaling: Scaling,
    members: Sequence[StepMap],
    names: Sequence[str],
    dt: float | None,
    action_bounds: ArrayLike | None,
) -> LiftedModel:
    """Make the model of members with one scaling; see `SampledRNN.model`."""
    memory, p, m = scaling.memory, len(scaling.center), len(scaling.input_center)
    if not m:
        raise ValueError("the network was fitted without inputs, so there is nothing to control")
    if not isinstance(memory, DelayMemory):
        raise ValueError(
            "the network has a recurrent layer, whose state no observation shows; fit it with "
            "n_recurrent=0, which remembers past steps themselves"
        )
    n = len(members)
    joint = JointMap(
        features=[member.features for member in members],
        constant=np.mean([member.constant for member in members], axis=0),
        linear=np.mean([member.linear for member in members], axis=0),
        nonlinear=[member.nonlinear for member in members],
        center=np.concatenate([scaling.center, scaling.input_center]),
        scale=np.concatenate([scaling.scale, scaling.input_scale]),
        bounds=scaling.bounds,
        memory=memory.length,
    )
    coordinates = Coordinates.of(p, memory=memory.length, n_inputs=m if memory.length else 0)
    d = coordinates.dim
    center, scale = joint._centers[:d], joint._scales[:d]
    box = None if action_bounds is None else bounds_array("action_bounds", action_bounds, m)
    signals = Signals(
        coordinates=coordinates,
        center=center,
        scale=scale,
        limits=np.tile([[-np.inf], [np.inf]], d),
        saturating=np.zeros(d, dtype=bool),
        action_bounds=box,
        dt=dt,
        state_names=coordinates.names(list(names)),
    )
    A, B = _linearised(joint, center, scale)
    return LiftedModel(
        A=A,
        B=B,
        C=np.hstack([center[:, None], np.diag(scale)]),
        N=None,
        signals=signals,
        features=_no_features(d),
        summary={"origin": "SampledRNN", "n_draws": n},
        joint=joint,
    )


def _linearised(joint: JointMap, center: Array, scale: Array) -> tuple[Array, Array]:
    """Return the matrices of z = [1, standardised x] at the mean state and input."""
    u0 = joint.center[joint.n_outputs :]
    (f,), ((F,), (G,)) = joint.step(center[None], u0[None]), joint.jacobians(center[None], u0[None])
    d = len(center)
    A = np.zeros((1 + d, 1 + d))
    A[0, 0] = 1.0
    A[1:, 0] = (f - center - G @ u0) / scale
    A[1:, 1:] = F * scale / scale[:, None]
    return A, np.vstack([np.zeros((1, len(u0))), G / scale[:, None]])


def _no_features(d: int) -> FeatureMap:
    nothing: Any = MatrixLift(np.zeros((0, d)))
    return GivenLift.by(nothing)
