"""Equilibration: a program in which variables, rows and cost are near one, whatever its units.

Solvers have absolute tolerances, so the same problem in micrometres and in metres is not the same
to them. Variables are measured by the Hessian (or, where it leaves them free, by the rows they are
in and by their boxes), rows by their norm, the cost by what it takes to get to the sides. All
scales are powers of two, so nothing is rounded.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from koopman_control.common.arrays import Array
from koopman_control.common.powers import power_near
from koopman_control.mpc.solvers.base import DenseQP

SHARE = 0.1  # of the sides that may be nearer than what counts as their distance
NEAREST = 1e-6  # of the median; sides nearer than that are no measure of the others
WIDEST = 1e3  # boxes that a variable's unit may span
PASSES = 3  # through the rows, for variables that only other free ones tell the size of


class Scaling(NamedTuple):
    """Units of a program's variables (n,), rows (r,) and cost: v = variables * scaled v."""

    variables: Array
    rows: Array
    cost: float

    @classmethod
    def of(cls, qp: DenseQP) -> Scaling | None:
        """Measure a program; None where all of its units are one."""
        with np.errstate(all="ignore"):
            sizes, cost = _measured(qp)
            variables = power_near(sizes)
            rows = power_near(np.sqrt(np.square(qp.A * variables).sum(axis=1)))
        scaling = cls(variables, rows, float(power_near(cost)))
        plain = scaling.cost == 1.0 and (variables == 1.0).all() and (rows == 1.0).all()
        return None if plain else scaling

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


def _measured(qp: DenseQP) -> tuple[Array, float]:
    """Sizes of the variables, (n,), and of the cost."""
    n, A = len(qp.f), np.abs(qp.A)
    curvature, widths = np.diagonal(qp.H), _widths(qp.lower, qp.upper)
    units = np.where(curvature > 0.0, 1.0 / np.sqrt(curvature), 0.0)  # of the root of the cost
    for _ in range(PASSES):
        reach, free = np.sqrt(np.square(A * units).sum(axis=1)), np.flatnonzero(units == 0.0)
        if not len(free) or not reach.any():
            break
        share = A[:, free] / np.where(reach > 0.0, reach, np.inf)[:, None]
        most = share.max(axis=0, initial=0.0)
        units[free] = np.where(most > 0.0, 1.0 / most, 0.0)
    distance = _distance(qp, units, reach, widths)
    sizes, cost = np.minimum(units * distance, WIDEST * _or_infinite(widths[:n])), distance**2
    for i in np.flatnonzero(sizes == 0.0):  # linked with nothing that costs
        meant = np.append(widths[i], (widths[n:] / A[:, i])[A[:, i] > 0.0])
        meant = meant[np.isfinite(meant) & (meant > 0.0)]
        sizes[i] = np.quantile(meant, 0.5, method="lower") if len(meant) else 0.0
    slopes = np.abs(qp.f)
    if not curvature.any():
        cost = float((slopes * sizes).max(initial=0.0)) or 1.0
    return np.where(sizes > 0.0, sizes, cost / np.where(slopes > 0.0, slopes, cost)), cost


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
