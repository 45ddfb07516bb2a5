"""One model of what happens, chosen by left-out errors: smooth core, features, what they see."""

from __future__ import annotations

import warnings
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from koopman_control.features import Angle, Coordinates, SampledFeatures
from koopman_control.identification import Corrections, EDMDc
from koopman_control.trajectories import Trajectory, total_steps

NEURONS, STEEPNESS = (30, 60, 120), (0.1, 0.25, 0.5)
HORIZON, FOLDS = 20, 4
WORSE = 1.1  # factor on the error that leaving one input out may cost, to be tried with others
NO_WORSE = 1.02  # and that it may cost in the end


@dataclass(frozen=True)
class Structure:
    """What is known of the columns of the observation.

    Args:
        angles: (cosine column, sine column) pairs or columns in radians.
        context: Columns that stay constant within an episode.
        ignored: Columns that make no difference to how the others move; None: not known yet.
    """

    angles: tuple[Angle, ...]
    context: tuple[int, ...]
    ignored: tuple[int, ...] | None = None

    def unseen(self, n_observations: int, columns: Sequence[int]) -> tuple[int, ...]:
        """Feature inputs that belong to plain columns."""
        coordinates = Coordinates.of(n_observations, None, self.angles)
        places = [
            k
            for k, (state, kind) in enumerate(coordinates.embedded)
            if kind == "id" and coordinates.columns[state] in columns
        ]
        return tuple(places)


def structure_of(data: Sequence[Trajectory]) -> Structure:
    """Find angles and context in data."""
    seen = np.concatenate([t.observations for t in data])
    pairs: list[tuple[int, int]] = []
    for i in range(seen.shape[1]):
        for j in range(i + 1, seen.shape[1]):
            taken = {c for pair in pairs for c in pair}
            on_circle = np.abs(seen[:, i] ** 2 + seen[:, j] ** 2 - 1.0).max() < 1e-3
            if on_circle and not {i, j} & taken and np.ptp(seen[:, i]) > 1e-3:
                pairs.append((i, j))
    still = [
        c for c in range(seen.shape[1]) if all(np.ptp(t.observations[:, c]) == 0.0 for t in data)
    ]
    return Structure(tuple(pairs), tuple(still))


def estimator(
    structure: Structure,
    unseen: Sequence[int],
    seed: int,
    neurons: Sequence[int],
    trim: bool = True,
) -> EDMDc:
    """Return the unfitted estimator."""
    features = [
        SampledFeatures(n, steepness=s, ignored=tuple(unseen), random_state=seed)
        for n in neurons
        for s in STEEPNESS
    ]
    return EDMDc(
        features,
        coupling="bilinear",
        angles=structure.angles,
        horizon=HORIZON,
        n_folds=FOLDS,
        corrections=Corrections(trim="auto") if trim else None,
    )


def fitted(data: Sequence[Trajectory], structure: Structure, seed: int, trim: bool = True) -> EDMDc:
    """Fit a model, with as many neurons as the data are enough for."""
    p, m = data[0].observations.shape[1], data[0].actions.shape[1]
    columns = (*structure.context, *(structure.ignored or ()))
    unseen = structure.unseen(p, columns)
    n_inputs = len(Coordinates.of(p, None, structure.angles).embedded)
    if len(unseen) == n_inputs:
        unseen = unseen[1:]
    steps = total_steps(data)
    few = [n for n in NEURONS if 2 * (1 + m) * (1 + n_inputs + n) <= steps] or [10]
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # what is unsettled is judged by left-out errors
        return estimator(structure, unseen, seed, few, trim).fit(data)


def ignorable(data: Sequence[Trajectory], structure: Structure, seed: int) -> tuple[int, ...]:
    """Find columns that neurons do not need to see: leaving them out makes no error larger.

    Args:
        data: Pieces that a smooth model can follow.
        structure: What is known so far.
        seed: Of the features.
    """
    p = data[0].observations.shape[1]
    n_inputs = len(Coordinates.of(p, None, structure.angles).embedded)
    in_pairs = {c for angle in structure.angles for c in np.atleast_1d(angle).tolist()}
    plain = [c for c in range(p) if c not in in_pairs and c not in structure.context]

    def error(columns: tuple[int, ...]) -> float:
        unseen = structure.unseen(p, (*structure.context, *columns))
        if len(unseen) >= n_inputs:
            return np.inf
        features = SampledFeatures(
            NEURONS[1], steepness=STEEPNESS[1], ignored=unseen, random_state=seed
        )
        settings = EDMDc(
            features, coupling="bilinear", angles=structure.angles, horizon=HORIZON, n_folds=FOLDS
        )
        try:
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")
                return settings.fit(data).choices_[0].score
        except ValueError:  # too few samples to tell
            return np.inf

    kept: tuple[int, ...] = ()
    best = error(kept)
    if not np.isfinite(best):
        return kept
    single = {c: error((c,)) for c in plain}
    for c in sorted(plain, key=single.__getitem__):
        if single[c] > WORSE * best:
            break
        together = single[c] if not kept else error((*kept, c))
        if together <= NO_WORSE * best:
            kept, best = (*kept, c), min(best, together)
    return kept
