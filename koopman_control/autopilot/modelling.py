"""One model of what happens, chosen by left-out errors: smooth core, features, what they see."""

from __future__ import annotations

import warnings
from collections.abc import Sequence
from dataclasses import dataclass, replace
from itertools import product
from typing import Literal

import numpy as np

from koopman_control.autopilot.findings import Findings
from koopman_control.features import (
    Angle,
    Coordinates,
    FeatureMap,
    FeatureUnion,
    PolynomialFeatures,
    SampledFeatures,
)
from koopman_control.identification import Corrections, EDMDc
from koopman_control.identification.trimming import halves, typical_error
from koopman_control.trajectories import Trajectory, total_steps

Trim = float | Literal["auto"] | None

NEURONS, STEEPNESS = (30, 60, 120), (0.1, 0.25, 0.5)
MOST_RELIFTED = 30  # feature inputs of models whose inputs act differently in different states
MOST_PRODUCTS = 12  # feature inputs up to which products of any two stand beside the neurons
FEWEST_NEURONS = 10  # where data are enough for no more
EXACT = 1e-4  # error below which one model is as good as another
SMOOTH = 0.85  # share of the samples that columns are judged by
HORIZON, FOLDS = 20, 4
WORSE = 1.3  # factor on the error that leaving one input out may cost, to be tried with others
BETTER = 0.5  # factor on the error that reading a column as an angle has to bring
NO_WORSE = 1.1  # and that it may cost in the end: as much as another draw of neurons does


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

    def plain(self, n_observations: int) -> tuple[int, ...]:
        """Columns that are neither part of an angle nor context."""
        used = {c for angle in self.angles for c in np.atleast_1d(angle).tolist()}
        return tuple(c for c in range(n_observations) if c not in used and c not in self.context)


def structure_of(findings: Findings) -> Structure:
    """Take what a model needs from what was found."""
    return Structure(findings.angles.value, findings.context.value)


def estimator(
    structure: Structure,
    unseen: Sequence[int],
    seed: int,
    neurons: Sequence[int],
    steepness: Sequence[float],
    trim: Trim,
    products: Sequence[bool],
    n_observations: int,
) -> EDMDc:
    """Return the unfitted estimator.

    Products of any two feature inputs say what neurons cannot that do not see a column: how
    friction, by a speed, acts at any angle. What stays the same in an episode is in none of them:
    a few goals explain by chance what the states leave.
    """
    features: list[FeatureMap] = []
    constant = structure.unseen(n_observations, structure.context)
    for n in neurons:
        for s in steepness:
            drawn = SampledFeatures(n, steepness=s, ignored=tuple(unseen), random_state=seed)
            both = FeatureUnion([drawn, PolynomialFeatures(2, ignored=constant)])
            features += [both if beside else drawn for beside in products]
    n_inputs = len(Coordinates.of(n_observations, None, structure.angles).embedded)
    few = n_inputs <= MOST_RELIFTED
    return EDMDc(
        features,
        coupling="bilinear" if few else "linear",
        rollout="relifted" if few else "linear",
        angles=structure.angles,
        horizon=HORIZON,
        n_folds=FOLDS,
        corrections=Corrections(trim=trim),
    )


def fitted(data: Sequence[Trajectory], structure: Structure, seed: int, trim: Trim) -> EDMDc:
    """Fit a model, with as many neurons as the data are enough for."""
    p, m = data[0].observations.shape[1], data[0].actions.shape[1]
    columns = (*structure.context, *(structure.ignored or ()))
    unseen = structure.unseen(p, columns)
    n_inputs = len(Coordinates.of(p, None, structure.angles).embedded)
    if len(unseen) == n_inputs:
        unseen = unseen[1:]
    steps = total_steps(data)
    few = [n for n in NEURONS if 2 * (1 + m) * (1 + n_inputs + n) <= steps] or [FEWEST_NEURONS]
    products = (False, True) if worth_products(n_inputs, m, few[-1], steps) else (False,)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # what is unsettled is judged by left-out errors
        return estimator(structure, unseen, seed, few, STEEPNESS, trim, products, p).fit(data)


def worth_products(n_inputs: int, m: int, neurons: int, steps: int) -> bool:
    """Say whether data are enough for products of any two feature inputs beside neurons."""
    count = n_inputs * (n_inputs + 1) // 2
    return n_inputs <= MOST_PRODUCTS and (1 + m) * (1 + n_inputs + neurons + count) <= steps


