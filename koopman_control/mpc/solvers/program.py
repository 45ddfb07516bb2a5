"""The dense program that solvers are given, and its equilibration.

Equilibrated, its variables, rows and cost are near one, whatever their units: solvers have
absolute tolerances, so the same problem in micrometres and in metres is not the same to them.
Variables are measured by the Hessian (or, where it leaves them free, by the rows they are in and by
their boxes), rows by their norm, the cost by what it takes to get to the sides. All scales are
powers of two, so nothing is rounded.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from koopman_control.common.arrays import Array, power_near

NEAR_ONE = 64.0  # a program whose units are at most that, and at least its inverse, may stay
SHARE = 0.25  # of the sides that may be nearer than what counts as their distance
NEAREST = 1e-6  # of the median; sides nearer than that are no measure of the others
SPREAD = 1e-4  # of the farthest box; the others are nothing beside what it costs to cross that
WIDEST = 1e3  # boxes that a variable's unit may span
PASSES = 3  # through the rows, for variables that only other free ones tell the size of
FAR = 1e6  # times as far as cost and rows lead; sides beyond that are no measure of one program
FLAT = 1e-5  # of slopes; curvatures below that are none
BEYOND = 1e2  # times as far as boxes reach; sides of rows from there on are never met
NO_SIDE = 1e20  # sides from here on stand for none, as in most solvers


class DenseQP(NamedTuple):
    """min v'Hv/2 + f'v + penalties, lower <= [v; A v] <= upper; the first n sides bound v itself.

    Rows of A with finite weights are soft, as in `ParametricQP`.
    """

    H: Array
    f: Array
    A: Array
    lower: Array
    upper: Array
    linear_weight: Array
    quadratic_weight: Array

    @property
    def soft(self) -> NDArray[np.bool_]:
        """Which rows of A may be violated at a price, shape (r,)."""
        return np.isfinite(self.linear_weight)

    @property
    def cost_size(self) -> float:
        """Size of H's diagonal; of f where that is nothing beside it; of prices without both.

        Slopes that are large because the solution is far away are no measure: divided by them,
        little is left of the curvature.
        """
        diagonal = float(np.abs(np.diagonal(self.H)).mean())
        slope = float(np.abs(self.f).max(initial=0.0))
        own = diagonal if diagonal > FLAT * slope else slope
        return own or float(self.linear_weight[self.soft].max(initial=0.0)) or 1.0

    def divided(self, size: float) -> DenseQP:
        """Divide the cost by a positive number; the solution stays."""
        return self._replace(
            H=self.H / size,
            f=self.f / size,
            linear_weight=self.linear_weight / size,
            quadratic_weight=self.quadratic_weight / size,
        )

    def violation(self, v: Array) -> Array:
        """How far rows of A lie beyond their sides at v (n,), shape (r,)."""
        rows, n = self.A @ v, len(self.f)
        return np.maximum(0.0, np.maximum(rows - self.upper[n:], self.lower[n:] - rows))

    def needed_sides(self) -> tuple[Array, Array]:
        """Sides of variables and rows, (n + r,), without those of rows that boxes rule out by far.

        Far off, they change nothing but the program's looks, to which solvers are sensitive.
        """
        n = len(self.f)
        low, high = within(NO_SIDE, self.lower, self.upper)
        with np.errstate(invalid="ignore"):
            ends = self.A * low[:n], self.A * high[:n]  # NaN where there is no box, times zero
            most, least = (np.nansum(pick(*ends), axis=1) for pick in (np.fmax, np.fmin))
        far = BEYOND * np.maximum(most, -least)
        far = np.append(np.full(n, np.inf), np.where(far > 0.0, far, np.inf))
        return within(far, low, high)

    def cost(self, v: Array) -> float:
        """Cost at v (n,), penalties of soft rows included."""
        over = self.violation(v)[self.soft]
        penalty = self.linear_weight[self.soft] + 0.5 * self.quadratic_weight[self.soft] * over
        return float((0.5 * (self.H @ v) + self.f) @ v + penalty @ over)


class Scaling(NamedTuple):
    """Units of a program's variables (n,), rows (r,) and cost: v = variables * scaled v."""

    variables: Array
    rows: Array
    cost: float

    @classmethod
    def of(cls, qp: DenseQP, alone: bool = False, alike: Array | None = None) -> Scaling | None:
        """Measure a program; None where all of its units are near one, so that it may stay.

        Args:
            qp: The program.
            alone: Whether it stands for itself, not for others with other linear costs and sides:
                sides that are out of its own reach do not count then.
            alike: Numbers of groups of variables that are of one kind, shape (n,), such as an input
                at several steps; they keep one unit, since what tells them apart is no matter of
                units, and taking it away may leave little of small curvatures. None: all differ.
        """
        for sides in ("all", "near") if alone else ("all",):
            with np.errstate(all="ignore"):
                sizes, cost = _measured(qp, sides == "near", alike)
                variables = power_near(sizes)
                rows = power_near(np.sqrt(np.square(qp.A * variables).sum(axis=1)))
            scaling = cls(variables, rows, float(power_near(cost)))
            units = np.concatenate([scaling.sides, [np.sqrt(scaling.cost)]])
            if units.min() >= 1.0 / NEAR_ONE and units.max() <= NEAR_ONE:
                return None
        return scaling

    @property
    def sides(self) -> Array:
        """Units of the sides of variables and rows, shape (n + r,)."""
        return np.concatenate([self.variables, self.rows])

    @property
    def slope(self) -> Array:
        """Units of the linear cost, shape (n,)."""
        return np.asarray(self.cost / self.variables)

    def matrices(self, qp: DenseQP) -> DenseQP:
        """Scale what stays from step to step: H, A and the weights."""
        return qp._replace(
            H=qp.H * (self.variables[:, None] * (self.variables / self.cost)),
            A=qp.A * (self.variables / self.rows[:, None]),
            linear_weight=qp.linear_weight * (self.rows / self.cost),
            quadratic_weight=qp.quadratic_weight * (self.rows * (self.rows / self.cost)),
        )

    def vectors(self, qp: DenseQP, scaled: DenseQP) -> DenseQP:
        """Scale the others, beside matrices that are scaled already."""
        sides = self.sides
        return scaled._replace(f=qp.f / self.slope, lower=qp.lower / sides, upper=qp.upper / sides)

    def multipliers(self, scaled: Array) -> Array:
        """Multipliers (n + r,) of the program from those of the scaled one."""
        return np.asarray(scaled * (self.cost / self.sides))


