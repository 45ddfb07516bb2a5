"""The user's own cost terms and constraints, in CVXPY expressions of y, u and named parameters."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, MutableMapping
from dataclasses import dataclass
from types import SimpleNamespace
from typing import Any, Literal

import cvxpy as cp
import numpy as np
from numpy.typing import ArrayLike

from koopman_control.common.arrays import Array, finite_array
from koopman_control.common.border import shown

Build = Callable[[cp.Expression, cp.Expression, Any], Any]


class Parameters(MutableMapping[str, Array]):
    """Values of the user's parameters by name; set one to change the problem from the next step on.

    Shapes and signs were settled when a parameter was declared.

    Example:
        >>> mpc = mpc.constrain(lambda y, u, p: y[:, 0] <= p.limit, limit=0.3)  # doctest: +SKIP
        >>> mpc.parameters["limit"] = 0.2  # doctest: +SKIP
    """

    def __init__(self) -> None:
        self._values: dict[str, Array] = {}
        self._signs: dict[str, dict[str, bool]] = {}
        self._theta: Array | None = None  # stacked once, then used at every step

    def with_more(self, given: Mapping[str, ArrayLike | cp.Parameter]) -> Parameters:
        """Declare further parameters in a copy.

        Raises:
            ValueError: If a name is taken, or a value missing, not finite or of the wrong sign.
        """
        more = Parameters()
        more._values, more._signs = dict(self._values), dict(self._signs)
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
            more._values[name] = finite_array(f"parameter {name!r}", value).copy()
            if not more._values[name].size:
                raise ValueError(f"parameter {name!r} is empty; expected at least one number")
        return more

    def declared(self) -> dict[str, cp.Parameter]:
        """Make a CVXPY parameter for each, in the order in which `theta` stacks them."""
        return {
            name: cp.Parameter(value.shape, name=name, **self._signs[name])
            for name, value in self._values.items()
        }

    def theta(self) -> Array:
        """Stack all values, row after row."""
        if self._theta is None:
            rows = [value.ravel() for value in self._values.values()]
            self._theta = np.concatenate([np.zeros(0), *rows])
        return self._theta

    def __getitem__(self, name: str) -> Array:
        """Return a copy of a value."""
        return self._values[self._known(name)].copy()

    def __setitem__(self, name: str, value: ArrayLike) -> None:
        """Set a value of the declared shape and sign."""
        shape = self._values[self._known(name)].shape
        given = finite_array(f"parameter {name!r}", value, shape=shape)
        signs = self._signs[name]
        if (signs.get("nonneg") and np.any(given < 0.0)) or (
            signs.get("nonpos") and np.any(given > 0.0)
        ):
            declared = "nonneg" if signs["nonneg"] else "nonpos"
            raise ValueError(f"parameter {name!r} is {given.tolist()}; declared as {declared}")
        self._values[name], self._theta = given.copy(), None

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


@dataclass(frozen=True)
class Term:
    """A cost term or constraints, as a function of y (N, d), u (N, m) and the parameters.

    Args:
        kind: Which of the two; also what the user called.
        build: The function.
    """

    kind: Literal["constrain", "penalize"]
    build: Build

    def stated(
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
