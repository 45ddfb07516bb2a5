"""Least trimmed squares: contacts and stops are left out of a smooth fit, and so found.

A smooth model cannot follow a plant that runs against a stop, and least squares spreads that error
over everything. So fit, keep the share of the samples with the smallest one-step residual, fit
those, and so on (concentration steps of least trimmed squares; Rousseeuw & Van Driessen, Computing
LTS Regression for Large Data Sets, 2006). What is left out in the end is where the plant is not
smooth: a contact detector.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from itertools import pairwise
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from koopman_control.common.arrays import Array
from koopman_control.features import spread
from koopman_control.identification.errors import scaled_errors, state_scale, windows_of
from koopman_control.identification.model import LiftedModel
from koopman_control.trajectories import Trajectory, total_steps

FitTo = Callable[[Sequence[Trajectory]], LiftedModel]
Mask = NDArray[np.bool_]

TURNS, PASSES = 2, 4
SHORTEST = 3  # steps of a piece that is worth keeping
SHARES = (0.95, 0.85)  # that "auto" compares with keeping everything
WORTH = 0.85  # what the typical left-out error has to fall to, for a smaller share to be kept
JUDGED = 10  # steps ahead
WINDOWS = 200
FEWEST = 50  # samples below which there is nothing to trim


@dataclass(frozen=True, eq=False)
class Trimmed:
    """Data without the samples that a smooth model cannot follow.

    Args:
        pieces: What was kept, cut at what was not.
        kept: Which steps of each trajectory were kept, each shape (T,).
        share: Share of the samples that each fit was to keep; 1 where nothing was trimmed.
        errors: Typical left-out error by share, where they were compared.
    """

    pieces: list[Trajectory]
    kept: list[Mask]
    share: float
    errors: dict[float, float]

    @property
    def n_trimmed(self) -> int:
        """Number of steps left out."""
        return int(sum((~mask).sum() for mask in self.kept))


def check_share(trim: float | str | None) -> None:
    """Raise a ValueError if `trim` is no share, "auto" or None."""
    number = isinstance(trim, int | float) and 0.0 < trim <= 1.0
    if not number and trim not in ("auto", None):
        raise ValueError(f'trim is {trim!r}; expected a share such as 0.85, "auto" or None')


def trimmed(fit: FitTo, data: Sequence[Trajectory], trim: float | Literal["auto"]) -> Trimmed:
    """Leave out the samples that a fit cannot follow.

    Args:
        fit: Fits a model to trajectories; a ValueError of it ends the trimming.
        data: The trajectories.
        trim: Share of the samples to keep, above 0 and up to 1, or "auto": the one among 1, 0.95
            and 0.85 whose model, fitted to one half of the data, predicts typical windows of the
            other half best; nothing is trimmed that is not worth a seventh of the error.
    """
    whole = Trimmed(list(data), [np.ones(len(t), dtype=bool) for t in data], 1.0, {})
    if total_steps(data) < FEWEST:
        return whole
    errors: dict[float, float] = {}
    if trim == "auto":
        share, errors = _chosen(fit, data)
    else:
        share = float(trim)
    if share == 1.0:
        return replace(whole, errors=errors)
    try:
        kept = _concentrated(fit, data, share)[0]
    except ValueError:  # too few samples for the unknowns
        return replace(whole, errors=errors)
    return Trimmed(pieces_of(data, kept), kept, share, errors)


def one_step_residuals(model: LiftedModel, data: Sequence[Trajectory]) -> list[Array]:
    """Return the worst state's residual of each step, each shape (T,), in spreads of increments.

    Steps before the state's memory is full have the residual zero.
    """
    pairs = []
    for t in data:
        X = model.coordinates.along(t.observations, t.actions)
        U = t.actions[len(t.actions) - len(X) + 1 :]
        with np.errstate(all="ignore"):
            off = model.coordinates.wrapped_difference(X[1:], model.one_step.step(X[:-1], U))
        pairs.append((model.coordinates.wrapped_difference(X[1:], X[:-1]), off))
    n = model.coordinates.n_outputs
    scale = spread(np.concatenate([moved[:, :n] for moved, _ in pairs]))
    out = []
    for t, (_, off) in zip(data, pairs, strict=True):
        worst = np.abs(off[:, :n] / scale).max(axis=1, initial=0.0)
        worst[~np.isfinite(worst)] = np.inf
        out.append(np.concatenate([np.zeros(len(t) - len(worst)), worst]))
    return out


def _concentrated(
    fit: FitTo, data: Sequence[Trajectory], share: float
) -> tuple[list[Mask], LiftedModel]:
    """Fit and trim in turns; returns what is kept, and the model of that.

    Where that ends depends on the first fit, so fits to halves of the data begin, too; the one that
    explains its share best after two turns goes on.
    """
    states = []
    for start in (data, *halves(data)):
        try:
            model = fit(start)
            for _ in range(TURNS):
                kept, cost = _within(model, data, share)
                model = fit(pieces_of(data, kept))
        except ValueError:  # too few samples; those of all data are enough, or nothing is
            if start is data:
                raise
            continue
        kept, cost = _within(model, data, share)
        states.append((cost, kept, model))
    _, kept, model = min(states, key=lambda state: state[0])
    for _ in range(PASSES):
        model = fit(pieces_of(data, kept))
        before, (kept, _) = kept, _within(model, data, share)
        if all(np.array_equal(a, b) for a, b in zip(before, kept, strict=True)):
            break
    return kept, model


def _within(
    model: LiftedModel, data: Sequence[Trajectory], share: float
) -> tuple[list[Mask], float]:
    """Keep the share with the smallest residuals, and sum the squares of these."""
    residuals = one_step_residuals(model, data)
    everything = np.concatenate(residuals)
    edge = float(np.quantile(everything, share))
    cost = float((everything[everything <= edge] ** 2).sum())
    return [_without_scraps(r <= edge) for r in residuals], cost


def _chosen(fit: FitTo, data: Sequence[Trajectory]) -> tuple[float, dict[float, float]]:
    """Choose the share by the typical error of models on the half of the data they did not see."""
    parts = halves(data)
    errors: dict[float, float] = {}
    for share in (1.0, *SHARES):
        logs = []
        for seen, unseen in (parts, parts[::-1]):
            try:
                model = fit(seen) if share == 1.0 else _concentrated(fit, seen, share)[1]
            except ValueError:
                return 1.0, {}
            logs.append(typical_error(model, unseen))
        errors[share] = float(np.sqrt(np.prod(logs)))
    best = min(SHARES, key=errors.__getitem__)
    return (best if errors[best] < WORTH * errors[1.0] else 1.0), errors


def typical_error(model: LiftedModel, data: Sequence[Trajectory]) -> float:
    """Return the geometric mean of the errors of windows: the typical one, not the worst."""
    runs = model.signals.runs(data)
    windows = windows_of(runs, JUDGED, WINDOWS)
    scaled = scaled_errors(model, windows, state_scale(runs, model.coordinates), "relifted")
    with np.errstate(over="ignore"):
        mean = np.nanmean(np.minimum(scaled**2, 1.0), axis=(1, 2))
    return float(np.exp(np.mean(0.5 * np.log(np.maximum(mean, 1e-16)))))


def halves(data: Sequence[Trajectory]) -> tuple[list[Trajectory], list[Trajectory]]:
    """Deal the data, in stretches of a tenth, into two halves."""
    stretch = max(SHORTEST, total_steps(data) // 10)
    parts: tuple[list[Trajectory], list[Trajectory]] = ([], [])
    number = 0
    for t in data:
        cuts = np.linspace(0, len(t), max(1, round(len(t) / stretch)) + 1).astype(int).tolist()
        for a, b in pairwise(cuts):
            parts[number % 2].append(_piece(t, a, b))
            number += 1
    return parts if parts[1] else (parts[0], parts[0])


def _without_scraps(kept: Mask) -> Mask:
    """Drop runs of kept steps that are shorter than SHORTEST, but for trajectories as short."""
    if kept.all():
        return kept
    out = np.zeros_like(kept)
    for a, b in _stretches(kept):
        out[a:b] = True
    return out


def _stretches(kept: Mask) -> list[tuple[int, int]]:
    edges = np.flatnonzero(np.diff(np.concatenate([[0], kept.astype(np.int8), [0]])))
    ends: list[tuple[int, int]] = [(int(a), int(b)) for a, b in edges.reshape(-1, 2)]
    return [(a, b) for a, b in ends if b - a >= SHORTEST or b - a == len(kept)]


def pieces_of(data: Sequence[Trajectory], kept: Sequence[Mask]) -> list[Trajectory]:
    """Cut out the stretches of kept steps, masks (T,) by trajectory; scraps are left out."""
    return [
        _piece(t, a, b) for t, mask in zip(data, kept, strict=True) for a, b in _stretches(mask)
    ]


def _piece(t: Trajectory, start: int, stop: int) -> Trajectory:
    """Return steps start ... stop - 1 as a trajectory of its own."""
    if start == 0 and stop == len(t):
        return t
    return replace(
        t,
        observations=t.observations[start : stop + 1],
        actions=t.actions[start:stop],
        rewards=None if t.rewards is None else t.rewards[start:stop],
        terminated=t.terminated and stop == len(t),
        truncated=t.truncated or stop < len(t),
    )
