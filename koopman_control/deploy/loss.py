"""What a smaller or less precise export costs: closed loops of both on the model."""

from __future__ import annotations

import copy
from collections.abc import Callable

import numpy as np

from koopman_control.common.arrays import Array
from koopman_control.common.border import checked
from koopman_control.common.files import PathLike
from koopman_control.deploy.building import NoCompilerError
from koopman_control.deploy.compiled import CompiledMPC
from koopman_control.deploy.rehearsal import NOISE, observed
from koopman_control.mpc import KoopmanMPC
from koopman_control.mpc.estimation.base import state_mean, state_scale
from koopman_control.mpc.state import NothingAskedError

STARTS, STEPS = 6, 60


@checked
def closed_loop_loss(mpc: KoopmanMPC, exported: CompiledMPC) -> float:
    """Say by how much more an exported controller costs than the one it was made of, relatively.

    Both hold the model from the same random states, with the same noise; counted is the cost of the
    states, inputs and changes of inputs (Q, R and S), 6 runs of 60 steps.

    Args:
        mpc: The controller.
        exported: What was made of it.

    Returns:
        The share, 0.01 for a cost that is one in a hundred higher; negative if it is lower.

    Example:
        >>> export_c(mpc, "build", "float", rank_tolerance=1e-4)  # doctest: +SKIP
        >>> closed_loop_loss(mpc, CompiledMPC("build"))  # doctest: +SKIP
    """
    own = copy.deepcopy(mpc)
    before = _cost(own, own.act, own.reset)
    after = _cost(own, exported.act, exported.reset)
    return float((after - before) / max(abs(before), np.finfo(float).tiny))


def told_loss(mpc: KoopmanMPC, folder: PathLike, name: str) -> str:
    """Say in a sentence what an export of a controller costs beside it."""
    try:
        loss = closed_loop_loss(mpc, CompiledMPC(folder, name))
    except NoCompilerError as error:
        return f"What it costs beside the controller in double was not measured: {error}"
    return f"Closed-loop cost on the model beside the controller's in Python: {loss:+.2g} of it."


def _cost(mpc: KoopmanMPC, act: Callable[[Array], Array], reset: Callable[[], None]) -> float:
    rng, model, w = np.random.default_rng(0), mpc.model, mpc._weights
    mean, unit, p = state_mean(model), state_scale(model), model.coordinates.n_outputs
    c, total = mpc._layout.controlled, 0.0
    for _ in range(STARTS):
        reset()
        x, before = mean.copy(), mpc.safe_input
        x[:p] += unit[:p] * rng.normal(size=p)
        for step in range(STEPS):
            y = observed(model, x + NOISE * unit * rng.normal(size=len(x)))
            u = act(y)
            full = np.zeros(model.n_inputs)
            full[c] = u
            x = model.rolled_out(x, full[None, None], mpc.rollout)[0, 0]
            try:
                reference, rest = (target(y, step)[0] for target in mpc._targets)
            except NothingAskedError:
                continue
            off = model.coordinates.wrap(x - reference[: len(x)])
            total += float(off @ w.Q[0] @ off) + float((u - rest) @ w.R[0] @ (u - rest))
            total += float((u - before) @ w.S[0] @ (u - before))
            before = u
    return total
