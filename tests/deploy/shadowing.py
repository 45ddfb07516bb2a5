"""A controller that holds its own model, and exported ones that shadow it."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import NamedTuple

import numpy as np

from koopman_control.common.arrays import Array
from koopman_control.deploy import CompiledMPC
from koopman_control.deploy.rehearsal import observed
from koopman_control.mpc import KoopmanMPC


class Answer(NamedTuple):
    """What a controller said to an observation."""

    u: Array
    rung: str


def shadowed(
    mpc: KoopmanMPC, shadows: Sequence[CompiledMPC | KoopmanMPC], steps: int, seed: int
) -> Iterator[tuple[Answer, list[Answer]]]:
    """Close the loop by the first controller; yield its answers and those of the others.

    Observations are noisy, and now and then incomplete; the state jumps; somebody else acts.
    """
    model, rng = mpc.model, np.random.default_rng(seed)
    now, c = model.coordinates.n_outputs, len(mpc._layout.controlled)
    size = 2.0 if mpc.rollout == "linear" else 1.0  # of jumps: within reach of the model
    size = 0.3 if now == 2 else size  # or the plant
    x = np.zeros(model.n_states)
    controllers: list[KoopmanMPC | CompiledMPC] = [mpc, *shadows]
    for step in range(steps):
        if step % 20 == 0:
            x = np.zeros(model.n_states)
            x[:now] = size * rng.normal(size=now)
        y = observed(model, x + 0.02 * rng.normal(size=len(x)))
        if rng.random() < 0.05:
            y[rng.integers(len(y))] = rng.choice([np.nan, np.inf])
        applied = rng.uniform(-1.0, 1.0, c) if step % 40 == 30 else None
        preview = None
        if len(mpc.inputs.measured) and step % 7 == 0:
            preview = rng.normal(size=(rng.integers(1, 14), 1))
        answers = []
        for one in controllers:
            u = one.act(y, preview, applied=applied)
            assert one.last is not None
            answers.append(Answer(u, one.last.rung))
        yield answers[0], answers[1:]
        full = np.zeros(model.n_inputs)
        full[mpc._layout.controlled] = answers[0].u
        x = np.clip(model.predict(x, full[None], mpc.rollout)[0], -50.0, 50.0)
