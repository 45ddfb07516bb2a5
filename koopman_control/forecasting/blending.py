"""Many regressions averaged by their merit.

Linear trunks (`trunk.py`) and sampled features on the state of all columns (`states.py`) are fitted
to the past and judged on what follows, several times. For each output and each range of leads, the
average (weights of at least zero that sum to 1) with the smallest error there is kept: stacking
(Breiman 1996).
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import pairwise

import numpy as np
from numpy.typing import NDArray
from scipy.optimize import nnls

from koopman_control.common.arrays import Array
from koopman_control.features import SampledFeatures, spread
from koopman_control.forecasting import states, trunk
from koopman_control.forecasting.series import Series
from koopman_control.forecasting.states import StateMap
from koopman_control.forecasting.trunk import Trunk
from koopman_control.identification.least_squares import (
    ROWS_PER_COLUMN,
    Accumulator,
    RFactor,
    triangular,
    whitening,
)

GOLDEN = 0.5 * (5.0**0.5 - 1.0)  # its multiples spread origins without a rhythm
STEEPNESS = 0.5  # of the features
THINNEST = 3  # rows between the windows of states; nearer ones tell nearly the same
N_WINDOWS = 200  # per fold that are judged
N_GROUPS, PER_GROUP = 6, 8  # ranges of leads, and leads of each that are judged
EVEN = 1e-3  # of the least squared error, the price of uneven weights
SAME = 1e-6  # relative difference of squared errors that counts for nothing
NEGLIGIBLE = 0.01  # weight below which a regression is left out

Origins = NDArray[np.int_]


@dataclass(frozen=True)
class Scales:
    """From the user's units to standardised outputs without the inputs' immediate effect."""

    center: Array
    scale: Array
    input_center: Array
    input_scale: Array
    effect: Array

    @classmethod
    def of(cls, data: Sequence[Series]) -> Scales:
        """Measure scales, and what inputs add at once, on series."""
        Y, U = (np.concatenate(part) for part in zip(*((s.Y, s.U) for s in data), strict=True))
        center, scale = Y.mean(axis=0), spread(Y)
        input_center, input_scale = U.mean(axis=0), spread(U)
        plain = cls(center, scale, input_center, input_scale, np.zeros((U.shape[1], Y.shape[1])))
        if not U.shape[1]:
            return plain
        pairs = [(plain.outputs(s.Y)[1:], plain.inputs(s.U)) for s in data]
        return cls(center, scale, input_center, input_scale, _effect(pairs))

    def outputs(self, Y: Array) -> Array:
        """Standardise outputs (..., p)."""
        return (Y - self.center) / self.scale

    def inputs(self, U: Array) -> Array:
        """Standardise inputs (..., m)."""
        return (U - self.input_center) / self.input_scale


def _effect(pairs: Sequence[tuple[Array, Array]]) -> Array:
    """Regress outputs on inputs with errors of first order (Cochrane & Orcutt), shape (m, p)."""
    m, p = pairs[0][1].shape[1], pairs[0][0].shape[1]
    effect = np.zeros((m, p))
    for j in range(p):
        memory = 0.0
        for _ in range(5):
            left = np.concatenate([Y[1:, j] - memory * Y[:-1, j] for Y, _ in pairs])
            right = np.concatenate([U[1:] - memory * U[:-1] for _, U in pairs])
            right = np.column_stack([right, np.ones(len(right))])
            effect[:, j] = RFactor.of(right, left[:, None]).solver().solve(1e-9)[:m, 0]
            rests = [Y[:, j] - U @ effect[:, j] for Y, U in pairs]
            now = sum(float(rest[1:] @ rest[:-1]) for rest in rests)
            memory = float(np.clip(now / sum(float(r @ r) for r in rests), 0.0, 1.0))
    return effect


@dataclass(frozen=True)
class Rows:
    """One standardised series: Y (T, p), Y less the inputs' effect, U (T - 1, m)."""

    Y: Array
    rest: Array
    U: Array

    @classmethod
    def of(cls, series: Series, scales: Scales) -> Rows:
        """Standardise a series."""
        Y, U = scales.outputs(series.Y), scales.inputs(series.U)
        caused = np.vstack([np.zeros(Y.shape[1]), U @ scales.effect])
        return cls(Y, Y - caused, U)