def _measured(qp: DenseQP, near: bool, alike: Array | None) -> tuple[Array, float]:
    """Sizes of the variables, (n,), and of the cost, by all sides or those within reach."""
    n, A, curvature = len(qp.f), np.abs(qp.A), np.diagonal(qp.H)
    low, high = qp.needed_sides()
    units = np.where(curvature > 0.0, 1.0 / np.sqrt(curvature), 0.0)  # of the root of the cost
    for _ in range(PASSES):
        reach, free = np.sqrt(np.square(A * units).sum(axis=1)), np.flatnonzero(units == 0.0)
        if not len(free) or not reach.any():
            break
        share = A[:, free] / np.where(reach > 0.0, reach, np.inf)[:, None]
        most = share.max(axis=0, initial=0.0)
        units[free] = np.where(most > 0.0, 1.0 / most, 0.0)
    if alike is not None:
        for group in np.unique(alike):
            own = alike == group
            if (units[own] > 0.0).any():
                units[own] = np.median(units[own][units[own] > 0.0])
        reach = np.sqrt(np.square(A * units).sum(axis=1))
    if near:
        low, high = within(_reach(qp, units, reach), low, high)
    widths = _widths(low, high)
    crossed = widths[:n] / _or_infinite(units)  # roots of what it costs to cross the boxes
    distance = max(_distance(qp, units, reach, widths), SPREAD * float(crossed.max(initial=0.0)))
    sizes, cost = np.minimum(units * distance, WIDEST * _or_infinite(widths[:n])), distance**2
    alone = np.flatnonzero(sizes == 0.0)  # linked with nothing that costs by its square
    if not len(alone):
        return sizes, cost
    slopes, rows = np.abs(qp.f[alone]), np.vstack([np.eye(n)[:, alone], A[:, alone]])
    meant = np.where((rows > 0.0) & (widths[:, None] > 0.0), widths[:, None] / rows, np.nan)
    far = np.array([np.nan_to_num(np.nanmax(each, initial=0.0)) for each in meant.T])
    pull = float((slopes * far).max())
    if len(alone) == n:
        cost = pull or 1.0
    elif pull > cost:  # between what squares cost and what slopes do, so that neither is lost
        cost = float(np.sqrt(cost) * np.sqrt(pull))
    usual = np.nanmedian(np.vstack([meant, np.where(far > 0.0, np.nan, 1.0)]), axis=0)
    sizes[alone] = np.where(slopes > 0.0, cost / slopes, usual)
    return sizes, cost


def opened(sides: Array) -> Array:
    """Read numbers of 1e20 and beyond as infinity, of whatever sign."""
    far = np.abs(sides) >= NO_SIDE  # not for NaN
    return np.where(far, np.copysign(np.inf, sides), sides) if far.any() else sides


def within(far: Array | float, low: Array, high: Array) -> tuple[Array, Array]:
    """Sides without those that are far."""
    return np.where(low <= -far, -np.inf, low), np.where(high >= far, np.inf, high)


def _reach(qp: DenseQP, units: Array, reach: Array) -> Array:
    """From where on sides of variables and rows are far, (n + r,): beyond what the cost leads to.

    What rows ask for that zero does not give is not far. Variables without a unit go as far as the
    rows ask that they are in.
    """
    size, asked = np.append(units, reach), np.maximum(np.maximum(qp.lower, -qp.upper), 0.0)
    led = np.max(np.abs(qp.f) * units, initial=np.where(size > 0.0, asked / size, 0.0).max())
    others = np.flatnonzero(units == 0.0)
    rows = np.vstack([np.eye(len(units))[:, others], np.abs(qp.A[:, others])])
    own = rows @ np.where(rows > 0.0, asked[:, None] / rows, 0.0).max(axis=0)
    far = FAR * np.where(size > 0.0, led * size, own)
    return np.asarray(np.where(far > 0.0, far, np.inf))


def _widths(low: Array, high: Array) -> Array:
    """Half of what lies between two sides, or how far from zero the only one is; zero for none."""
    two = np.isfinite(low) & np.isfinite(high) & (low < high)
    far = np.maximum(*(np.where(np.isfinite(side), np.abs(side), 0.0) for side in (low, high)))
    return np.where(two, 0.5 * (high - low), far)


def _or_infinite(widths: Array) -> Array:
    return np.where(widths > 0.0, widths, np.inf)


def _distance(qp: DenseQP, units: Array, reach: Array, widths: Array) -> float:
    """Root of the cost that it takes to get to most sides."""
    distances = widths / np.append(units, reach)
    distances = distances[np.isfinite(distances) & (distances > 0.0)]
    if len(distances):
        near, median = np.quantile(distances, [SHARE, 0.5], method="lower")
        return float(max(near, NEAREST * median))
    soft = qp.soft
    for pull in (np.abs(qp.f) * units, (qp.linear_weight * reach)[soft]):
        if pull.max(initial=0.0) > 0.0:
            return float(pull.max())
    return 1.0
