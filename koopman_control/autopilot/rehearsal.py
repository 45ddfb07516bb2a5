"""Rehearsals: what is open about a controller is chosen by its closed loop on the learned model."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np

from koopman_control.autopilot.reward import EndModel, RewardModel
from koopman_control.autopilot.search import Objective
from koopman_control.common.arrays import Array
from koopman_control.identification import LiftedModel

Planner = Callable[[Array], Array]  # from a state (d,) to a plan (N, m)
STARTS, DECISIONS = 2, 100  # twice a plan's, so that what is planned is also earned
CLEARLY = 0.02  # share of the range of returns by which a later candidate has to be better


@dataclass(frozen=True, eq=False)
class Candidate:
    """What may act.

    Args:
        objective: What a step is worth beside its reward, and for how many steps an input is held.
        planner: Makes what plans, for one episode.
    """

    objective: Objective
    planner: Callable[[], Planner]


def rehearsed(
    candidate: Candidate,
    model: LiftedModel,
    reward: RewardModel,
    end: EndModel,
    start: Array,
    n_steps: int,
) -> float:
    """Return what a closed loop on the model earns from a start (d,) in so many steps of it."""
    embed, x, total = model.signals.embedding, start[None], 0.0
    objective, plan = candidate.objective, candidate.planner()
    for k in range(n_steps):
        if k % objective.hold == 0:
            u = plan(x[0])[:1]
        with np.errstate(all="ignore"):
            x_next = model.one_step.step(x, u)
        if not np.isfinite(x_next).all():
            return -np.inf
        e_next = embed(x_next)
        told = end.surface(e_next)[0]
        if (x_next < end.box[0]).any() or (x_next > end.box[1]).any() or told[0] > 0.5:
            return total + float(told[1])
        total += float(reward(embed(x), u, e_next)[0])
        total += objective.distrust * float(objective.lost(x_next)[0])
        x = x_next
    return total


def best_rehearsed(
    candidates: Sequence[Candidate],
    model: LiftedModel,
    reward: RewardModel,
    end: EndModel,
    starts: Array,
    n_steps: int,
) -> tuple[int, Array]:
    """Choose among candidates by what their closed loops earn on the learned model.

    Args:
        candidates: The simplest first.
        model: The learned model.
        reward: What is earned.
        end: When it ends.
        starts: States that episodes begin in, shape (k, d).
        n_steps: Steps of the model.

    Returns:
        The number of the best candidate, and what each earned in the mean.
    """
    some = starts[np.linspace(0, len(starts) - 1, min(STARTS, len(starts))).astype(int)]
    earned = np.array(
        [[rehearsed(c, model, reward, end, x, n_steps) for x in some] for c in candidates]
    )
    mean = earned.mean(axis=1)
    finite = mean[np.isfinite(mean)]
    margin = CLEARLY * float(np.ptp(finite)) if len(finite) else 0.0
    return int(np.flatnonzero(mean >= mean.max() - margin)[0]), mean
