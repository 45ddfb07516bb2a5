"""What the numbers about a model mean, in plain words."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from koopman_control.common.arrays import Array
from koopman_control.identification.model.model import LiftedModel

USEFUL = 0.25  # standard deviations: errors beyond are too large to plan with
DIVERGED = 10.0  # standard deviations
HIGH_CONDITION = 1e10
UNUSUAL = 3.0  # standard deviations from the mean of the fit


@dataclass(frozen=True)
class Coverage:
    """What the data judged on cover.

    Args:
        n_runs: Number of trajectories.
        n_steps: Number of steps.
        states: Lowest and highest value of each state, shape (2, d).
        inputs: Lowest and highest value of each input, shape (2, m).
        input_share: Share of the action bounds that the inputs span, shape (m,), or None.
        at_limits: Share of steps that end on a known limit of a state.
        unusual: Share of states more than three standard deviations from the mean of the fit.
    """

    n_runs: int
    n_steps: int
    states: Array
    inputs: Array
    input_share: Array | None
    at_limits: float
    unusual: float


def verdict(
    model: LiftedModel,
    mean: Mapping[str, Array],
    useful: Mapping[str, int],
    rho: float,
    condition: float | None,
    coverage: Coverage,
) -> list[str]:
    """Say what the numbers mean and what to do, the most important first."""
    sentences = [_usefulness(mean, useful, model.dt), *_advice(mean, useful)]
    own = next(iter(mean))
    horizon = len(mean[own])
    growth = float(np.exp(min(horizon * np.log(max(rho, 1.0)), 700.0)))
    if growth > 1.1:
        remedy = "" if np.all(mean[own] < DIVERGED) and growth < 10.0 else "; see `stabilized`"
        sentences.append(
            f"The spectral radius {rho:.6g} lets the {own} roll-out grow up to {growth:.3g} times "
            f"over {horizon} steps{remedy}."
        )
    unregularized = not model.summary.get("regularization")
    if condition is not None and not condition < HIGH_CONDITION and unregularized:
        sentences.append(
            f"The regression is badly conditioned ({condition:.2g}): features repeat each other on "
            "the data of the fit; a little regularization or fewer features cost nothing."
        )
    share = coverage.input_share
    if share is not None and (share < 0.5).any():
        i = int(np.argmin(share))
        sentences.append(
            f"Input {i} spans only {100.0 * share[i]:.2g} % of its bounds in these data; the "
            "controller may use all of them, where nothing has been tested."
        )
    if coverage.unusual > 0.01:
        sentences.append(
            f"{100.0 * coverage.unusual:.2g} % of these states lie more than {UNUSUAL:g} standard "
            "deviations from the mean of the fit: the model extrapolates there."
        )
    return sentences


def _usefulness(mean: Mapping[str, Array], useful: Mapping[str, int], dt: float | None) -> str:
    parts = []
    for i, (kind, steps) in enumerate(useful.items()):
        time = f" ({steps * dt:.3g} s)" if dt and steps else ""
        end = f" step{'s' * (steps != 1)}{time}"
        more = " and more" if steps == len(mean[kind]) else ""
        what = f"{'The ' if i == 0 else 'the '}{kind} roll-out"
        parts.append(
            f"{what} is useful to {steps}{end}{more}" if steps else f"{what} is not useful"
        )
    return f"{', '.join(parts)} (errors within {USEFUL:g} standard deviations)."


def _advice(mean: Mapping[str, Array], useful: Mapping[str, int]) -> list[str]:
    (own, n_own), (_, n_relifted) = useful.items()
    exploded = [kind for kind, error in mean.items() if not (error < DIVERGED).all()]
    found = [f"The {kind} roll-out diverges within {len(mean[kind])} steps." for kind in exploded]
    if n_relifted > n_own:
        found.append(f"Beyond {n_own} steps use the relifted roll-out rather than the {own} one.")
    elif n_own > n_relifted:
        found.append(f"Use the {own} roll-out: lifting again at every step adds up errors here.")
    elif n_own and mean["relifted"][-1] < 0.5 * mean[own][-1]:
        found.append(
            f"After {len(mean[own])} steps the relifted one is off by {mean['relifted'][-1]:.2g}, "
            f"the {own} one by {mean[own][-1]:.2g}."
        )
    if max(n_own, n_relifted) == 0:
        found.append("Neither predicts one step: collect more data, or try other features.")
    return found
