"""The control problem, stated in CVXPY in terms of predicted outputs y and inputs u.

With the user's own terms, rows that bound something, hard or relaxed at a price, and the price of
states far from the training data.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, MutableMapping, Sequence
from dataclasses import dataclass
from types import SimpleNamespace
from typing import Any, Literal

import cvxpy as cp
import numpy as np
import scipy.sparse as sp
from cvxpy.atoms.affine.binary_operators import multiply
from cvxpy.atoms.affine.hstack import hstack
from cvxpy.atoms.affine.reshape import reshape
from cvxpy.atoms.affine.vstack import vstack
from cvxpy.atoms.elementwise.maximum import maximum
from cvxpy.atoms.sum_squares import sum_squares
from cvxpy.constraints.nonpos import Inequality
from numpy.typing import ArrayLike, NDArray

from koopman_control.common.arrays import Array, Index, balanced, real_array
from koopman_control.common.border import shown
from koopman_control.common.pickling import portable
from koopman_control.identification import LiftedModel
from koopman_control.mpc.compile.program import ParametricQP
from koopman_control.mpc.solvers.program import NO_SIDE, opened
from koopman_control.mpc.weights import Mask, Weights

BEYOND = 1e25  # stands for infinity in products: so far that no scale brings it back
Build = Callable[[cp.Expression, cp.Expression, Any], Any]


class Parameters(MutableMapping[str, Array]):
    """Values of the user's parameters by name; set one to change the problem from the next step on.

    Shapes and signs were settled when a parameter was declared. Where one is no more than a bound,
    infinity means that there is none.

    Attributes:
        theta: All values, stacked row after row, infinity as a number beyond all sides.

    Example:
        >>> mpc = mpc.constrain(lambda y, u, p: y[:, 0] <= p.limit, limit=0.3)  # doctest: +SKIP
        >>> mpc.parameters["limit"] = 0.2  # doctest: +SKIP
    """

    def __init__(self) -> None:
        self._values: dict[str, Array] = {}
        self._signs: dict[str, dict[str, bool]] = {}
        self._opening: dict[str, NDArray[np.bool_]] = {}  # whether +inf and -inf open bounds
        self.theta = np.zeros(0)

    def with_more(self, given: Mapping[str, ArrayLike | cp.Parameter]) -> Parameters:
        """Declare further parameters in a copy.

        Raises:
            ValueError: If a name is taken, or a value missing, not finite or of the wrong sign.
        """
        more = Parameters()
        more._values, more._signs = dict(self._values), dict(self._signs)
        more._opening = dict(self._opening)
        for name, value in given.items():
            if name in more._values:
                raise ValueError(
                    f"parameter {name!r} exists already; use p.{name} without declaring it again, "
                    "or choose another name"
                )
            more._signs[name] = {}
            if isinstance(value, cp.Parameter):
                if value.value is None:
                    raise ValueError(f"parameter {name!r} has no value; give it one")
                signs = {"nonneg": bool(value.is_nonneg()), "nonpos": bool(value.is_nonpos())}
                more._signs[name], value = signs, value.value
            more._values[name] = _numbers(name, value).copy()
            more._opening[name] = np.ones((2, *more._values[name].shape), dtype=bool)
            if not more._values[name].size:
                raise ValueError(f"parameter {name!r} is empty; expected at least one number")
        more._stack()
        return more

    def _restrict(self, program: ParametricQP) -> None:
        """Note where infinite values would be part of a program's cost, equations or wrong sides.

        Raises:
            ValueError: If a value is one of these.
        """
        opening, first = program.opening, 0
        for name, shape in program.origin.parameters.items():
            last = first + int(np.prod(shape))
            if name in self._opening:
                own = opening[:, first:last].reshape(2, *shape)
                self._opening = self._opening | {name: self._opening[name] & own}
                self._check_open(name, self._values[name])
            first = last

    def _check_open(self, name: str, value: Array) -> None:
        """Refuse infinity where it does not mean that there is no bound."""
        plus, minus = self._opening[name]
        if np.any(((value == np.inf) & ~plus) | ((value == -np.inf) & ~minus)):
            raise ValueError(
                f"parameter {name!r} is {value.tolist()}; expected finite numbers, or the infinity "
                "that leaves a bound open"
            )

    def in_cvxpy(self) -> dict[str, cp.Parameter]:
        """Make a CVXPY parameter for each, in the order in which `theta` stacks them."""
        return {
            name: cp.Parameter(value.shape, name=name, **self._signs[name])
            for name, value in self._values.items()
        }

    def _stack(self) -> None:
        """Stack the values once, for every step to come."""
        rows = [value.ravel() for value in self._values.values()]
        theta = np.concatenate([np.zeros(0), *rows])
        self.theta = np.where(np.abs(theta) < NO_SIDE, theta, np.copysign(BEYOND, theta))

    def __getitem__(self, name: str) -> Array:
        """Return a copy of a value."""
        return self._values[self._known(name)].copy()

    def __setitem__(self, name: str, value: ArrayLike) -> None:
        """Set a value of the declared shape and sign."""
        shape = self._values[self._known(name)].shape
        given = _numbers(name, value, shape)
        signs = self._signs[name]
        if (signs.get("nonneg") and np.any(given < 0.0)) or (
            signs.get("nonpos") and np.any(given > 0.0)
        ):
            declared = "nonneg" if signs["nonneg"] else "nonpos"
            raise ValueError(f"parameter {name!r} is {given.tolist()}; declared as {declared}")
        self._check_open(name, given)
        self._values[name] = given.copy()
        self._stack()

    def __setattr__(self, name: str, value: Any) -> None:
        """Refuse to set what is no attribute: an entry was meant."""
        if name not in ("_values", "_signs", "_opening", "theta"):
            raise AttributeError(
                f"parameters has no attribute {name!r} to set; parameters are entries: "
                f"parameters[{name!r}] = ..."
            )
        super().__setattr__(name, value)

    def _known(self, name: Any) -> str:
        """Return the name of a parameter; a KeyError says which there are."""
        if isinstance(name, str) and name in self._values:
            return name
        known = ", ".join(self._values) or "none"
        raise KeyError(f"name is {shown(name)}, no parameter; the controller has {known}")

    def __delitem__(self, name: str) -> None:
        """Refuse: the problem was compiled with it."""
        raise TypeError(f"parameter {name!r} is part of the compiled problem and stays")

    def __iter__(self) -> Iterator[str]:
        """Iterate over the names."""
        return iter(self._values)

    def __len__(self) -> int:
        """Count the parameters."""
        return len(self._values)


def _numbers(name: str, value: Any, shape: tuple[int, ...] | None = None) -> Array:
    """Check a value; numbers of 1e20 and beyond are infinity."""
    given = opened(real_array(f"parameter {name!r}", value, shape=shape))
    if np.isnan(given).any():
        raise ValueError(f"parameter {name!r} is {given.tolist()}; expected numbers, not NaN")
    return given


@dataclass(frozen=True)
class Term:
    """A cost term or constraints, as a function of y (N, d), u (N, m) and the parameters.

    Args:
        kind: Which of the two; also what the user called. Or "stored", if a file held it as
            canonical program of both.
        build: The function.
    """

    kind: Literal["constrain", "penalize", "stored"]
    build: Build

    def __getstate__(self) -> dict[str, Any]:
        """Let a lambda travel to another process, too."""
        return {"kind": self.kind, "build": portable(self.build)}

    def expressions(
        self, y: cp.Expression, u: cp.Expression, parameters: Mapping[str, cp.Parameter]
    ) -> tuple[list[cp.Constraint], cp.Expression]:
        """Return the constraints and the cost that this term adds.

        Raises:
            ValueError: If they are not convex or not affine in the parameters (DPP), or no CVXPY
                expressions at all.
        """
        try:
            made = self.build(y, u, SimpleNamespace(**parameters))
        except Exception as error:
            error.add_note(f"in {self.kind}, with y of shape {y.shape} and u of shape {u.shape}")
            raise
        if self.kind == "stored":
            constraints, cost = made
            return constraints, cost
        if self.kind == "penalize":
            return [], _cost(made)
        several = isinstance(made, (list, tuple))
        return [_constraint(one) for one in (made if several else [made])], cp.Constant(0.0)


def _cost(made: Any) -> cp.Expression:
    if not isinstance(made, cp.Expression) or made.size != 1:
        what = f"shape {made.shape}" if isinstance(made, cp.Expression) else repr(made)
        raise ValueError(f"penalize got {what}; expected one CVXPY expression that is a number")
    if not made.is_convex():
        raise ValueError(
            f"penalize got {_short(made)}, which is not convex by CVXPY's rules; rewrite it as a "
            "sum of convex terms"
        )
    if not made.is_dpp():
        raise ValueError(_not_dpp("penalize", made))
    return made


def _constraint(made: Any) -> cp.Constraint:
    if not isinstance(made, cp.Constraint):
        raise ValueError(
            f"constrain got {_short(made)}; expected CVXPY constraints such as y[:, 0] <= 1, or a "
            "list of them"
        )
    if not made.is_dcp():
        raise ValueError(
            f"constrain got {_short(made)}, which is not convex by CVXPY's rules; expected convex "
            "<= concave or affine == affine"
        )
    if not made.is_dcp(dpp=True):
        raise ValueError(_not_dpp("constrain", made))
    return made


def _not_dpp(kind: str, made: Any) -> str:
    return (
        f"{kind} got {_short(made)}, in which parameters meet each other or a nonlinear term (it "
        "is not DPP); declare a parameter for the product"
    )


def _short(made: Any) -> str:
    text = str(made)
    return text if len(text) <= 120 else text[:117] + "..."


@dataclass(frozen=True)
class _BeyondData:
    """The price as a function of y, u and parameters; y along axes is rows y + middle.

    Args:
        rows: Shape (k, d).
        middle: Shape (k,).
        weight: Price.
    """

    rows: Array
    middle: Array
    weight: float

    def __call__(self, y: cp.Expression, u: cp.Expression, p: Any) -> cp.Expression:
        """State the price of outputs y, shape (N, d)."""
        along = y @ self.rows.T + np.tile(self.middle, (y.shape[0], 1))
        beyond: cp.Expression = sum_squares(maximum(along - 1.0, -1.0 - along, 0.0))
        beyond *= self.weight
        return beyond


def trust_terms(model: LiftedModel, weight: float) -> tuple[Term, ...]:
    """Price predicted states beyond the model's training data; no term for a weight of zero.

    Args:
        model: Tells where its training data lie.
        weight: Price per squared distance beyond their edge, where 1 is half their width, of each
            axis and step. Angles and the past are not priced.

    Raises:
        ValueError: If the model does not know its data.
    """
    if weight == 0.0:
        return ()
    if model.signals.ground is None:
        raise ValueError(
            f"trust is {weight}, but the model does not know where its training data lie; "
            "fit it with EDMDc, or bound its states by output_bounds"
        )
    return (Term("penalize", _BeyondData(*_present(model), weight)),)


def _present(model: LiftedModel) -> tuple[Array, Array]:
    """Rows (k, d) and offsets (k,) of the known ground that see present states alone."""
    coordinates, ground = model.coordinates, model.signals.ground
    assert ground is not None
    states = np.flatnonzero(~coordinates.is_angle[: coordinates.n_outputs])
    n = len(states)  # feature inputs begin with them
    own = ground[~ground[:, 1 + n :].any(axis=1)]
    scaled = own[:, 1 : 1 + n] / model.signals.scale[:n]
    rows = np.zeros((len(own), coordinates.n_outputs))
    rows[:, states] = scaled
    return rows, own[:, 0] - scaled @ model.signals.center[:n]


@dataclass(frozen=True)
class Limit:
    """Entries that must not exceed zero, whether hard or relaxed.

    Args:
        name: What is bounded, for people.
        excess: Shape (r,): by how much each entry exceeds its bound; negative within it.
        places: Row and column of each entry, shape (r, 2).
        first: Step of row 0: 0 for inputs, 1 for outputs; None where rows are no steps.
    """

    name: str
    excess: cp.Expression
    places: Index
    first: int | None


class Limits:
    """Collects bounds on expressions with one row per step.

    Attributes:
        constraints: What CVXPY is given.
        cost: Price of the violations.
        limits: The same rows by name, without their relaxation.
    """

    def __init__(self) -> None:
        self.constraints: list[cp.Constraint] = []
        self.cost: cp.Expression = cp.Constant(0.0)
        self.limits: list[Limit] = []

    def bound(
        self,
        name: str,
        expression: cp.Expression,
        bounds: Array,
        soft: Mask | None = None,
        weight: Array | None = None,
        first: int = 0,
    ) -> None:
        """Bound an expression (N, k) where its bounds (2, N, k) are finite.

        Columns that `soft` (k,) marks are relaxed, one slack for each step, at the prices (2, k).
        Row 0 belongs to step `first`.
        """
        low, high = bounds.reshape(2, -1)
        values: cp.Expression = expression.flatten(order="C")
        relief = None
        if soft is not None and weight is not None:
            relief = self._relief(name, np.isfinite(bounds).any(axis=0) & soft, weight)
        for side, signed, highest in (("high", values, high), ("low", -values, -low)):
            chosen = np.flatnonzero(np.isfinite(highest))
            if not len(chosen):
                continue
            excess = signed[chosen] - highest[chosen]
            relaxed = excess if relief is None else excess - relief[chosen]
            self.constraints.append(relaxed <= 0.0)
            places = np.stack(np.divmod(chosen, bounds.shape[2]), axis=1)
            self.limits.append(Limit(f"{side} {name}", excess, places, first))

    def _relief(self, name: str, relaxed: Mask, weight: Array) -> cp.Expression | None:
        """Make a slack for each marked entry (N, k) and spread them over all entries, (N k,)."""
        chosen = np.flatnonzero(relaxed)
        count = len(chosen)
        if not count:
            return None
        slack = cp.Variable(count, name=f"slack at {name}", nonneg=True)
        linear, quadratic = weight[:, chosen % relaxed.shape[1]]
        self.cost += linear @ slack + quadratic @ slack**2
        spread: Any = sp.csr_array(
            (np.ones(count), (chosen, np.arange(count))), (relaxed.size, count)
        )
        relief: cp.Expression = spread @ slack
        return relief


def users_limit(constraint: cp.Constraint) -> Limit | None:
    """Name an inequality of the user's own by what it says; other constraints have no excess."""
    if not isinstance(constraint, Inequality):
        return None
    text = str(getattr(constraint, "label", None) or constraint)
    size = constraint.expr.size
    places = np.stack([np.arange(size), np.zeros(size, dtype=np.int64)], axis=1)
    return Limit(text if len(text) <= 60 else text[:57] + "...", constraint.expr, places, None)


