"""Random programs, stated in CVXPY with parameters: what `compile_qp` is for."""

from __future__ import annotations

from typing import Any

import cvxpy as cp
import numpy as np

from koopman_control.common.arrays import Array

atoms: Any = cp  # CVXPY's atoms carry no type information
DECLARED = ("", "", "nonneg", "nonpos", "bounds")


class Statement:
    """A random linear or quadratic program with up to three variables and parameters.

    Args:
        seed: Seed of everything.

    Attributes:
        problem: The program, in minimisation or maximisation.
        parameters: Its parameters.
        wanted: Variables to be kept in the compiled program.
    """

    def __init__(self, seed: int) -> None:
        self._rng = rng = np.random.default_rng(seed)
        self._variables = [self._variable(f"v{i}") for i in range(rng.integers(1, 4))]
        self.parameters = [
            cp.Parameter(self._shape(1), f"p{i}", nonneg=bool(rng.integers(2)))
            for i in range(rng.integers(4))
        ]
        constraints = [held for _ in range(rng.integers(4)) for held in self._constraint()]
        cost = self._cost()
        if rng.random() < 0.4:
            price, broken = self._priced()
            cost, constraints = cost + price, constraints + broken
        goal = cp.Maximize(-cost) if rng.random() < 0.2 else cp.Minimize(cost)
        self.problem = cp.Problem(goal, constraints)
        occurring = {variable.id for variable in self.problem.variables()}
        self.wanted = [v for v in self._variables if v.id in occurring and rng.integers(2)]

    def vary(self) -> dict[str, Array]:
        """Give the parameters other values; return them by name."""
        for parameter in self.parameters:
            value = np.asarray(self._rng.normal(size=parameter.shape))
            parameter.value = np.abs(value) if parameter.is_nonneg() else value
        return {parameter.name(): np.array(parameter.value) for parameter in self.parameters}

    def _variable(self, name: str) -> cp.Variable:
        shape, declared = self._shape(2), DECLARED[self._rng.integers(len(DECLARED))]
        if declared == "bounds":
            return cp.Variable(shape, name, bounds=[np.full(shape, -2.0), np.full(shape, 1.5)])
        return cp.Variable(shape, name, **{declared: True} if declared else {})

    def _shape(self, n_axes: int) -> tuple[int, ...]:
        return tuple(int(n) for n in self._rng.integers(1, 4, self._rng.integers(n_axes + 1)))

    def _affine(self, size: int) -> Any:
        """Draw an expression of shape (size,) of some variables and parameters."""
        rng = self._rng
        drawn = [v for v in self._variables if rng.random() < 0.6] or [self._variables[0]]
        drawn += [p for p in self.parameters if rng.random() < 0.6]
        expression: Any = cp.Constant(rng.normal(size=size))
        for leaf in drawn:
            kept = rng.random((size, leaf.size)) < rng.choice([0.5, 1.0])
            order = "CF"[rng.integers(2)]
            expression += (kept * rng.normal(size=kept.shape)) @ atoms.vec(leaf, order=order)
        return expression

    def _term(self) -> Any:
        """Draw a convex term of the cost."""
        rng, size = self._rng, int(self._rng.integers(1, 4))
        e, kind = self._affine(size), int(self._rng.integers(9))
        if kind == 0:
            return atoms.sum_squares(e)
        if kind == 1:
            x = atoms.vec(self._variables[0], order="C")
            root = rng.normal(size=(size, x.size))
            return atoms.quad_form(x, atoms.psd_wrap(root.T @ root))
        if kind == 2:
            return atoms.norm_inf(e)
        if kind == 3:
            return atoms.max(e)
        if kind == 4:
            return atoms.sum(atoms.pos(e))
        if kind == 5:
            return atoms.sum(atoms.huber(e, float(rng.uniform(0.2, 2.0))))
        if kind == 6:
            return atoms.sum(atoms.maximum(e, self._affine(size)))
        return atoms.norm1(e) if kind == 7 else atoms.sum(e)

    def _cost(self) -> Any:
        """Draw squares of most variables, and further terms."""
        rng = self._rng
        cost: Any = sum(
            float(rng.choice([0.01, 1.0, 10.0])) * atoms.sum_squares(variable)
            for variable in self._variables
            if rng.random() < 0.8
        )
        for _ in range(rng.integers(1, 4)):
            cost += float(10.0 ** rng.uniform(-2.0, 2.0)) * self._term()
        return cost

    def _constraint(self) -> list[Any]:
        rng, kind = self._rng, int(self._rng.integers(6))
        e = self._affine(int(rng.integers(1, 4)))
        if kind == 0:
            return [e <= rng.uniform(0.0, 3.0, e.size)]
        if kind == 1:
            return [e[0] == float(rng.normal())]
        if kind == 2:
            return [atoms.norm1(e) <= float(rng.uniform(1.0, 6.0))]
        if kind == 3:
            return [atoms.norm_inf(e) <= float(rng.uniform(1.0, 4.0))]
        return [e <= 1.0, e >= -1.0] if kind == 4 else [e >= -rng.uniform(0.0, 3.0, e.size)]

    def _priced(self) -> tuple[Any, list[Any]]:
        """Draw a bound that may be broken at a price, from one side or both."""
        rng = self._rng
        slack = cp.Variable(int(rng.integers(1, 3)), "slack", nonneg=True)
        e = self._affine(slack.size)
        price = float(rng.uniform(0.1, 10.0)) * atoms.sum(slack)
        if rng.random() < 0.7:
            price += float(rng.uniform(0.1, 10.0)) * atoms.sum_squares(slack)
        both = [-e <= slack + 0.1] if rng.integers(2) else []
        return price, [e <= slack, *both]
