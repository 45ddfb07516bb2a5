"""Predicting over inputs that are already on their way, so that a plan starts where it acts.

A delay could also be put into the model's state; predicting ahead keeps model and program small.
"""

from __future__ import annotations

from dataclasses import replace

from koopman_control.common.arrays import Array
from koopman_control.identification import LiftedModel, Rollout
from koopman_control.identification.rollouts import lifted
from koopman_control.mpc.estimation.base import Estimate


def ahead(model: LiftedModel, rollout: Rollout, now: Estimate, U: Array) -> Estimate:
    """Return the estimate after inputs U (k, m): lifted once for a linear roll-out, else re-lifted.

    The offset stays as it is.
    """
    if rollout == "linear":
        z = model.lift(now.x) if now.z is None else now.z
        z = lifted(model.A, model.B, None, z, U[None])[0, -1]
        return replace(now, x=model.C @ z, z=z)
    x = now.x[None]
    for u in U:
        x = model.one_step.step(x, u[None])
    return replace(now, x=x[0], z=None)
