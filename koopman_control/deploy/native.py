"""The steps of a `KoopmanMPC` with `compiled=True`: native calls, told as Python's steps are."""

from __future__ import annotations

from functools import partial
from typing import Any

import numpy as np
from numpy.typing import ArrayLike

from koopman_control.common.arrays import Array, all_finite
from koopman_control.deploy.compiled import CompiledMPC, CompiledStep
from koopman_control.deploy.parts import known_of, target_parts
from koopman_control.deploy.sources import CODE, Facts, rendered, whole_context
from koopman_control.mpc import KoopmanMPC
from koopman_control.mpc.planning.linear import LinearPlanner
from koopman_control.mpc.planning.plan import KnownOutcome, Plan
from koopman_control.mpc.planning.sequential import SequentialPlanner
from koopman_control.mpc.state import DisturbancePreview, Rung, Situation, Start
from koopman_control.mpc.step import Step

BROKEN_OFF: Rung = "shifted"  # the rung of a step that an error of a signal's handler breaks off


class NativeSteps:
    """Acts for a controller, keeps its loop up to date, and tells steps when asked.

    The C code leaves what a plan depends on where Python can read it. It is copied at every step;
    predictions, costs and the rest of a `Step` are worked out of that when `last` is asked for.

    Args:
        mpc: The controller.

    Raises:
        NotExportableError: If it has something without C code.
        NoCompilerError: If there is no C compiler, or it fails.
    """

    def __init__(self, mpc: KoopmanMPC) -> None:
        self._mpc = mpc
        facts = Facts.of(mpc, "double", "koopman_mpc")
        context = whole_context(mpc, facts)
        N, k = mpc.horizon, len(mpc._layout.measured)
        self._known = None
        offset = context["n_present"] if context["has_offset"] else 0
        if mpc.rollout == "linear":
            self._known = known_of(mpc, target_parts(mpc), context["has_offset"])
            kept = {"room.given.known": context["n_known"]}
        else:
            preview = (mpc.inputs.delay + N) * k
            kept = {"x0": context["d"], "theta": context["n_theta"]}
            kept |= {"offset": offset} if offset else {}
            kept |= {"preview": preview} if preview else {}
        self._folded = mpc.model.reduction if context["folded"] else None
        self._offset = bool(offset)
        self._fast = CompiledMPC._from_sources(facts, rendered(CODE, context), mpc, kept)

    def reset(self, previous: Array | None) -> None:
        """Begin an episode, after an input (m,)."""
        self._fast.reset(previous)

    def act(
        self, observation: ArrayLike, disturbance: ArrayLike | None, applied: ArrayLike | None
    ) -> Array:
        """As `KoopmanMPC.act`."""
        mpc, fast, loop = self._mpc, self._fast, self._mpc._loop
        for name, value in fast.parameters.items():
            value[...] = mpc.parameters[name]
        first = not loop.step
        try:
            u = fast.act(observation, disturbance, applied=applied)
        except Exception as error:  # refused in the first step, or of a signal's handler
            if first and isinstance(error, TypeError | ValueError):
                raise
            u = np.array(fast._previous)
            _, plan = loop.fall_back(f"{type(error).__name__}: {error}")
            mpc._last = Step(BROKEN_OFF, plan, None, mpc._weights, 0.0, mpc.model)
            return u
        last, before = fast.last, loop.plan
        assert last is not None
        loop.plan = None if last.rung == "safe" else last.inputs
        loop.previous = u.copy()
        loop.step += 1
        loop.rungs[last.rung] += 1
        seen = fast._kept.values() if last.planned else (fast._buffers[0],)
        mpc._last = partial(self._told, last, [view.copy() for view in seen], before)
        return u

    def _told(self, last: CompiledStep, snapshot: list[Array], before: Array | None) -> Step:
        """Say what a step did, as one in Python does."""
        mpc, at = self._mpc, None
        outcome = KnownOutcome(np.full((mpc.horizon, mpc.model.n_states), np.nan), np.nan)
        if last.planned:
            told = self._of_known if self._known is not None else self._of_theta
            at, outcome = told(last, snapshot, before)
            word = "optimal"
        else:
            word = "no plan" if all_finite(snapshot[0]) else "observation not finite"
        softened = last.rung == "softened"
        plan = Plan(last.inputs, outcome, word, last.iterations, softened=softened)
        return Step(last.rung, plan, at, mpc._weights, last.seconds, mpc.model, last.ignored)

    def _of_known(
        self, last: CompiledStep, snapshot: list[Array], before: Array | None
    ) -> tuple[Situation, KnownOutcome]:
        """Of a linear roll-out: all that is known, in the order of `known_of`."""
        mpc, known, (xi,) = self._mpc, self._known, snapshot
        planner: Any = mpc._planner
        planner = planner._softened if last.rung == "softened" else planner
        assert known is not None and isinstance(planner, LinearPlanner)
        if self._folded is not None:
            xi = np.append(self._folded @ xi[: self._folded.shape[1]], xi[self._folded.shape[1] :])
        z, preview = known.lifted @ xi, None
        offset = known.offset @ xi if self._offset else None
        if len(mpc._layout.measured):
            rows = (known.inputs @ xi).reshape(mpc.horizon, -1)
            preview = DisturbancePreview(rows, mpc._layout.controlled)
        start = Start(mpc.model.C @ z, z, offset, preview)
        at = self._situation(start, known.theta @ xi + known.constant)
        response = planner.response.plain or planner.response
        Y = response.outputs(z, response.shift(start), last.inputs.ravel())
        if mpc.model.n_angles:
            unturned = planner.response.shift(start)
            moved = 0.0 if unturned is None else unturned.copy()
            Y = Y + (planner._turned(at, z, unturned, before) - moved)[: len(Y)]
        U = last.inputs.reshape(1, -1)
        cost = planner.merit(planner.merit.at(at.theta), U, Y[None])[0]
        return at, KnownOutcome(Y.reshape(mpc.horizon, -1), float(cost))

    def _of_theta(
        self, last: CompiledStep, snapshot: list[Array], before: Array | None
    ) -> tuple[Situation, KnownOutcome]:
        """Of other roll-outs: the state, the problem's parameters, offset and preview."""
        mpc, (x, theta, *others) = self._mpc, snapshot
        planner: Any = mpc._planner
        planner = planner._softened if last.rung == "softened" else planner
        assert isinstance(planner, SequentialPlanner)
        preview, layout, offset = None, mpc._layout, None
        if self._offset:
            offset = np.zeros(mpc.model.n_states)
            offset[: len(others[0])] = others.pop(0)
        if len(layout.measured):
            full = np.zeros((mpc.horizon, layout.n_inputs))
            later = others[0].reshape(-1, len(layout.measured))[mpc.inputs.delay :]
            full[:, layout.measured] = later
            preview = DisturbancePreview(full, layout.controlled)
        at = self._situation(Start(x, None, offset, preview), theta)
        U = last.inputs[None]
        Y, cost = planner._judged(at, planner.merit.at(theta), U, planner._rolled_out(at, U))
        return at, KnownOutcome(Y[0], float(cost[0]))

    def _situation(self, start: Start, theta: Array) -> Situation:
        """Part the parameters of the problem."""
        N, c = self._mpc.horizon, len(self._mpc._layout.controlled)
        d = self._mpc.model.n_states
        states, inputs, previous = np.split(theta, [N * d, N * (d + c), N * (d + c) + c])[:3]
        return Situation(start, states.reshape(N, d), inputs.reshape(N, c), previous, theta)
