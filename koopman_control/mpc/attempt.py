"""A step's way down the ladder: a plan, or else the previous one continued, or the safe input."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import suppress
from math import isfinite
from typing import NamedTuple

from koopman_control.mpc.loop import Loop
from koopman_control.mpc.planning.plan import Plan, Situation
from koopman_control.mpc.planning.quadratic import Planning
from koopman_control.mpc.solvers import TIME_LIMIT
from koopman_control.mpc.statement.targets import NothingAskedError
from koopman_control.mpc.step import Rung


class Attempt(NamedTuple):
    """The rung, the plan, and what it was to start from, if that is known."""

    rung: Rung
    plan: Plan
    situation: Situation | None


def attempt(
    planning: Planning, loop: Loop, situated: Callable[[], Situation], until: float
) -> Attempt:
    """Plan, or else fall back and say why.

    Args:
        planning: Plans for a situation.
        loop: The episode so far.
        situated: Collects what a plan depends on.
        until: Time of `time.perf_counter` at which to make do with the best plan so far.
    """
    at: Situation | None = None
    try:
        at = situated()
        rung, plan = planning.plan(at, loop.plan, loop.previous, until)
    except Exception as error:  # whatever it is, the loop must go on
        with suppress(Exception):  # a solver that is out of order may not even forget
            planning.reset()
        why, at_rest = f"{type(error).__name__}: {error}", isinstance(error, NothingAskedError)
        return Attempt(*loop.fall_back(why, drop_plan=at_rest), at)
    if plan.status == "optimal":
        return Attempt(rung, plan, at)
    if plan.status == TIME_LIMIT and isfinite(plan.outcome.cost):
        return Attempt("shifted", plan, at)  # the best guess; the plan before is one of them
    return Attempt(*loop.fall_back(plan.status), at)
