"""Many fits teach one model what they agree on, also under inputs nobody has logged.

Where data are few, each fit is a matter of luck: of its features, its structure, how strongly it is
pulled. Their median under the same inputs is not; what a controller needs, though, is one model.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from koopman_control.common.arrays import Array
from koopman_control.identification.draws import Member, Subject
from koopman_control.identification.snapshots import Run
from koopman_control.trajectories import Trajectory

LONGEST_BLOCK, LONGEST_RUN = 64, 1_000  # steps of logged inputs kept together, and of a run
MOST_TRIES = 200  # runs imagined, of which some are lost


@dataclass(frozen=True)
class Teacher:
    """A fit and the structure it sees the data with.

    Args:
        subject: Data and structure.
        member: The fit.
    """

    subject: Subject
    member: Member


def agreed(teachers: Sequence[Teacher], outputs: Array, inputs: Array, U: Array) -> Array | None:
    """Return the median of simulations (H, p); None where most of them are lost.

    Args:
        teachers: Who simulates.
        outputs: Rows before, shape (K + 1, p).
        inputs: Inputs between these, shape (K, m).
        U: Inputs, shape (H, m).
    """
    runs = [teacher.subject.simulated(teacher.member, outputs, inputs, U) for teacher in teachers]
    finite = [Y for Y in runs if np.isfinite(Y).all()]
    if len(finite) < (len(runs) + 1) // 2:
        return None
    return np.asarray(np.median(finite, axis=0))


def imagined(
    teachers: Sequence[Teacher], subject: Subject, rows: int, rng: np.random.Generator
) -> list[Run]:
    """Make runs of what teachers agree on under pieces of the logged inputs in another order.

    Args:
        teachers: Who simulates.
        subject: Whose states the runs have.
        rows: Steps in all of them.
        rng: Of pieces and starts.
    """
    data, coordinates = subject.data, subject.design.signals.coordinates
    memory = subject.structure.memory
    longest = max(memory, *(teacher.subject.structure.memory for teacher in teachers))
    found: list[Run] = []
    for _ in range(MOST_TRIES):
        if sum(len(run.U) for run in found) >= rows:
            break
        source = data[int(rng.integers(len(data)))]
        length = min(len(source) - longest, LONGEST_RUN)
        if length < 1:
            continue
        begin = int(rng.integers(0, len(source) - longest))
        outputs = source.observations[begin : begin + longest + 1]
        inputs, U = source.actions[begin : begin + longest], reordered(source, length, rng)
        Y = agreed(teachers, outputs, inputs, U)
        if Y is not None:
            past = inputs[longest - memory :]
            rows_of = np.concatenate([outputs[longest - memory :], Y])
            found.append(Run(coordinates.along(rows_of, np.concatenate([past, U])), U))
    return found


def reordered(source: Trajectory, length: int, rng: np.random.Generator) -> Array:
    """Put pieces of a run's inputs into another order, (length, m)."""
    block = max(8, min(LONGEST_BLOCK, length // 4))
    firsts = rng.integers(0, max(1, len(source) - block), -(-length // block))
    return np.concatenate([source.actions[a : a + block] for a in firsts])[:length]