class TrackingProblem:
    """Cost, bounds and the user's own terms over N steps.

    Args:
        weights: The settings.
        terms: What the user added.
        own: The parameters in these terms.
        n_outputs: Number of leading columns of a model's outputs that the user's terms see.
        n_models: How many models' outputs stand side by side in y; the terms are stated for each.

    Attributes:
        u: Inputs, variable of shape (N, m).
        y: Predicted outputs, variable of shape (N, p).
        parameters: Parameters of `unpredicted`: the target of y, shape (N, p), the target of u,
            shape (N, m), the input applied before the first step, shape (m,), and the user's own.
            Theta stacks them in this order.
        limits: What is bounded, by name.
        free: Predicted outputs at u = 0, parameter of shape (N p,), row after row.
        gamma: Sensitivity of the outputs to the inputs, parameter of shape (N p, N m).
        unpredicted: The problem with y free: cost and constraints, without a prediction.
        latest: What the last term added, alone; empty without terms.
        problem: The whole problem, with y == free + gamma u; its `solve()` is the reference.
    """

    def __init__(
        self,
        weights: Weights,
        terms: Sequence[Term],
        own: Parameters,
        n_outputs: int,
        n_models: int = 1,
    ) -> None:
        N, p, m = len(weights.Q), weights.Q.shape[1], weights.R.shape[1]
        self.u = cp.Variable((N, m), name="u")
        self.y = cp.Variable((N, p), name="y")
        self._reference = cp.Parameter((N, p), name="reference")
        self._input_reference = cp.Parameter((N, m), name="input_reference")
        self._previous = cp.Parameter(m, name="previous_input")
        users = own.in_cvxpy()
        self.parameters: tuple[cp.Parameter, ...] = (
            self._reference,
            self._input_reference,
            self._previous,
            *users.values(),
        )
        rows = _bounded(weights, self.y, self.u, self.rates)
        constraints, cost = rows.constraints, self._cost(weights)
        self.limits = rows.limits
        seen = self._by_model(n_outputs, n_models)
        self.latest = cp.Problem(cp.Minimize(0.0))
        for term in terms:
            added, price = self._of_every_model(term, seen, users)
            constraints, cost = constraints + added, cost + price
            self.latest = cp.Problem(cp.Minimize(price), added)
            self.limits += [own for own in map(users_limit, added) if own is not None]
        self.unpredicted = cp.Problem(cp.Minimize(cost + rows.cost), constraints)
        self.free = cp.Parameter(N * p, name="free")
        self.gamma = cp.Parameter((N * p, N * m), name="gamma")
        self.problem = self.predicted_by(self.gamma)

    def predicted_by(self, gamma: cp.Parameter | Array) -> cp.Problem:
        """Return the whole problem, with y == free + gamma u."""
        predicted = self.free + gamma @ self.u.flatten(order="C")
        prediction = self.y.flatten(order="C") == predicted
        return cp.Problem(self.unpredicted.objective, [*self.unpredicted.constraints, prediction])

    def assign(self, theta: Array) -> None:
        """Set the parameters from the vector that stacks them."""
        start = 0
        for parameter in self.parameters:
            parameter.value = theta[start : start + parameter.size].reshape(parameter.shape)
            start += parameter.size

    @property
    def rates(self) -> cp.Expression:
        """Changes of the input from step to step, shape (N, m)."""
        before: cp.Expression = reshape(self._previous, (1, self._previous.size), order="C")
        earlier: cp.Expression = vstack([before, self.u[:-1]]) if self.u.shape[0] > 1 else before
        changes: cp.Expression = self.u - earlier
        return changes

    def _by_model(self, n_outputs: int, n_models: int) -> list[cp.Expression]:
        width = self.y.shape[1] // n_models
        if width == n_outputs and n_models == 1:
            return [self.y]
        return [self.y[:, k * width : k * width + n_outputs] for k in range(n_models)]

    def _of_every_model(
        self, term: Term, seen: list[cp.Expression], users: Mapping[str, cp.Parameter]
    ) -> tuple[list[cp.Constraint], cp.Expression]:
        """State a term for every model: all constraints, and the mean cost; what lacks y once."""
        first, price = term.expressions(seen[0], self.u, users)
        others = [term.expressions(y, self.u, users) for y in seen[1:]]
        constraints = first + [one for added, _ in others for one in added if self._leads_to(one)]
        if others and self._leads_to(price):
            for _, own in others:
                price += own
            price /= len(seen)
        return constraints, price

    def _leads_to(self, expression: cp.Expression | cp.Constraint) -> bool:
        return any(variable is not self.u for variable in expression.variables())

    def _cost(self, w: Weights) -> cp.Expression:
        cost: cp.Expression = _squares(self.y - self._reference, w.Q)
        cost += _squares(self.u - self._input_reference, w.R)
        # Both variables occur, even where nothing weighs them.
        cost += multiply(self.y, w.linear_output).sum() + multiply(self.u, w.linear_input).sum()
        if w.S.any():
            cost += _squares(self.rates, w.S)
        if w.terminal.any():
            last = self.y[-1:] - self._reference[-1:]
            if len(w.terminal) > last.shape[1]:  # what is to come depends on the last input, too
                last = hstack([last, self.u[-1:] - self._input_reference[-1:]])
            cost += _squares(last, w.terminal[None])
        return cost