def smooth_pieces(data: Sequence[Trajectory], structure: Structure, seed: int) -> list[Trajectory]:
    """Keep what a smooth model follows best: what is left in would hide which columns it needs."""
    p, m = data[0].observations.shape[1], data[0].actions.shape[1]
    n_inputs, n = len(Coordinates.of(p, None, structure.angles).embedded), NEURONS[1]
    unseen = structure.unseen(p, (*structure.context, *(structure.ignored or ())))
    products = (worth_products(n_inputs, m, n, total_steps(data)),)
    settings = estimator(
        structure, unseen[: n_inputs - 1], seed, [n], STEEPNESS[1:2], SMOOTH, products, p
    )
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            trimmed = settings.fit(data).trimmed_
    except ValueError:  # too few samples to tell
        return list(data)
    return list(data) if trimmed is None else trimmed.pieces


def turning(data: Sequence[Trajectory], structure: Structure, seed: int) -> Structure:
    """Read columns in radians as angles where that makes the left-out error smaller.

    Only columns that cover three quarters of a turn or more are tried: what covers less gains
    nothing from going round, and a cart's position would do as well.

    Args:
        data: Pieces that a smooth model can follow.
        structure: What is known so far.
        seed: Of the features.
    """
    wide = np.ptp(np.concatenate([t.observations for t in data]), axis=0) > 1.5 * np.pi
    best, ridge = _error(data, structure, (), seed)
    for c in structure.plain(len(wide)):
        if wide[c] and np.isfinite(best):
            with_angle = replace(structure, angles=(*structure.angles, c))
            error = _error(data, with_angle, (), seed, ridge)[0]
            if error < BETTER * best:
                structure, best = with_angle, error
    return structure


def ignorable(data: Sequence[Trajectory], structure: Structure, seed: int) -> tuple[int, ...]:
    """Find columns that neurons do not need to see: leaving them out makes no error larger.

    Among many columns none is looked for: every one takes several fits.

    Args:
        data: Pieces that a smooth model can follow.
        structure: What is known so far.
        seed: Of the features.
    """
    plain = structure.plain(data[0].observations.shape[1])
    kept: tuple[int, ...] = ()
    if len(plain) > MOST_RELIFTED:
        return kept
    whole, ridge = _error(data, structure, kept, seed)
    best = whole
    if not np.isfinite(whole):
        return kept
    single = {c: _error(data, structure, (c,), seed, ridge)[0] for c in plain}
    for c in sorted(plain, key=single.__getitem__):
        if single[c] > WORSE * whole:
            break
        together = single[c]
        if kept:
            together = _error(data, structure, (*kept, c), seed, ridge)[0]
        if together <= NO_WORSE * best:
            kept, best = (*kept, c), min(best, together)
    return kept


def _error(
    data: Sequence[Trajectory],
    structure: Structure,
    ignored: Sequence[int],
    seed: int,
    ridge: float | None = None,
) -> tuple[float, float]:
    """Typical error, on the half of the data not seen, of neurons that do not see these columns.

    Args:
        data: Pieces that a smooth model can follow.
        structure: What is known so far.
        ignored: The columns.
        seed: Of the features.
        ridge: Strength of the ridge; None chooses it by cross-validation, which takes ten times as
            long.

    Returns:
        The error, infinite where data are too few to tell, and the typical strength.
    """
    p, m = data[0].observations.shape[1], data[0].actions.shape[1]
    unseen = structure.unseen(p, (*structure.context, *ignored))
    n_inputs, n = len(Coordinates.of(p, None, structure.angles).embedded), NEURONS[1]
    if len(unseen) >= n_inputs:
        return np.inf, 0.0
    parts, logs, ridges = halves(data), [], []
    for draw, (seen, other) in product((seed, seed + 1), (parts, parts[::-1])):
        products = (worth_products(n_inputs, m, n, total_steps(seen)),)
        settings = estimator(structure, unseen, draw, [n], STEEPNESS[1:2], None, products, p)
        if ridge is not None:
            settings.set_params(regularization=ridge, n_folds=0)
        try:
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")
                logs.append(typical_error(settings.fit(seen).model_, other))
                ridges.append(settings.choices_[0].regularization)
        except ValueError:  # too few samples to tell
            return np.inf, 0.0
    return max(float(np.exp(np.mean(np.log(logs)))), EXACT), float(np.median(ridges))