@dataclass(frozen=True)
class Blend:
    """The average of regressions, at all leads.

    Args:
        coefficients: Of the trunks together, shape (p, L, H).
        maps: States and features.
        gains: Their coefficients, (k, H p) each.
        shares: Weights of their naive forecasts, (H, p) each.
    """

    coefficients: Array
    maps: tuple[StateMap, ...]
    gains: tuple[Array, ...]
    shares: tuple[Array, ...]

    def forecast(self, past: Array, rest: Array, known: Array, caused: Array) -> Array:
        """Predict standardised outputs (S, H, p).

        Args:
            past: Windows (S, p, L), newest first.
            rest: The same less the inputs' effect.
            known: Inputs ahead, shape (S, H, m).
            caused: Their immediate effect, shape (S, H, p).
        """
        p, _, H = self.coefficients.shape
        linear = np.stack([rest[:, j] @ self.coefficients[j] for j in range(p)], axis=2)
        shares = 1.0 - sum(self.shares) if self.shares else 1.0
        total: Array = linear + shares * caused
        leads = np.arange(1, H + 1)
        for one, gain, share in zip(self.maps, self.gains, self.shares, strict=True):
            deviations = (one.regressors(past, known) @ gain).reshape(total.shape)
            total += deviations + share * one.naive(past, leads)
        return total


@dataclass(frozen=True)
class Candidate:
    """A regression at one strength."""

    what: Trunk | int  # a trunk, or the number of a state map
    strength: float