def _bounded(w: Weights, y: cp.Expression, u: cp.Expression, rates: cp.Expression) -> Limits:
    """Collect all bounds; a polytope's row is soft if an output in it is."""
    rows, N = Limits(), len(w.Q)
    rows.bound("bound of input", u, w.input_bounds)
    rate = np.stack([w.rate_bounds] * N)
    rows.bound("rate bound of input", rates, np.stack([-rate, rate]))
    rows.bound("bound of output", y, w.output_bounds, w.soft, w.slack_weight, first=1)
    G_y, G_u, g = w.polytope
    involved = (G_y != 0.0) & w.soft
    if w.priced_by_units:
        with np.errstate(divide="ignore", invalid="ignore"):
            of_row = w.slack_weight[:, None] / np.stack([np.abs(G_y), G_y**2])
        prices = np.where(involved, of_row, np.inf).min(axis=2, initial=np.inf)
        prices = np.where(involved.any(axis=1), prices, 0.0)
    else:
        prices = np.where(involved, w.slack_weight[:, None], 0.0).max(axis=2, initial=0.0)
    if g.size:
        inside, soft = y @ G_y.T + u @ G_u.T, involved.any(axis=1)
        rows.bound(
            "side of polytope row",
            inside,
            np.stack([np.full_like(g, -np.inf), g]),
            soft,
            prices,
            first=1,
        )
    return rows


def _squares(expression: cp.Expression, weights: Array) -> cp.Expression:
    """Sum of e_k' W_k e_k over the rows e_k of an expression, for weights of shape (N, k, k)."""
    roots = sp.csr_array(sp.block_diag([sp.csr_array(_root(W)) for W in weights]))
    weighed = expression.flatten(order="C")
    cost: cp.Expression = sum_squares(roots @ weighed) if roots.shape[0] else cp.Constant(0.0)
    return cost


def _root(weight: Array) -> Array:
    """Find L with L'L = W, without rows of zeros."""
    scaled, unit = balanced(weight)
    values, vectors = np.linalg.eigh(scaled)  # unit vectors, exactly, where the weight is diagonal
    kept = values > 0.0
    return np.asarray((vectors[:, kept] * np.sqrt(values[kept])).T * unit)
