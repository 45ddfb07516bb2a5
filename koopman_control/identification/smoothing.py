"""Noisy measurements: smooth the data with the model's own dynamics, fit again, a few times.

Noise of a measured state stands in the regressors, so least squares underestimates what they do
(errors in variables). A smoother takes it out: the likeliest course of the states, given a model
and all measurements. How much measurements and steps are to be trusted is what makes the
measurements likeliest; a model that was fitted to noisy data finds large steps unforeseen at first,
smoothed data give better models, and these smoother data. In the end the weights of the states'
rows are those that make all measurements likely, see `evidence`.
"""

from __future__ import annotations

import warnings
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from types import MappingProxyType

import numpy as np
from numpy.typing import ArrayLike

from koopman_control.common.arrays import Array, finite_array
from koopman_control.identification.evidence import (
    FreeRows,
    affordable,
    information,
    precisions,
)
from koopman_control.identification.fitting import Fit
from koopman_control.identification.measured import Measured
from koopman_control.identification.model import LiftedModel
from koopman_control.identification.rollouts import Rollout
from koopman_control.identification.smoother import CLIPPED, LAGS, Smoother, usual
from koopman_control.identification.snapshots import Run
from koopman_control.identification.speeds import speeds_in
from koopman_control.trajectories import Trajectory

PASSES = 5
PLAIN = 3  # of them, the first ones, fit by least squares alone
ROUNDS = 6, 4  # of the smoother, in the first pass and in later ones
LEAST, LEAST_KNOWN = 0.1, 0.01  # of the measurement noise, as that of a step; of a known row
WHITE = 0.1  # largest autocorrelation of innovations that are called white


@dataclass(frozen=True)
class NoiseEstimate:
    """What a fit found out about the noise of its data.

    Args:
        measurement: Standard deviation of the noise of each present state, shape (p,), in its
            units; radians for angles.
        process: Standard deviation of what a step adds unforeseen, shape (p,), as assumed in the
            last pass.
        autocorrelation: Of the normalised innovations of the last pass, 1 ... 10 steps apart,
            shape (10, p): near zero where the noise was as assumed, independent from sample to
            sample.
        replaced: Share of measurements that were missing or stood out by themselves, and were
            filled by the smoother, shape (p,).
        passes: How often the data were smoothed and fitted again; 0 where no noise was found.
        acting: Standard deviations of measurements and of steps, shape (2, p), with which a filter
            foretells left-out measurements best; None where it is best to believe them as they are.
        derivatives: Which states are speeds of which others, as told or found; see `LeastSquares`.
    """

    measurement: Array
    process: Array
    autocorrelation: Array
    replaced: Array
    passes: int
    acting: Array | None = None
    derivatives: Mapping[int, int] = field(default_factory=dict)

    @property
    def white(self) -> bool:
        """Whether all autocorrelations of the innovations are below 0.1."""
        return bool((np.abs(self.autocorrelation) < WHITE).all())


