"""How inputs act: after a delay, not at all in a dead zone, no more beyond a saturation."""

from __future__ import annotations

import warnings
from collections.abc import Sequence
from itertools import combinations

import numpy as np

from koopman_control.autopilot.findings import Finding, InputShape, together
from koopman_control.autopilot.smooth import Smooth, bent, dead_zone, present, without_input
from koopman_control.common import Array
from koopman_control.identification import estimate_input_delay
from koopman_control.trajectories import Trajectory

LATER = 0.7  # of the error without delay, that one with it must fall below
HELPS = 0.95  # of the error without an input, that its best delay must fall below to be told
LONGEST = 6


def find_delays(runs: Sequence[Trajectory], names: Sequence[str]) -> Finding[tuple[int, ...]]:
    """Estimate after how many steps each input acts."""
    m = runs[0].actions.shape[1]
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", UserWarning)
            estimate = estimate_input_delay(list(runs), LONGEST, memory=0)
    except ValueError:  # too few samples for it
        return Finding((0,) * m, {}, "too few samples to tell delays of inputs", False)
    delays, evidence, said, certain = [], {}, [], True
    for name, delay, errors in zip(names, estimate.delays, estimate.errors, strict=True):
        helps = bool(errors.min() < HELPS)
        late = delay > 0 and helps and errors[delay] < LATER * errors[0]
        delays.append(delay if late else 0)
        evidence[f"error without delay, {name}"] = float(errors[0])
        certain = certain and helps
        if late:
            evidence[f"error with {delay} steps, {name}"] = float(errors[delay])
            said.append(f"{name} acts {delay} steps late")
            certain = certain and bool(errors[delay] < 0.5 * errors[0])
        elif delay > 0 and errors[delay] < HELPS * errors[0]:
            certain = False
    words = "; ".join(said) or "inputs act at once" + ("" if certain else ", as far as can be told")
    return Finding(tuple(delays), evidence, words, certain)


ACTS = 1.15  # what dropping an input multiplies some left-out error by, if it acts
FEWEST = 300  # samples; fewer leave room for dead zones by chance
COARSE = 0.5  # error, in a step's change, of a model that tells nothing of how an input acts
BENT = 0.85  # of the error with straight lines; with less, an input does not act in a straight line
CLEARLY_BENT = 0.5
BETTER = 0.5  # of the squares that a cubic leaves; a dead zone must leave less
SEEN = 20.0  # times the scatter of one point; squares below it are chance
GRID = 24
NARROW = 0.05  # of an input's range; a narrower dead zone makes no difference


def find_input_shapes(model: Smooth, names: Sequence[str]) -> Finding[tuple[InputShape, ...]]:
    """Look for dead zones and saturation of inputs by how they act beside a straight line."""
    shapes, evidence, said, certain = [], {}, [], True
    idle = list[str]()
    rows = model.fit.rows
    straight = model.errors(present)
    for i, name in enumerate(names):
        values = model.samples.inputs[:, i]
        without = model.errors(without_input(i))
        free = model.errors(bent(i))
        effect = float((without / np.minimum(straight, free)).max(initial=1.0))
        evidence[f"error without it, {name}"] = effect
        if effect < ACTS:
            idle.append(name)
            certain = False
            shapes.append(InputShape())
            continue
        gain = float((free / straight).min(initial=1.0))
        evidence[f"error with a bent line, {name}"] = gain
        coarse = bool(free[free <= BENT * straight].min(initial=np.inf) > COARSE)
        if gain > BENT or coarse or model.fit.rows.sum() < FEWEST:
            shapes.append(InputShape())
            continue
        shape, share = min(
            (
                _shape(values[rows], _effect(model, i, int(k))[rows])
                for k in np.flatnonzero(free <= BENT * straight)
            ),
            key=lambda found: found[1],
        )
        shapes.append(shape)
        evidence[f"squares left beside a cubic, {name}"] = share
        if shape.dead is not None:
            said.append(f"{name} does nothing from {shape.dead[0]:.3g} to {shape.dead[1]:.3g}")
        if shape.saturated is not None:
            low, high = shape.saturated
            said.append(f"{name} does no more below {low:.3g} and above {high:.3g}")
        if shape == InputShape() and gain < CLEARLY_BENT:
            said.append(f"{name} does not act in a straight line")
        certain = certain and (share < 0.5 * BETTER or gain > CLEARLY_BENT)
    nothing = "no difference that can be seen"
    said.append(together((name, f"makes {nothing}", f"make {nothing}") for name in idle))
    words = "; ".join(each for each in said if each) or "inputs act in straight lines"
    return Finding(tuple(shapes), evidence, words, certain)


