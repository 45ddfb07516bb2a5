"""The settings of a controller in groups: cost, bounds, search and inputs."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any, Literal, NamedTuple

import numpy as np
from numpy.typing import ArrayLike
from scipy.optimize import brentq

from koopman_control.common.arrays import (
    Array,
    Index,
    finite_array,
    positive_float,
    positive_int,
    real_array,
    seed_number,
)
from koopman_control.common.border import CheckedFields, at_least, checked
from koopman_control.common.pickling import portable
from koopman_control.common.shorthand import fields_of
from koopman_control.mpc.solvers import SolverSettings, solver_kind

Target = ArrayLike | Callable[[Array], ArrayLike | None]


@dataclass(frozen=True)
class Observed(CheckedFields):
    """A target that the observation carries: entry i is offset_i + gain_i y[columns_i].

    It does what a function would, but is made of numbers, so that a controller with it can be saved
    to a file.

    Args:
        columns: Column of the observation for each entry of the target, or None for its offset
            alone.
        offset: What is added, a number or one for each entry.
        gain: What columns are multiplied by, likewise.

    Example:
        >>> Observed([2, None])(np.array([0.1, 0.2, 0.5]))  # a set-point for the first state
        array([0.5, 0. ])
    """

    columns: Sequence[int | None]
    offset: ArrayLike = 0.0
    gain: ArrayLike = 1.0

    def __post_init__(self) -> None:
        """Check the lengths, too."""
        super().__post_init__()
        size = len(self.columns)
        for name in ("offset", "gain"):
            value = finite_array(name, getattr(self, name))
            if value.shape not in ((), (size,)):
                raise ValueError(
                    f"{name} has shape {value.shape}; expected a number, or one for each of {size} "
                    "columns"
                )
        if not size or any(column is not None and column < 0 for column in self.columns):
            raise ValueError(
                f"columns is {list(self.columns)}; expected a column of the observation, from 0 "
                "on, or None for each entry of the target"
            )

    def __call__(self, observation: Array) -> Array:
        """Read the target off an observation (p,); shape (d,).

        Raises:
            ValueError: If it has no such column.
        """
        rows, columns, gain, offset = self._read
        y = real_array("observation", observation, ndim=1)
        if len(columns) and columns.max() >= len(y):
            raise ValueError(
                f"observation has {len(y)} entries; a target is to be read off column "
                f"{columns.max()}"
            )
        target = offset.copy()
        target[rows] += gain * y[columns]
        return target

    @cached_property
    def _read(self) -> tuple[Index, Index, Array, Array]:
        """Entries that are read, their columns and gains, and all offsets."""
        size, columns = len(self.columns), self.columns
        rows = np.array([i for i in range(size) if columns[i] is not None], dtype=np.int64)
        places = np.array([column for column in columns if column is not None], dtype=np.int64)
        gain, offset = (np.broadcast_to(v, (size,)) for v in (self.gain, self.offset))
        return rows, places, np.array(gain[rows], float), np.array(offset, float)


@dataclass(frozen=True)
class Cost(CheckedFields):
    """What a plan costs.

    Summed over the N steps, with targets r and u_r,

        |y_k - r_k|_Q^2 + |u_k - u_r|_R^2 + |u_k - u_k-1|_S^2 + linear_output' y_k
              + linear_input' u_k,   and   |y_N - r_N|_terminal^2   at the end.

    y are the d states, u the m controlled inputs, both in the model's units. A weight is a number,
    a diagonal (d,) or (m,), or a positive semidefinite matrix; or one of these for each step, N
    rows first (where a shape can be read both ways, it is one for all steps).

    Args:
        Q: State weight; None: what `KoopmanMPC` is given, or else 1.
        R: Input weight; None: what `KoopmanMPC` is given, or else 0.
        S: Weight of input changes; the change at the first step counts from the input applied last,
            at the start of an episode from the safe input or what `reset` is given.
        terminal: Weight of the last state beside Q, a number, (d,) or (d, d); or "riccati" for the
            cost that the regulator at the reference (at zero, where the reference is a function)
            still has to come; with S, it goes with the last state and the last input. Linear costs,
            and a drift where the target is not at rest, are part of it for constant targets.
        linear_output: Cost per unit of each state: a number, shape (d,) or (N, d).
        linear_input: Cost per unit of each input, likewise: energy or prices.
        input_reference: Target u_r of the inputs: a number, shape (m,), (N, m), a longer trajectory
            or a function, as `reference` of `KoopmanMPC`; row k is that of the k-th input.
        trust: Price of predicted states beyond the model's training data, per squared distance from
            their edge in half widths, so that plans are pulled back to known ground; `last.trust`
            tells how far they leave it. Angles are not priced.

    Example:
        >>> Cost(S=0.1, terminal="riccati").S
        0.1
    """

    Q: ArrayLike | None = None
    R: ArrayLike | None = None
    S: ArrayLike = 0.0
    terminal: ArrayLike | Literal["riccati"] = 0.0
    linear_output: ArrayLike = 0.0
    linear_input: ArrayLike = 0.0
    input_reference: Target = 0.0
    trust: float = 0.0

    def __post_init__(self) -> None:
        """Check the price, too; shapes are checked where the model is known."""
        super().__post_init__()
        at_least("trust", self.trust, 0)

    def __getstate__(self) -> dict[str, Any]:
        """Let a lambda travel to another process, too."""
        target = self.input_reference
        own = portable(target) if callable(target) else target
        return {**vars(self), "input_reference": own}


class Tube(NamedTuple):
    """How far states, shape (N, d), and inputs, shape (N, m), may stray from a plan.

    Row k of the states is after k + 1 steps, of the inputs before it; the first one is as planned.
    """

    outputs: Array
    inputs: Array


@dataclass(frozen=True)
class Bounds(CheckedFields):
    """What a plan of N steps has to keep, in the model's units.

    Args:
        inputs: (low, high), shape (2, m) or (2, N, m); None: what `KoopmanMPC` is given, or else
            the model's action bounds.
        rates: Largest change of each input per step, a number or (m,); None for no bound.
            Fallbacks keep it, too.
        outputs: (low, high), shape (2, d) or (2, N, d), infinite where there is none; None: what
            `KoopmanMPC` is given, or else none.
        terminal: (low, high) or shape (2, d): further bounds of the last state.
        terminal_set: (H, h), shapes (k, d) and (k,): H y_N <= h. Or "invariant": the largest set in
            which the regulator of `Cost(terminal="riccati")` then keeps every bound for ever, for
            the model linearised at the reference, which has to be constant. With hard bounds, an
            exact model and that terminal cost, a plan that exists once exists at all later steps.
        polytope: (G_y, G_u, g), shapes (k, d), (k, m) and (k,): G_y y_k+1 + G_u u_k <= g at every
            step k. Rows without outputs are hard.
        soft: Whether bounds of states may be broken at a price (always, if the plant leaves no
            choice, as `last.rung` "softened" then tells): True, False, or one of them per state. A
            polytope's row is soft if one of its states is.
        slack_weight: Price of a violation v: w (v + v^2) for a number w; l1 v + l2 v^2 for
            (l1, l2) or shape (2, d). With l1 above the bound's multiplier, what can be kept is
            kept exactly. "auto": 1000 c (v / s + v^2 / s^2), where s is usual of the state (half
            of what lies between its bounds, or its target, if that is larger) and c of the cost
            (the largest that a weight makes of a usual state or input). A row of a polytope is
            priced by the state that breaks it most cheaply.
        tighten: Margins by which output bounds are moved inwards, since predictions may be off: a
            number, one per state (d,), or per step, (N, d); those of `tube_margins`, which move
            input bounds, too; "auto": for hard bounds, what the model's left-out errors stayed
            below in most cases (`LiftedModel.error_quantiles`, where the model has them); False:
            none. Polytopes too.

    Example:
        >>> Bounds(rates=0.2, outputs=(-1.0, 1.0), soft=False).rates
        0.2
    """

    inputs: ArrayLike | None = None
    rates: ArrayLike | None = None
    outputs: ArrayLike | None = None
    terminal: ArrayLike | None = None
    terminal_set: tuple[ArrayLike, ArrayLike] | Literal["invariant"] | None = None
    polytope: tuple[ArrayLike, ArrayLike, ArrayLike] | None = None
    soft: ArrayLike = True
    slack_weight: ArrayLike | Literal["auto"] = "auto"
    tighten: ArrayLike | Tube | Literal["auto", False] = "auto"


@dataclass(frozen=True)
class Search(CheckedFields):
    """How long a plan is improved at each step, and from where; mostly for nonlinear roll-outs.

    Args:
        iterations: Re-linearisations per step.
        first_iterations: Most re-linearisations in the first step of an episode.
        guesses: Random plans tried at each step beside the one before, moved on. They matter where
            the problem has several local optima (swing left or right).
        first_guesses: Random plans tried in the first step of an episode.
        seed: Seed of the random plans; every episode draws the same ones.
        deadline: Microseconds after which `act` makes do with the best plan found so far, as
            `last.cut` then tells. What cannot be interrupted (a roll-out, a factorisation, an
            estimate) is finished. None: no deadline.

    Example:
        >>> Search(guesses=4, first_guesses=128).iterations
        1
    """

    iterations: int = 1
    first_iterations: int = 10
    guesses: int = 0
    first_guesses: int = 0
    seed: int = 0
    deadline: float | None = None

    def __post_init__(self) -> None:
        """Check the ranges, too."""
        super().__post_init__()
        for name in ("iterations", "first_iterations"):
            positive_int(name, getattr(self, name))
        for name in ("guesses", "first_guesses"):
            positive_int(name, getattr(self, name), minimum=0)
        seed_number("seed", self.seed)
        if self.deadline is not None:
            positive_float("deadline", self.deadline)

    @property
    def seconds(self) -> float:
        """The deadline in seconds, infinite for none."""
        return math.inf if self.deadline is None else 1e-6 * self.deadline


@dataclass(frozen=True)
class Inputs(CheckedFields):
    """Which inputs are planned, how, and when they act.

    Args:
        parametrization: `Knots` or `Blocks`: plans of fewer free values, for a shorter step; None:
            the input of each step is free. Re-linearised plans may keep features of the plan
            before.
        delay: Steps until an input acts; the model is one without delay, as fitted to data that
            went through `with_input_delay`. Plans, references and bounds are those of the steps
            from when the planned input acts.
        measured: Indices of the model's inputs that are measured disturbances, not controlled;
            `act` takes their preview. Elsewhere, m counts controlled inputs.
        safe: Input applied when there is no plan at all, and taken to have been applied before an
            episode: a number or (m,); clipped to the bounds.

    Example:
        >>> Inputs(delay=2, measured=[1]).delay
        2
    """

    parametrization: Blocks | Knots | None = None
    delay: int = 0
    measured: Sequence[int] = ()
    safe: ArrayLike = 0.0

    def __post_init__(self) -> None:
        """Check the delay, too."""
        super().__post_init__()
        positive_int("delay", self.delay, minimum=0)


# What `KoopmanMPC` takes by itself, beside the groups; Q, R and the bounds are its own arguments.
FIELDS = (
    fields_of("cost", Cost, Q="", R="", trust="trust_weight")
    | fields_of(
        "bounds", Bounds, inputs="", outputs="", rates="rate_bounds", terminal="terminal_bounds"
    )
    | fields_of("search", Search, guesses="n_guesses")
    | fields_of(
        "inputs", Inputs, delay="input_delay", measured="measured_inputs", safe="safe_input"
    )
)
THROUGH_CVXPY = "cvxpy"  # as a solver: CVXPY's own way


def checked_solver(solver: str | SolverSettings, deadline: float | None) -> SolverSettings:
    """Check that a solver is known, and keeps the deadline in microseconds, if there is one.

    Raises:
        ValueError: If that is not so.
    """
    settings = SolverSettings(solver) if isinstance(solver, str) else solver
    if settings == SolverSettings(THROUGH_CVXPY):
        return settings
    if not solver_kind(settings.name).keeps_time_limit and deadline is not None:
        raise ValueError(
            f"deadline is {deadline}, but the solver {settings.name!r} knows no time limit; choose "
            'solver="auto" or "clarabel"'
        )
    return settings


def with_shortcuts(
    cost: Cost | None,
    bounds: Bounds | None,
    Q: ArrayLike | None,
    R: ArrayLike | None,
    inputs: ArrayLike | None,
    outputs: ArrayLike | None,
) -> tuple[Cost, Bounds]:
    """Put what `KoopmanMPC` is given beside the groups into them.

    Raises:
        ValueError: If something is given twice.
    """

    def once(name: str, beside: Any, place: str, inside: Any) -> Any:
        if beside is not None and inside is not None:
            raise ValueError(f"{name} is given twice, as {name}= and in {place}; give it once")
        return inside if beside is None else beside

    cost, bounds = cost or Cost(), bounds or Bounds()
    Q = once("Q", Q, "cost=Cost(Q=...)", cost.Q)
    R = once("R", R, "cost=Cost(R=...)", cost.R)
    inputs = once("input_bounds", inputs, "bounds=Bounds(inputs=...)", bounds.inputs)
    outputs = once("output_bounds", outputs, "bounds=Bounds(outputs=...)", bounds.outputs)
    cost = replace(cost, Q=1.0 if Q is None else Q, R=0.0 if R is None else R)
    return cost, replace(bounds, inputs=inputs, outputs=outputs)


@dataclass(frozen=True)
class Blocks(CheckedFields):
    """Inputs held constant over blocks of steps ("move blocking").

    Args:
        lengths: Steps in each block; the last block lasts to the end of the horizon, so that
            `Blocks([1] * n)` is a control horizon of n steps. A number asks for that many blocks,
            short at first and growing.

    Example:
        >>> Blocks([1, 2]).matrix(4)
        array([[1., 0.],
               [0., 1.],
               [0., 1.],
               [0., 1.]])
    """

    lengths: int | Sequence[int]

    @checked
    def matrix(self, horizon: int) -> Array:
        """Weights of the free values in every step, shape (horizon, values)."""
        if isinstance(self.lengths, int):
            starts = _growing(horizon, _count("lengths", self.lengths, horizon))[:-1]
        else:
            lengths = [positive_int("lengths", n) for n in self.lengths]
            starts = np.cumsum([0, *lengths])[:-1]
            if not lengths or starts[-1] >= horizon:
                raise ValueError(
                    f"lengths is {self.lengths}; expected blocks that begin within the horizon of "
                    f"{horizon} steps"
                )
        block = np.searchsorted(starts, np.arange(horizon), side="right") - 1
        return np.asarray(np.eye(len(starts))[block])


@dataclass(frozen=True)
class Knots(CheckedFields):
    """Inputs linear between knots (a first-order hold in the plan).

    Args:
        steps: Steps at which the knots lie, the first 0; the last input is held from the last knot
            on. A number, at least 2, asks for that many knots, dense at first, the last one at the
            end of the horizon.

    Example:
        >>> Knots([0, 2]).matrix(4)
        array([[1. , 0. ],
               [0.5, 0.5],
               [0. , 1. ],
               [0. , 1. ]])
    """

    steps: int | Sequence[int]

    @checked
    def matrix(self, horizon: int) -> Array:
        """Weights of the free values in every step, shape (horizon, values)."""
        if isinstance(self.steps, int):
            count = _count("steps", self.steps, horizon)
            steps = _growing(horizon - 1, count - 1) if count > 1 else np.zeros(1, dtype=np.int64)
        else:
            steps = np.asarray(self.steps)
            rising = steps.ndim == 1 and len(steps) and steps[0] == 0 and np.all(np.diff(steps) > 0)
            if steps.dtype.kind != "i" or not rising or steps[-1] >= horizon:
                raise ValueError(
                    f"steps is {self.steps}; expected rising whole numbers from 0 to at most "
                    f"{horizon - 1}, the last step of the horizon"
                )
        return np.stack(
            [np.interp(np.arange(horizon), steps, unit) for unit in np.eye(len(steps))]
        ).T


def _count(name: str, value: int, horizon: int) -> int:
    if not 1 <= value <= horizon:
        raise ValueError(f"{name} is {value}; expected between 1 and the horizon, {horizon}")
    return value


def _growing(total: int, parts: int) -> Index:
    """Cut 0 ... total into parts of whole, geometrically growing length; returns the cuts."""

    def excess(ratio: float) -> float:
        return float(np.sum(ratio ** np.arange(parts))) - total

    if parts == 1:  # of any ratio
        return np.array([0, total])
    ratio = 1.0 if parts == total else brentq(excess, 1.0, float(total) + 1.0)
    cuts = np.concatenate([[0.0], np.cumsum(ratio ** np.arange(parts))])
    return np.floor(cuts + 0.5).astype(np.int64)