class Folds:
    """Sums over the parts of the data, and the regressions solved from them.

    Args:
        rows: Standardised series.
        scales: Their scales.
        horizon: Steps ahead H.
        lookbacks: Look-backs of the trunks, longest first.
        periods: Rows of seasons.
        n_features: Numbers of sampled features on the state of all columns.
        n_folds: Parts that are judged.
        n_draws: Draws of the features.
        seed: Of the first draw.
    """

    def __init__(
        self,
        rows: Sequence[Rows],
        scales: Scales,
        horizon: int,
        lookbacks: Sequence[int],
        periods: Sequence[int],
        n_features: Sequence[int],
        n_folds: int,
        n_draws: int,
        seed: int,
    ) -> None:
        self.rows, self.scales, self.horizon, self.length = rows, scales, horizon, lookbacks[0]
        self.p = rows[0].Y.shape[1]
        self.trunks = trunk.trunks(lookbacks, periods, self.p)
        self._parts = self._cut(n_folds)
        every = [np.concatenate(pieces) for pieces in zip(*self._parts, strict=True)]
        self.maps = self._placed(periods, n_features, every, range(seed, seed + n_draws))
        self._sums = self._accumulated(every)

    def _cut(self, n_folds: int) -> list[list[Origins]]:
        """Return origins by part and series: of windows that end before a fold's first origin."""
        parts: list[list[Origins]] = [[] for _ in range(n_folds + 1)]
        self.judged: list[list[Origins]] = [[] for _ in range(n_folds)]
        for one in self.rows:
            first, last = self.length - 1, len(one.Y) - self.horizon
            edges = np.linspace(max(first, len(one.Y) // 2), last, n_folds + 1).astype(int)
            ends = [first, *np.maximum(first, edges[:-1] - self.horizon).tolist(), last]
            for part, (a, b) in zip(parts, pairwise(ends), strict=True):
                part.append(np.arange(a, b))
            for judged, (a, b) in zip(self.judged, pairwise(edges.tolist()), strict=True):
                n = min(max(0, b - a), max(1, N_WINDOWS // len(self.rows)))
                judged.append(np.unique(a + ((b - a) * (np.arange(n) * GOLDEN % 1.0)).astype(int)))
        return parts

    def _placed(
        self,
        periods: Sequence[int],
        n_features: Sequence[int],
        every: Sequence[Origins],
        seeds: Sequence[int],
    ) -> list[StateMap]:
        parts = [(r.Y, r.U, o) for r, o in zip(self.rows, every, strict=True)]
        long = max((k for k in periods if k <= self.length), default=1)
        choices = [(1, 0)]
        if long > 1:
            choices.append((long * min(7, self.length // long), long))
        maps = []
        for level, period in choices:
            kind = Trunk(False, self.length, level, period)
            for n in n_features:
                drawn = [SampledFeatures(n, steepness=STEEPNESS, random_state=k) for k in seeds]
                for features in drawn if n else [None]:
                    maps.append(StateMap.placed(kind, parts, self.horizon, features))
        return maps

    def _accumulated(self, every: Sequence[Origins]) -> list[list[Accumulator]]:
        """Return the sums by what is regressed (columns' windows, then maps) and by part."""
        L, H = self.length, self.horizon
        found = []
        for j in range(self.p):
            few = self._few(every, L)
            rows = [r.rest[:, [j]] for r in self.rows]
            sample = [
                trunk.windows(Y, o, L)[:, 0] for Y, o in zip(rows, few, strict=True) if len(o)
            ]
            basis = _basis(sample, every)
            found.append(
                [
                    trunk.window_sums(list(zip(rows, part, strict=True)), L, H, basis)
                    for part in self._parts
                ]
            )
        for one in self.maps:
            few = self._few(every, one.n_regressors)
            sample = [
                one.regressors(
                    trunk.windows(r.Y, o, L),
                    trunk.ahead(r.U, o - 1, np.arange(1, H + 1)) if r.U.shape[1] else None,
                )
                for r, o in zip(self.rows, few, strict=True)
                if len(o)
            ]
            thin = min(
                THINNEST, max(1, sum(map(len, every)) // (ROWS_PER_COLUMN * one.n_regressors))
            )
            basis = _basis(sample, every)
            found.append(
                [
                    one.sums(
                        [(r.Y, r.U, o[::thin]) for r, o in zip(self.rows, part, strict=True)], basis
                    )
                    for part in self._parts
                ]
            )
        return found

    def _few(self, every: Sequence[Origins], k: int) -> list[Origins]:
        thin = max(1, sum(map(len, every)) // (ROWS_PER_COLUMN * k))
        return [origins[::thin] for origins in every]

    def described(self, candidate: Candidate) -> str:
        """Say what a candidate is."""
        what = candidate.what
        kind = self.maps[what].trunk if isinstance(what, int) else what
        level = "last value" if kind.level == 1 else f"mean of {kind.level}"
        rows = f"{kind.lookback} rows less the {level}"
        season = f", seasons of {kind.period}" if kind.period else ""
        if isinstance(what, int):
            features = self.maps[what].features
            n = 0 if features is None else features._n_features_out
            return f"state of all columns with {n} features: {rows}{season}"
        return f"{'shared' if kind.shared else 'own'} coefficients: {rows}{season}"

    def factors(self, n_parts: int) -> tuple[list[RFactor], list[RFactor]]:
        """Return the factors of the first parts together: of columns, and of state maps."""
        merged = [Accumulator.merged(sums[:n_parts]) for sums in self._sums]
        return merged[: self.p], merged[self.p :]

    def windows(self, i: int) -> tuple[Array, Array, Array, Array, Array]:
        """Return what is judged in fold i: arguments of `Blend.forecast`, and the truth."""
        found = []
        leads = np.arange(1, self.horizon + 1)
        for r, origins in zip(self.rows, self.judged[i], strict=True):
            if not len(origins):
                continue
            known = trunk.ahead(r.U, origins - 1, leads)
            found.append(
                (
                    trunk.windows(r.Y, origins, self.length),
                    trunk.windows(r.rest, origins, self.length),
                    known,
                    known @ self.scales.effect,
                    trunk.ahead(r.Y, origins, leads),
                )
            )
        past, rest, known, caused, truth = (np.concatenate(p) for p in zip(*found, strict=True))
        return past, rest, known, caused, truth

    def tried(self, i: int, leads: Origins) -> Iterator[tuple[Candidate, Array]]:
        """Yield regressions on the parts before fold i, with their errors (S, n leads, p) in it."""
        columns, maps = self.factors(i + 1)
        past, rest, known, caused, truth = self.windows(i)
        y = truth[:, leads - 1]
        goal = y - caused[:, leads - 1]
        whole = RFactor.merged(columns) if self.p > 1 else columns[0]
        for kind in self.trunks:
            X = rest[..., : kind.length]
            solved = [kind.solved(f, leads) for f in ([whole] if kind.shared else columns)]
            for strength in trunk.STRENGTHS:
                K = [one.at(strength) for one in solved]
                errors = np.stack(
                    [X[:, j] @ K[0 if kind.shared else j] - goal[..., j] for j in range(self.p)], 2
                )
                yield Candidate(kind, strength), errors
        for n, (one, factor) in enumerate(zip(self.maps, maps, strict=True)):
            solver = states.at_leads(factor, leads, self.p).solver()
            for strength in states.STRENGTHS:
                forecast = one.forecast(solver.solve(strength), past, known, leads)
                yield Candidate(n, strength), forecast - y

    def blended(self, weights: dict[Candidate, Array], n_parts: int) -> Blend:
        """Solve the regressions of some weight, (H, p) each, from the first parts."""
        columns, maps = self.factors(n_parts)
        leads, H = np.arange(1, self.horizon + 1), self.horizon
        total = np.zeros((self.p, self.length, H))
        whole: RFactor | None = None
        kinds: dict[Trunk | int, list[Candidate]] = {}
        for candidate in weights:
            kinds.setdefault(candidate.what, []).append(candidate)
        chosen: dict[int, tuple[Array, Array]] = {}
        for what, candidates in kinds.items():
            if isinstance(what, int):
                solver = maps[what].solver()
                gain = sum(solver.solve(c.strength) * weights[c].reshape(1, -1) for c in candidates)
                chosen[what] = np.asarray(gain), np.asarray(sum(weights[c] for c in candidates))
                continue
            if what.shared and whole is None:
                whole = RFactor.merged(columns)
            for j in range(self.p):
                if j == 0 or not what.shared:
                    solved = what.solved(whole if what.shared and whole else columns[j], leads)
                    K = [solved.at(c.strength) for c in candidates]
                for c, k in zip(candidates, K, strict=True):
                    total[j, : what.length] += k * weights[c][:, j]
        return Blend(
            total,
            tuple(self.maps[n] for n in chosen),
            tuple(gain for gain, _ in chosen.values()),
            tuple(share for _, share in chosen.values()),
        )


def _basis(sample: Sequence[Array], every: Sequence[Origins]) -> Array | None:
    """Whiten by a sample of regressors; few rows need no whitening at all."""
    rows = np.concatenate(sample)
    if sum(map(len, every)) < 2 * ROWS_PER_COLUMN * rows.shape[1]:
        return None
    return whitening(RFactor.of(rows, rows[:, :0]))


def groups_of(horizon: int) -> list[tuple[int, int]]:
    """Cut leads 1 ... H into ranges that grow."""
    edges = np.unique(np.round(horizon ** np.linspace(0.0, 1.0, N_GROUPS + 1)).astype(int))
    return list(pairwise([0, *edges[1:].tolist()])) if len(edges) > 1 else [(0, horizon)]


def averaged(errors: Array) -> Array:
    """Return weights of at least zero with sum 1 whose average error is least, shape (n,).

    With |E w|^2 + (sum of w - 1)^2 the best direction is the same whatever the sum is. Between
    candidates that are all but alike, `EVEN` |w|^2 decides.

    Args:
        errors: Shape (rows, n).
    """
    R = triangular(errors)
    n = R.shape[1]
    size = float(np.sqrt((R**2).sum(axis=0).min())) or 1.0
    left = np.vstack([R / size, np.sqrt(EVEN) * np.eye(n), np.ones((1, n))])
    right = np.zeros(len(left))
    right[-1] = 1.0
    found, _ = nnls(left, right, maxiter=50 * n)
    found[found < NEGLIGIBLE * found.sum()] = 0.0
    return np.asarray(found / found.sum())


@dataclass(frozen=True)
class Weighed:
    """What the judged windows tell.

    Args:
        weights: Of the candidates that are used, shape (H, p) each.
        leads: Steps ahead that were judged.
        errors: Of the average there, forecast less truth, shape (W, n leads, p); in each fold with
            the weights that are best in the others, so that they say what is missed elsewhere.
        squares: Mean squared errors of every candidate by range of leads, (n groups, p) each.
    """

    weights: dict[Candidate, Array]
    leads: Origins
    errors: Array
    squares: dict[Candidate, Array]

    @classmethod
    def of(cls, folds: Folds) -> Weighed:
        """Average candidates for each range of leads and each output."""
        H, p = folds.horizon, folds.p
        groups = groups_of(H)
        inside = [np.unique(np.linspace(a + 1, b, PER_GROUP).astype(int)) for a, b in groups]
        leads = np.concatenate(inside)
        edges = list(pairwise(np.cumsum([0, *map(len, inside)]).tolist()))
        E = _stacked(folds, leads)
        squares = {
            c: np.array([(e[:, a:b] ** 2).mean(axis=(0, 1)) for a, b in edges])
            for c, e in E.items()
        }
        used = _best_strengths(squares)
        weights = {c: np.zeros((H, p)) for c in used}
        errors = np.zeros(E[used[0]].shape)
        sizes = [sum(map(len, judged)) for judged in folds.judged]
        parts = [slice(a, b) for a, b in pairwise(np.cumsum([0, *sizes]).tolist()) if b > a]
        for (a, b), (start, stop) in zip(edges, groups, strict=True):
            for j in range(p):
                rows = np.stack([E[c][:, a:b, j] for c in used], axis=2)
                w, errors[:, a:b, j] = weighed_parts(rows, parts)
                for c, share in zip(used, w.tolist(), strict=True):
                    weights[c][start:stop, j] = share
        return cls({c: w for c, w in weights.items() if w.any()}, leads, errors, squares)


def weighed_parts(rows: Array, parts: Sequence[slice]) -> tuple[Array, Array]:
    """Return weights for all windows, (n,), and errors where those of the other parts are used.

    Args:
        rows: Errors of n candidates, shape (W, n leads, n).
        parts: Windows of each part; a single one is weighed by itself.
    """
    n = rows.shape[2]
    factors = [triangular(rows[part].reshape(-1, n)) for part in parts]
    weights, errors = averaged(np.vstack(factors)), np.empty(rows.shape[:2])
    for i, part in enumerate(parts):
        others = factors[:i] + factors[i + 1 :]
        errors[part] = rows[part] @ (averaged(np.vstack(others)) if others else weights)
    return weights, errors


def _stacked(folds: Folds, leads: Origins) -> dict[Candidate, Array]:
    """Return every candidate's errors on the windows of all folds, (W, n leads, p)."""
    parts: dict[Candidate, list[Array]] = {}
    for i in range(len(folds.judged)):
        for candidate, errors in folds.tried(i, leads):
            parts.setdefault(candidate, []).append(errors)
    return {candidate: np.concatenate(errors) for candidate, errors in parts.items()}


def _best_strengths(squares: dict[Candidate, Array]) -> list[Candidate]:
    """Return, of every regression, the strengths that are best for some output somewhere."""
    by_kind: dict[Trunk | int, list[Candidate]] = {}
    for candidate in squares:
        by_kind.setdefault(candidate.what, []).append(candidate)
    used = []
    for alike in by_kind.values():  # in order of strength; of equals the strongest
        scores = np.stack([squares[c] for c in alike])
        good = scores <= (1.0 + SAME) * scores.min(axis=0)
        best = len(alike) - 1 - good[::-1].argmax(axis=0)
        used += [alike[i] for i in np.unique(best)]
    return used