def smoothed_fit(
    first: Fit,
    data: Sequence[Trajectory],
    fit: Callable[..., Fit],
    noise_std: ArrayLike | None = None,
    *,
    rollout: Rollout,
    derivatives: Mapping[int, int] = MappingProxyType({}),
    unless_clean: bool = False,
) -> tuple[Fit, list[Trajectory], NoiseEstimate]:
    """Smooth and fit again, `PASSES` times.

    Args:
        first: A fit to the data, their gaps filled; without glitches, unless `unless_clean`.
        data: The data.
        fit: Fits to trajectories, with changes of its settings given by name.
        noise_std: Standard deviation of the measurements, a number or one for each of p present
            states; None estimates it.
        rollout: Roll-out that will be used. Only for the re-lifted one are the rows of the states
            refined in the end; the others need all lifted rows from one least-squares fit.
        derivatives: Which states are speeds of which others; found after the first pass where none
            are told. Nothing unforeseen moves a state that follows from its speed.
        unless_clean: Keep the first fit where its residuals show no noise, or where left-out
            measurements are foretold no better after smoothing.

    Returns:
        The last fit, the trajectories it was fitted to, and what was found out.
    """
    coordinates, p = first.model.coordinates, first.model.coordinates.n_outputs
    given = None if noise_std is None else _given(noise_std, p)
    measured = Measured.of(data, coordinates)
    plain = Smoother(first.model, Measured.of(data, coordinates, doubting=False))
    failing = measured.failing or plain.spoilt(plain.long(measured.Y))
    measured = replace(measured, failing=failing)
    if unless_clean and given is None and not failing and not plain.noisy():
        return first, list(data), _nothing(p)
    turning = coordinates.is_angle[:p]  # what is off the circle is no angle
    every = [np.tile(np.where(turning, np.nan, 0.0), (len(t) + 1, 1)) for t in data]
    all_there = Measured.of(data, coordinates, missed=every)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", UserWarning)  # the first fit has said them
        original = first
        if (measured.replaced > all_there.replaced).any():
            seen = fit(all_there.data, rollout="relifted")  # judged by steps
            foretold_steps = Smoother(seen.model, all_there).left_out_misses(_left_out(seen))
            measured = Measured.of(data, coordinates, missed=foretold_steps, failing=failing)
            first = fit(measured.data)
        features = [first.selection.choices[0].features]
        smoother, fixed = Smoother(first.model, measured), given is not None
        best, least_surprise, plain_filter = _best_plain((original, first), measured, given)
        (R, Q), precision, missed = smoother.first_guess(given), None, np.full(p, np.inf)
        for number in range(PASSES):
            least = _least(p, derivatives) * R
            R, Q = smoother.smooth(R, Q, ROUNDS[number > 0], least=least, fixed=fixed)
            smooth = smoother.trajectories()
            if number == 0 and not derivatives:
                derivatives = speeds_in(measured.Y, measured.present, R, smooth[0].dt)
            last = number == PASSES - 1
            judged: Rollout = rollout if last else "relifted"
            again = fit(smooth, features=features, derivatives=derivatives, rollout=judged)
            misses = _misses(smoother, _left_out(again))
            if np.log(misses).sum() <= np.log(missed).sum():  # else the fit before is better
                used, squares, missed = smooth, again, misses
            elif last and judged != "relifted":
                squares = fit(used, features=features, derivatives=derivatives, rollout=judged)
            fitted = squares
            smoother.model_is(fitted.model)
            if number < PLAIN:
                continue
            refined, left_out, precision = _refined(fitted, smoother, R, Q, precision)
            foretold, acting = _foretold(smoother, left_out, R, Q, least)
            better = acting is not None and foretold < least_surprise
            if better and refined is not None and judged == "relifted":
                fitted = refined
            smoother.model_is(fitted.model)
    if unless_clean and not better:
        kept = plain.measured if best is original else measured
        return best, kept.data, replace(_nothing(p, plain_filter), replaced=kept.replaced)
    autocorrelation, replaced = smoother.autocorrelation(), measured.replaced
    noise = NoiseEstimate(
        np.sqrt(R), np.sqrt(Q), autocorrelation, replaced, PASSES, acting, derivatives
    )
    return fitted, used, noise


def _nothing(p: int, acting: Array | None = None) -> NoiseEstimate:
    nothing = np.zeros(p)
    return NoiseEstimate(nothing, nothing, np.zeros((LAGS, p)), nothing, 0, acting)


def _least(p: int, derivatives: Mapping[int, int]) -> Array:
    """Least variances of steps (p,), as shares of those of measurements."""
    known = np.isin(np.arange(p), list(derivatives))
    return np.where(known, LEAST_KNOWN, LEAST) ** 2


def _left_out(fitted: Fit) -> list[LiftedModel]:
    """The fits that cross-validation left folds out of."""
    return fitted.selection.trial.left_out(fitted.selection.strength)


def _misses(smoother: Smoother, left_out: Sequence[LiftedModel]) -> Array:
    """Mean squares (p,) of what models miss in a step on data left out."""
    missed = np.concatenate(smoother.left_out_misses(left_out))
    return np.maximum(np.nanmean(missed**2, axis=0), smoother.least)


