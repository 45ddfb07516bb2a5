"""A smooth model of what one step adds, in which regressors can be dropped."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from itertools import combinations_with_replacement

import numpy as np
from numpy.typing import NDArray

from koopman_control.autopilot.findings import InputShape
from koopman_control.autopilot.leftout import LeftOut
from koopman_control.autopilot.samples import Samples, scaled
from koopman_control.common import Array
from koopman_control.features import Angle
from koopman_control.features.coordinates import read

MOST_FEATURES = 80
ROWS_PER_REGRESSOR = 3
MOST_SEEN = 3  # coordinates that a feature sees
STEEPNESS = 0.5
MOST_PRODUCTS = {2: 12, 3: 6}  # coordinates up to which all products of so many are regressors
LAGS = 3
FLOOR = 1e-8  # of the spread of the targets; below it errors are rounding


@dataclass(frozen=True)
class Regressor:
    """What a regressor is made of, so that it can be dropped with it.

    Args:
        sees: Columns and angles that it depends on.
        inputs: Inputs that it depends on.
        lag: How many steps back it looks.
        hinge: Whether it is there for inputs that act in other than straight lines.
    """

    sees: frozenset[Angle] = frozenset()
    inputs: frozenset[int] = frozenset()
    lag: int = 0
    hinge: bool = False


class Smooth:
    """A smooth model of what one step adds, in which regressors can be dropped.

    Args:
        samples: The data.
        states: Columns and angles whose increments are explained.
        parameters: Columns that may matter but have no increments: goals, switches.
        wrapping: Plain columns that are angles in radians.
        usable: Rows that may be fitted to: none at a stop.
        shapes: Dead zones and saturations of the inputs, as far as they are known.
    """

    def __init__(
        self,
        samples: Samples,
        states: Sequence[Angle],
        parameters: Sequence[int],
        wrapping: Sequence[int],
        usable: NDArray[np.bool_],
        shapes: Sequence[InputShape] = (),
    ) -> None:
        self.states, self.wrapping = tuple(states), tuple(wrapping)
        self.groups: tuple[Angle, ...] = (*states, *parameters)
        added = _increments(samples, self.states, self.wrapping)
        past = [samples.earlier(np.hstack([added, samples.inputs]), k + 1) for k in range(LAGS)]
        complete = np.isfinite(past[-1]).all(axis=1)
        self.lags = LAGS if complete.mean() > 0.5 else 0
        rows = np.asarray(complete if self.lags else np.ones(len(samples), dtype=bool))
        self.rows, self.samples, self.usable = rows, samples.where(rows), usable[rows]
        self.scale = (
            np.sqrt((added[rows & usable] ** 2).mean(axis=0))
            if (rows & usable).any()
            else np.ones(added.shape[1])
        )
        self.scale[self.scale == 0.0] = 1.0
        self._regressors: list[Regressor] = []
        self._columns: list[Array] = []
        self._build([lag[rows] for lag in past], shapes)
        Phi = np.column_stack(self._columns)
        self.fit = LeftOut(Phi, added[rows] / self.scale, usable[rows]).trimmed()

    def _build(self, past: list[Array], shapes: Sequence[InputShape]) -> None:
        coordinates, plain = self._coordinates(), scaled(self.samples.inputs)
        self._add(np.ones(len(self.samples)), Regressor())
        for values, group in coordinates:
            self._add(values, Regressor(frozenset([group])))
        for i in range(plain.shape[1]):
            shape = shapes[i] if shapes else InputShape()
            for acting in scaled(_acting(self.samples.inputs[:, i], shape)).T:
                self._add(acting, Regressor(inputs=frozenset([i])))
                for values, group in coordinates:
                    self._add(values * acting, Regressor(frozenset([group]), frozenset([i])))
            for edge in np.quantile(plain[:, i], np.linspace(0.0, 1.0, 9)[1:-1]):
                hinge = np.maximum(plain[:, i] - edge, 0.0)
                self._add(hinge, Regressor(inputs=frozenset([i]), hinge=True))
        for degree, most in MOST_PRODUCTS.items():
            if len(coordinates) <= most:
                for factors in combinations_with_replacement(coordinates, degree):
                    product = np.prod([values for values, _ in factors], axis=0)
                    self._add(product, Regressor(frozenset(group for _, group in factors)))
        for lag in range(self.lags):
            for values in scaled(past[lag]).T:
                self._add(values, Regressor(lag=lag + 1))
        self._sample(coordinates, np.random.default_rng(0))

    def _coordinates(self) -> list[tuple[Array, Angle]]:
        """Return the plain columns, and cosine and sine of the angles, all of spread one."""
        found: list[tuple[Array, Angle]] = []
        for group in self.groups:
            values = read(self.samples.before, group)
            parts = [values]
            if isinstance(group, tuple) or group in self.wrapping:
                parts = [np.cos(values), np.sin(values)]
            found += [(part, group) for part in scaled(np.column_stack(parts)).T]
        return found

    def _sample(self, coordinates: list[tuple[Array, Angle]], rng: np.random.Generator) -> None:
        """Draw features from pairs of data points, each of which sees a few coordinates only."""
        spare = len(self.samples) // ROWS_PER_REGRESSOR - len(self._regressors)
        by_group = {g: [v for v, other in coordinates if other == g] for g in self.groups}
        for _ in range(max(0, min(MOST_FEATURES, spare)) if self.groups else 0):
            n = min(len(self.groups), int(rng.integers(1, MOST_SEEN + 1)))
            seen = [self.groups[i] for i in rng.choice(len(self.groups), n, replace=False)]
            C = np.column_stack([values for group in seen for values in by_group[group]])
            one, other = C[rng.choice(len(C), 2)]
            apart = other - one
            distance = float(apart @ apart)
            if distance > 1e-12:
                weights = STEEPNESS * np.log(3.0) * apart / distance
                values = np.tanh((C - one) @ weights - STEEPNESS * np.log(3.0) / 2.0)
                self._add(values, Regressor(frozenset(seen)))

    def _add(self, values: Array, regressor: Regressor) -> None:
        self._columns.append(values)
        self._regressors.append(regressor)

    def keep(self, wanted: Wanted) -> NDArray[np.int64]:
        """Return the numbers of the regressors that are wanted."""
        return np.flatnonzero([wanted(regressor) for regressor in self._regressors])

    def errors(self, wanted: Wanted) -> Array:
        """Return left-out errors of the increments with these regressors, in their own size."""
        return self.fit.errors(self.keep(wanted)) + FLOOR


def present(regressor: Regressor) -> bool:
    """Whether a regressor is of the plain model: the present only, inputs in straight lines."""
    return not regressor.lag and not regressor.hinge


Wanted = Callable[[Regressor], bool]


def up_to(lag: int) -> Wanted:
    """Want the present, and so many past steps."""
    return lambda regressor: not regressor.hinge and regressor.lag <= lag


def without_input(i: int) -> Wanted:
    """Want all of the present but one input."""
    return lambda regressor: not regressor.lag and i not in regressor.inputs


def bent(i: int) -> Wanted:
    """Want the plain model with one input in other than straight lines."""
    return lambda regressor: not regressor.lag and (not regressor.hinge or i in regressor.inputs)


def _increments(samples: Samples, states: Sequence[Angle], wrapping: Sequence[int]) -> Array:
    columns = [samples.increments(state, state in wrapping) for state in states]
    return np.column_stack(columns) if columns else np.zeros((len(samples), 0))


def _acting(u: Array, shape: InputShape) -> Array:
    """Return what of an input acts, as columns."""
    if shape.dead is not None:
        return dead_zone(u, *shape.dead)[:, 1:]
    return (u if shape.saturated is None else np.clip(u, *shape.saturated))[:, None]


def dead_zone(u: Array, low: float, high: float) -> Array:
    """Return columns that are flat between two numbers, with a jump and a slope on either side."""
    above, below = u > high, u < low
    return np.column_stack(
        [
            np.ones_like(u),
            above,
            np.where(above, u - high, 0.0),
            below,
            np.where(below, u - low, 0.0),
        ]
    )
