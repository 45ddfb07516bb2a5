"""CVXPY's standard form of a problem, read through its public interface.

CVXPY says what q, A, ... are (`get_problem_data`) but not where in them a variable or a constraint
went. That is found by handing it a made-up answer, x = (0, 1, 2, ...) and multipliers (1, 2, ...),
and seeing which numbers arrive where.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from types import SimpleNamespace
from typing import Any

import cvxpy as cp
import numpy as np

from koopman_control.common.arrays import Array, Index
from koopman_control.mpc.compilation.checks import constraint_name

SOLVER = "OSQP"  # the standard form asked of CVXPY; must not change between calls


class Canonical:
    """A problem that hands out its standard form at any parameters.

    Args:
        problem: The user's problem; its status stays as it is.
        parameters: Its parameters; theta stacks their entries, row after row.
    """

    def __init__(self, problem: cp.Problem, parameters: Sequence[cp.Parameter]) -> None:
        self._problem = cp.Problem(problem.objective, problem.constraints)
        self._parameters = parameters

    @contextmanager
    def values_kept(self) -> Iterator[None]:
        """Give parameters, variables and multipliers their values back afterwards."""
        problem = self._problem
        duals = [dual for c in problem.constraints for dual in c.dual_variables]
        leaves: list[Any] = [*problem.variables(), *self._parameters, *duals]
        values = [leaf.value for leaf in leaves]
        try:
            yield
        finally:
            for leaf, value in zip(leaves, values, strict=True):
                leaf.save_value(value)

    def data(self, theta: Array) -> dict[str, Any]:
        """Return P, q, A, b, F, G at parameters (t,), and `offset`, the cost left out, (1,)."""
        start = 0
        for parameter in self._parameters:
            own = theta[start : start + parameter.size].reshape(parameter.shape)
            parameter.save_value(own)  # unlike `value`, it may be out of the declared bounds
            start += parameter.size
        data, *way_back = self._problem.get_problem_data(SOLVER, enforce_dpp=True)
        n, n_rows = len(data["q"]), len(data["b"]) + len(data["G"])
        self._unpack(np.zeros(n), np.zeros(n_rows), way_back)
        sign = -1.0 if isinstance(self._problem.objective, cp.Maximize) else 1.0
        return {**data, "offset": np.array([sign * self._problem.solution.opt_val])}

    def places(self, data: dict[str, Any]) -> tuple[dict[str, Index], list[str]]:
        """Find where variables lie in x, and name the rows of [A; F] that are constraints.

        Returns:
            Columns by variable, in the variables' shapes; a name per row, "" where CVXPY added it.
        """
        _, *way_back = self._problem.get_problem_data(SOLVER, enforce_dpp=True)
        n, n_rows = len(data["q"]), len(data["b"]) + len(data["G"])
        with self._unprojected():
            self._unpack(np.arange(n, dtype=float), np.arange(1.0, n_rows + 1.0), way_back)
        columns = {v.name(): _counted(v.value) for v in self._problem.variables()}
        names = [""] * n_rows
        for i, constraint in enumerate(self._problem.constraints):
            name = constraint_name(constraint, i)
            for dual in constraint.dual_variables:
                for entry, row in np.ndenumerate(np.abs(_counted(dual.value))):
                    names[row - 1] = entry_name(name, entry)
        return columns, names

    @contextmanager
    def _unprojected(self) -> Iterator[None]:
        """Keep CVXPY from moving a made-up answer into the bounds that variables declare."""
        variables: list[Any] = self._problem.variables()
        for variable in variables:
            variable.project = lambda value, **_: value
        try:
            yield
        finally:
            for variable in variables:
                del variable.project

    def _unpack(self, x: Array, y: Array, way_back: Sequence[Any]) -> None:
        info = SimpleNamespace(
            status_val=1, status="solved", run_time=0.0, setup_time=0.0, iter=0, obj_val=0.0
        )
        self._problem.unpack_results(SimpleNamespace(x=x, y=y, info=info), *way_back)


def entry_name(name: str, entry: tuple[int, ...]) -> str:
    """Name one entry of an array: "x[2, 0]", or "x" for a number."""
    return f"{name}[{', '.join(map(str, entry))}]" if entry else name


def _counted(values: Any) -> Index:
    return np.asarray(np.rint(values), dtype=np.int64)
