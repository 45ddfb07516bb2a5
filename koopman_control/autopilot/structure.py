"""What can be read off the observations alone: angles, goals, switches, speeds and limits."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import combinations

import numpy as np

from koopman_control.autopilot.findings import Finding, Rate, listed, together
from koopman_control.autopilot.samples import Samples
from koopman_control.common import Array
from koopman_control.features import Angle

ON_CIRCLE = 0.01  # how far off the circle two columns may be, in their own spread
SURELY_ON_CIRCLE = 1e-4
LONG_WAY = 0.9  # of a turn; a column that wraps has been all around
RARELY = 0.05  # of the steps in which a set-point may change
PROPORTIONAL, EXACTLY = 0.85, 0.999  # share of a position's increments that a speed explains
PILED_UP = 0.005  # share of the samples at one extreme value
PILED_UP_SURELY = 0.02
CENTRAL = 0.85  # share of the samples that proportions are judged by; the rest may be impacts


def find_angles(samples: Samples, names: Sequence[str]) -> Finding[tuple[Angle, ...]]:
    """Find pairs of columns with c^2 + s^2 = 1, and columns in radians that jump by a turn."""
    pairs = _pairs(samples)
    taken = {column for pair, _ in pairs for column in pair}
    wrapping = {
        column: jumps
        for column in range(len(names))
        if column not in taken and (jumps := _jumps(samples, column)) is not None
    }
    evidence = {f"off the circle, {names[i]} and {names[j]}": off for (i, j), off in pairs}
    evidence |= {f"jumps by a turn, {names[column]}": float(n) for column, n in wrapping.items()}
    said = [f"{names[i]} and {names[j]} are cosine and sine" for (i, j), _ in pairs]
    radians = "is an angle in radians that wraps", "are angles in radians that wrap"
    if wrapping:
        said.append(together((names[column], *radians) for column in wrapping))
    certain = all(off < SURELY_ON_CIRCLE for _, off in pairs) and all(
        n > 1 for n in wrapping.values()
    )
    found: tuple[Angle, ...] = (*(pair for pair, _ in pairs), *wrapping)
    return Finding(found, evidence, "; ".join(said) or "no column is an angle", certain)


def _pairs(samples: Samples) -> list[tuple[tuple[int, int], float]]:
    """Return pairs of columns on the unit circle and how far they are off, the surest first."""
    squares = samples.before**2
    moving = np.flatnonzero(
        samples.changed.any(axis=0) & (np.abs(samples.before) < 1.5).all(axis=0)
    )
    found = []
    for i, j in combinations(moving.tolist(), 2):
        radius = squares[:, i] + squares[:, j]
        size = min(squares[:, i].std(), squares[:, j].std())
        off = float(np.sqrt(np.mean((radius - 1.0) ** 2)) / size) if size > 0.0 else np.inf
        if off < ON_CIRCLE:
            found.append(((i, j), off))
    chosen: list[tuple[tuple[int, int], float]] = []
    for pair, off in sorted(found, key=lambda item: item[1]):
        if not any(set(pair) & set(other) for other, _ in chosen):
            chosen.append((pair, off))
    return sorted(chosen)


def _jumps(samples: Samples, column: int) -> int | None:
    """Count the jumps by a whole turn of a column in radians; None: it does not wrap."""
    values = np.append(samples.before[:, column], samples.after[:, column])
    turn, span = 2.0 * np.pi, float(np.ptp(values))
    added = samples.increments(column)
    far = np.abs(added) > 0.5 * turn
    if not far.any():
        return None
    rest = np.abs(added[far]) - turn
    usual = np.abs(added[~far]).max(initial=0.0)
    one_turn = LONG_WAY * turn < span <= 1.001 * turn and np.abs(rest).max() <= 1.5 * usual
    return int(far.sum()) if one_turn else None


def find_context(
    samples: Samples, names: Sequence[str]
) -> tuple[Finding[tuple[int, ...]], Finding[tuple[int, ...]]]:
    """Find columns that stay as they are within an episode, and those that are switches."""
    n_episodes = int(samples.episode[-1]) + 1
    changing = samples.changed.mean(axis=0)
    values = [np.unique(column).size for column in np.vstack([samples.before, samples.after]).T]
    rare = [
        i
        for i in np.flatnonzero(changing < RARELY)
        if changing[i] == 0.0 or values[i] > 2
        if changing[i] == 0.0 or values[i] < 0.05 * len(samples) + n_episodes + 1
    ]
    held = tuple(int(i) for i in rare)
    said = []
    for i in held:
        if changing[i] > 0.0:
            one = "changes in few steps only, as a set-point does"
            said.append((names[i], one, "change in few steps only, as set-points do"))
        elif values[i] == 1:
            said.append((names[i], "never changes at all", "never change at all"))
        else:
            one = "is fixed in an episode, as a goal or a parameter is"
            said.append((names[i], one, "are fixed in an episode, as goals or parameters are"))
    evidence = {f"share of steps that change it, {names[i]}": float(changing[i]) for i in held}
    certain = not held or (n_episodes > 2 and not changing[list(held)].any())
    context = Finding(held, evidence, together(said) or "all columns move", certain)
    two = tuple(i for i in range(len(names)) if values[i] == 2 and i not in held)
    shares = {f"share of changes, {names[i]}": float(changing[i]) for i in two}
    told = together((names[i], "takes two values only", "take two values only") for i in two)
    return context, Finding(two, shares, told or "no column is a switch")


def find_limits(
    samples: Samples, names: Sequence[str], bounds: Array, skipped: Sequence[int]
) -> Finding[Array]:
    """Find limits: those that the space tells and the data keep, and values that data pile up at.

    Args:
        samples: The data.
        names: Names of the columns.
        bounds: What the observation space tells, ±inf where nothing, shape (2, p).
        skipped: Columns of which none is wanted: goals, switches, cosines and sines.
    """
    limits, evidence, certain = bounds.copy(), {}, True
    said, stops = [], []
    for i, name in enumerate(names):
        if i in skipped:
            continue
        reached = []
        values = samples.after[:, i]
        for side, extreme in enumerate((float(values.min()), float(values.max()))):
            margin = 1e-6 * max(samples.spread[i], abs(extreme))
            crossed = (
                (extreme < bounds[0, i] - margin)
                if side == 0
                else (extreme > bounds[1, i] + margin)
            )
            if crossed:
                said.append(f"{name} passes the limit {bounds[side, i]:.4g} that its space tells")
                evidence[f"extreme, {name}"] = extreme
                limits[side, i], certain = (-np.inf, np.inf)[side], False
            at = float((np.abs(values - extreme) <= STUCK * samples.spread[i]).mean())
            if at < max(PILED_UP, 3.0 / len(samples)):
                continue
            reached.append(f"{extreme:.4g}")
            evidence[f"share of samples there, {name} = {extreme:.4g}"] = at
            known = abs(extreme - bounds[side, i]) <= 10.0 * margin
            certain = certain and (known or at > PILED_UP_SURELY)
            limits[side, i] = bounds[side, i] if known else extreme
        if reached:
            where = " and ".join(reached)
            stops.append((name, f"stops at {where}", f"stop at {where}"))
    told = np.flatnonzero(np.isfinite(bounds).any(axis=0)).tolist()
    bounded = [names[i] for i in told if i not in skipped]
    known = f"the space tells limits of {listed(bounded)}" if bounded else ""
    every = [*said, together(stops), known]
    words = "; ".join(each for each in every if each) or "no limits are known"
    limits.setflags(write=False)
    return Finding(limits, evidence, words, certain)


STUCK = 1e-7  # of a column's spread; samples this near an extreme are at it


def find_rates(
    samples: Samples, names: Sequence[str], angles: Sequence[Angle], skipped: Sequence[int]
) -> tuple[Finding[tuple[Rate, ...]], tuple[Angle, ...]]:
    """Find which column is the speed of which; it also tells which of a pair is the cosine.

    Args:
        samples: The data.
        names: Names of the columns.
        angles: The angles, pairs in any order.
        skipped: Columns that are neither: goals and switches.

    Returns:
        The finding, and the angles with their pairs in order.
    """
    inside = {column for angle in angles if isinstance(angle, tuple) for column in angle}
    plain = [i for i in range(len(names)) if i not in inside and i not in skipped]
    rates, evidence, ordered = list[Rate](), dict[Rate, float](), list[Angle]()
    for angle in angles:
        ordered.append(angle)
        if isinstance(angle, tuple):
            rate, share = _rate(samples, angle, plain)
            if rate is not None and rate.per_step < 0.0:  # then sine and cosine are the other way
                ordered[-1] = (angle[1], angle[0])
                rate = Rate(ordered[-1], rate.speed, -rate.per_step)
            if rate is not None:
                rates.append(rate)
                evidence[rate] = share
    for column in plain:
        rate, share = _rate(samples, column, plain, column in angles)
        if rate is not None:
            rates.append(rate)
            evidence[rate] = share
    certain = all(share >= EXACTLY for share in evidence.values())
    shown = {
        f"share unexplained, {names[rate.speed]} of {_position_of(rate, names)}": 1.0 - share
        for rate, share in evidence.items()
    }
    return Finding(tuple(rates), shown, _speeds(rates, names), certain), tuple(ordered)


def _position_of(rate: Rate, names: Sequence[str]) -> str:
    columns = rate.position if isinstance(rate.position, tuple) else (rate.position,)
    return "/".join(names[i] for i in columns)


def _speeds(rates: Sequence[Rate], names: Sequence[str]) -> str:
    """Say which columns are speeds, each once."""
    positions: dict[int, list[str]] = {}
    for rate in rates:
        positions.setdefault(rate.speed, []).append(_position_of(rate, names))
    said = [
        f"{names[speed]} {'of' if i else 'is the speed of'} {listed(of)}"
        for i, (speed, of) in enumerate(positions.items())
    ]
    return "; ".join(said) or "no column is a speed of another"


def _rate(
    samples: Samples, position: Angle, speeds: Sequence[int], wraps: bool = False
) -> tuple[Rate | None, float]:
    """Find the column that a position's increments are proportional to, and how exactly."""
    added = samples.increments(position, wraps)
    best: tuple[float, Rate | None] = (PROPORTIONAL, None)
    moves = np.quantile(np.abs(added), CENTRAL)
    if moves == 0.0:
        return None, 0.0
    for column in speeds:
        if column == position:
            continue
        old, new = samples.before[:, column], samples.after[:, column]
        if abs(_correlation(added, new)) < 0.5:
            continue
        for speed in (0.5 * (old + new), new, old):
            fast = np.abs(speed) > 0.3 * np.sqrt(np.mean(speed**2))
            per_step = float(np.median(added[fast] / speed[fast]))
            rest = np.quantile(np.abs(added - per_step * speed), CENTRAL)
            share = float(1.0 - (rest / moves) ** 2)
            if share > best[0] + 1e-9 and per_step != 0.0:
                best = (share, Rate(position, column, per_step))
    return best[1], best[0]


def _correlation(a: Array, b: Array) -> float:
    a, b = a - a.mean(), b - b.mean()
    size = float(np.sqrt((a @ a) * (b @ b)))
    return float(a @ b) / size if size > 0.0 else 0.0
