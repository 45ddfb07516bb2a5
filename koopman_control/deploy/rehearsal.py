"""Recorded steps of a controller on its own model, for C code to be checked by on its target."""

from __future__ import annotations

import copy
from dataclasses import dataclass

import numpy as np

from koopman_control.common.arrays import Array
from koopman_control.deploy.parts import target_parts
from koopman_control.identification import LiftedModel
from koopman_control.mpc import KoopmanMPC
from koopman_control.mpc.estimation.base import state_mean, state_scale
from koopman_control.mpc.state import Rung

RUNGS: tuple[Rung, ...] = ("solved", "softened", "shifted", "safe")  # by their numbers in C
STEPS, MISSING = 60, (20, 21)  # steps, and those at which nothing is observed
NOISE = 0.02  # of observations, in standard deviations of the training data
KICKS = 15  # steps between two jumps of the state
FAR = 1e3  # times as far as it was a state does not go in a step


@dataclass(frozen=True)
class Rehearsal:
    """What a controller was given, and what it answered; T steps.

    Args:
        observations: Shape (T, p), NaN where nothing was observed.
        references: Rows of the targets of the states, (T, N d); (T, 0) where they are not given.
        input_references: Likewise of the inputs.
        inputs: Shape (T, m).
        rungs: Numbers of the rungs, shape (T,).
        span: What a deviation of each input is measured by, shape (m,).
    """

    observations: Array
    references: Array
    input_references: Array
    inputs: Array
    rungs: np.ndarray
    span: Array

    def arrays(self) -> dict[str, np.ndarray]:
        """All of it by name."""
        return {
            "observations": self.observations,
            "references": self.references,
            "input_references": self.input_references,
            "inputs": self.inputs,
            "rungs": self.rungs,
            "span": self.span,
        }


def rehearse(mpc: KoopmanMPC) -> Rehearsal:
    """Run a copy of a controller on its own model, with noise, jumps and missing observations."""
    mpc = copy.deepcopy(mpc)
    mpc.reset()
    rng, model, controlled = np.random.default_rng(0), mpc.model, mpc._layout.controlled
    x, unit, now = state_mean(model), state_scale(model), model.coordinates.n_outputs
    targets = [target for target in target_parts(mpc) if target.kind == "given"]
    given: dict[str, list[Array]] = {"reference": [], "input_reference": []}
    observations, inputs, rungs = [], [], []
    for step in range(STEPS):
        if step % KICKS == 0:
            x = x.copy()
            x[:now] = state_mean(model)[:now] + unit[:now] * rng.normal(size=now)
        y = observed(model, x + NOISE * unit * rng.normal(size=len(x)))
        if step in MISSING:
            y[:] = np.nan
        inputs.append(mpc.act(y))
        observations.append(y)
        last = mpc.last
        assert last is not None
        rungs.append(RUNGS.index(last.rung))
        for target in targets:
            rows = np.full(target.size, np.nan)
            if last.situation is not None:
                rows = getattr(last.situation, target.name)[:, : target.width].ravel()
            given[target.name].append(rows)
        u = np.zeros(model.n_inputs)
        u[controlled] = inputs[-1]
        moved = model.predict(x, u[None], mpc.rollout)[0]
        x = np.where(np.abs(moved) < FAR * (np.abs(x) + unit), moved, x)
    low, high = mpc._weights.input_bounds[:, 0]
    both = np.isfinite(low) & np.isfinite(high) & (low < high)
    largest = np.abs(np.array(inputs)).max(axis=0)
    return Rehearsal(
        observations=np.array(observations),
        references=np.array(given["reference"]),
        input_references=np.array(given["input_reference"]),
        inputs=np.array(inputs),
        rungs=np.array(rungs),
        span=np.where(both, high - low, np.where(largest > 0.0, largest, 1.0)),
    )


def observed(model: LiftedModel, x: Array) -> Array:
    """Return an observation (p,) at which the present part of a state x (d,) is read."""
    y = np.zeros(model.coordinates.n_observations)
    for value, column in zip(x, model.coordinates.columns, strict=False):
        if isinstance(column, tuple) and len(column) == 2:
            y[column[0]], y[column[1]] = np.cos(value), np.sin(value)
        else:
            y[column[0] if isinstance(column, tuple) else column] = value
    return y