def _refined(
    fitted: Fit, smoother: Smoother, R: Array, Q: Array, precision: Array | None
) -> tuple[Fit | None, list[LiftedModel], Array | None]:
    """Find the weights that make all measurements likely.

    Args:
        fitted: A fit to smoothed data.
        smoother: With its model.
        R: Variances of the measurements, (p,).
        Q: Variances of steps, (p,).
        precision: Of the weights' prior, where it was found before.

    Returns:
        The refined fit, fits that each left a fold out, and precisions. Where there are too many
        weights, or numbers overflow, there is no refined fit, and what was left out has been seen
        by the smoother.
    """
    rows, trial = FreeRows(fitted.regression, fitted.coefficients), fitted.selection.trial
    unrefined = None, trial.left_out(fitted.selection.strength), None
    if not affordable(rows, smoother):
        return unrefined
    try:
        parts = information(rows, smoother, R, Q, trial.folds.n_folds)
    except np.linalg.LinAlgError:  # what the model foretells along the data explodes
        return unrefined
    if not all(part.is_finite for part in parts):
        return unrefined
    total = sum(parts[1:], parts[0])
    precision = precisions(total, rows.groups(), precision)
    found = [total, *([total.without(part) for part in parts] if len(parts) > 1 else [])]
    refined, *others = [rows.coefficients(one.solved(precision)[0]) for one in found]
    left_out = [fitted.regression.model(K) for K in others or [refined]]
    return fitted.with_coefficients(refined), left_out, precision


def _foretold(
    smoother: Smoother, left_out: Sequence[LiftedModel], R: Array, Q: Array, least: Array
) -> tuple[float, Array | None]:
    """How well left-out measurements are foretold, and by which filter.

    Args:
        smoother: With the states its data hold.
        left_out: Models that each left a fold out.
        R: Variances of the measurements, (p,).
        Q: Variances of steps, (p,).
        least: Least variance of a step, (p,).

    Returns:
        The surprise, and standard deviations of measurements and of steps, (2, p), or None if no
        filter foretells measurements better than the last measurement alone.
    """
    wrap, p = smoother.measured.present.wrap, smoother.p
    smoother.models_are(left_out)
    raw = []
    for run, Y in zip(smoother.runs, smoother.Y, strict=True):
        X, now = run.X.copy(), Y[smoother.memory :]
        there = ~np.isnan(now)
        X[:, :p][there] = now[there]
        raw.append(Run(X, run.U))
    seen = [Y[smoother.memory + 1 :] for Y in smoother.Y]
    foretold, best = _surprise(wrap(np.concatenate(seen) - smoother.advanced(raw)[:, :p])), None
    lines = smoother.linearized()
    for _ in range(ROUNDS[0]):
        found = smoother.passed(lines, R, Q)
        innovations = _surprise(np.concatenate([one.innovations[1:] for one in found]))
        if innovations < foretold:
            foretold, best = innovations, np.sqrt(np.stack([R, Q]))
        _, Q = smoother.likelier(found, R, Q, least=least, fixed=True)
    if best is None and smoother.measured.failing:  # a filter fills gaps and doubts glitches
        best = np.sqrt(np.stack([R, Q]))
    return foretold, best


def _best_plain(
    fits: Sequence[Fit], measured: Measured, given: Array | None
) -> tuple[Fit, float, Array | None]:
    """Which fit to data as they are foretells those left out best, how well, by which filter."""
    found: list[tuple[Fit, float, Array | None]] = []
    for one in fits:
        if any(one is other for other, _, _ in found):
            continue
        left_out, smoother = _left_out(one), Smoother(one.model, measured)
        R, Q = smoother.first_guess(given)
        least = _least(smoother.p, {}) * R
        smoother.models_are(left_out)
        R, Q = smoother.smooth(R, Q, ROUNDS[0], least=least, fixed=given is not None)
        found.append((one, *_foretold(smoother, left_out, R, Q, least)))
    return min(found, key=lambda each: each[1])


def _surprise(E: Array) -> float:
    """Mean negative log-likelihood of innovations (T, p), but for constants; robust."""
    size = usual(E)
    squares = np.minimum((E / size) ** 2, CLIPPED**2)
    return float(np.sum(np.log(size) + 0.5 * np.log(np.nanmean(squares, axis=0))))


def _given(noise_std: ArrayLike, p: int) -> Array:
    """Expand a standard deviation to one for each present state, (p,)."""
    given = finite_array("noise_std", noise_std)
    if given.shape not in ((), (p,)) or not (given >= 0.0).all():
        raise ValueError(
            f"noise_std is {noise_std!r}; expected a standard deviation of at least 0, or one for "
            f"each of {p} states"
        )
    return np.asarray(np.broadcast_to(given, (p,)))