def _effect(model: Smooth, i: int, target: int) -> Array:
    """Return what an input alone adds to a target: the bent fit's part of it, with its residual."""
    keep = model.keep(bent(i))
    alone = np.isin(keep, model.keep(lambda r: r.inputs == {i} and not r.sees and not r.lag))
    K = model.fit.solution(keep)[:, target]
    others = model.fit.regressors[:, keep[~alone]] @ K[~alone]
    return np.asarray(model.fit.targets[:, target] - others)


def _shape(u: Array, effect: Array) -> tuple[InputShape, float]:
    """Fit a dead zone and a saturation to points of a curve; keep what a cubic cannot follow.

    Returns:
        The shape, and what it leaves of the squares that a cubic leaves beyond the scatter.
    """
    low, high = float(u.min()), float(u.max())
    grid = np.linspace(low, high, GRID + 1)
    pairs = [(a, b) for a, b in combinations(grid, 2) if (a, b) != (low, high)]
    scatter = _left(_broken_line(u, grid), effect)
    cubic = _left(np.vander(u / (max(abs(low), abs(high)) or 1.0), 4), effect) - scatter
    chance = SEEN * scatter / len(u)
    if cubic < chance:
        return InputShape(), 1.0
    # A dead zone lies about zero or the middle of the range, or reaches to one of its ends.
    wide = [
        (a, b)
        for a, b in pairs
        if b - a > NARROW * (high - low)
        and (a <= 0.0 <= b or a <= 0.5 * (low + high) <= b or a == low or b == high)
    ]
    left = [_left(dead_zone(u, *pair), effect) for pair in wide]
    dead = min(left)
    # The widest of those that are as good: without an effect below, the zone has no lower end.
    good = [pair for pair, squares in zip(wide, left, strict=True) if squares <= dead + chance]
    zone = _refined(u, effect, max(good, key=lambda pair: pair[1] - pair[0]), grid)
    clipped = [np.column_stack([np.ones_like(u), np.clip(u, *pair)]) for pair in pairs]
    ends, ends_at = min((_left(C, effect), pair) for C, pair in zip(clipped, pairs, strict=True))
    # A dead zone has more to adapt than a saturation, which is the simpler explanation.
    saturates = ends - scatter <= 1.1 * (dead - scatter) + chance
    share = max(0.0, (ends if saturates else dead) - scatter) / cubic
    if share > BETTER:
        return InputShape(), float(share)
    if saturates:
        return InputShape(saturated=(float(ends_at[0]), float(ends_at[1]))), float(share)
    return InputShape(dead=(float(zone[0]), float(zone[1]))), float(share)


def _refined(
    u: Array, effect: Array, zone: tuple[float, float], grid: Array
) -> tuple[float, float]:
    """Search the ends of a dead zone once more on a grid as fine as a few samples."""
    cell = float(grid[1] - grid[0])
    offsets = np.linspace(-1.5, 1.5, 25) * cell
    for side in (0, 1, 0, 1):
        if zone[side] == grid[-side]:
            continue  # it has no end on this side
        tried = [(zone[0] + d, zone[1]) if side == 0 else (zone[0], zone[1] + d) for d in offsets]
        zone = min(tried, key=lambda pair: _left(dead_zone(u, *pair), effect))
    return zone


def _broken_line(u: Array, grid: Array) -> Array:
    """Return columns that are a line of its own between any two neighbours of a grid."""
    cell = np.clip(np.searchsorted(grid, u, side="right") - 1, 0, len(grid) - 2)
    inside = cell[:, None] == np.arange(len(grid) - 1)
    return np.hstack([inside, np.where(inside, (u - grid[cell])[:, None], 0.0)])


def _left(columns: Array, values: Array) -> float:
    """Return the squares that least squares on some columns leave."""
    K = np.linalg.lstsq(columns, values, rcond=None)[0]
    return float(np.sum((values - columns @ K) ** 2))
