"""A CVXPY problem as a quadratic program whose vectors are affine in its parameters.

CVXPY's rules for parametrised problems (DPP) make costs and right-hand sides affine functions of
the parameters. So the map is found exactly by canonicalising at zero and at every unit vector,
through CVXPY's public interface only; two random points check it.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from types import SimpleNamespace
from typing import Any

import cvxpy as cp
import numpy as np
import scipy.sparse as sp

from koopman_control.common.arrays import Array
from koopman_control.mpc.maps import AffineMap, AffineQP, Index, QuadraticMap

SOLVER = "OSQP"  # the standard form asked of CVXPY; must not change between calls


def affine_qp(
    problem: cp.Problem,
    parameters: Sequence[cp.Parameter],
    variables: Sequence[cp.Variable],
) -> AffineQP:
    """Extract the parametrised quadratic program behind a CVXPY problem.

    Args:
        problem: A problem that follows CVXPY's rules for parameters (DPP) and is a quadratic
            program. A maximisation is turned into the minimisation of the negative cost.
        parameters: All its parameters; theta stacks their entries, row after row.
        variables: Variables whose place in x is wanted.

    Returns:
        The program.

    Raises:
        ValueError: If the problem is not convex, not DPP, not a quadratic program, or has other
            parameters or variables than those given.
    """
    _check(problem, parameters, variables)
    # A fresh problem, so that the user's keeps its status, with the same expressions.
    problem = cp.Problem(problem.objective, problem.constraints)
    units = np.concatenate([np.zeros(0), *(_direction(p) for p in parameters)])
    with _values_kept([*problem.parameters(), *problem.variables()]):
        base = _data_at(problem, parameters, np.zeros(len(units)))
        moved = [_data_at(problem, parameters, theta) for theta in np.diag(units)]
        maps = {
            key: _affine(base[key], [data[key] for data in moved], units)
            for key in ("q", "offset", "b", "G")
        }
        _verify(problem, parameters, units, base, maps)
        columns = _columns(problem, variables, base)
    offset = maps["offset"]
    return AffineQP(
        P=_symmetric(base["P"]),
        q=maps["q"],
        c=QuadraticMap(
            float(offset.constant[0]),
            offset.matrix.toarray()[0],
            np.zeros((len(units), len(units))),
        ),
        E=sp.csr_array(base["A"]),
        b=maps["b"],
        F=sp.csr_array(base["F"]),
        g=maps["G"],
        columns=columns,
    )


def theta_of(parameters: Sequence[cp.Parameter]) -> Array:
    """Stack the current values of parameters, row after row."""
    values = [np.ravel(np.asarray(p.value, dtype=np.float64)) for p in parameters]
    return np.concatenate([np.zeros(0), *values])


def _check(
    problem: cp.Problem, parameters: Sequence[cp.Parameter], variables: Sequence[cp.Variable]
) -> None:
    if not problem.is_dcp():
        raise ValueError("the problem is not convex by CVXPY's rules (DCP); rewrite its cost")
    if not problem.is_dpp():
        raise ValueError(
            "the problem multiplies parameters by parameters or nonlinear terms (it is not DPP); "
            "introduce a parameter for the product"
        )
    if not problem.is_qp():
        raise ValueError("the problem is not a quadratic program; solve it through CVXPY itself")
    if problem.is_mixed_integer():
        raise ValueError("the problem has integer variables; expected continuous ones")
    unknown = sorted({p.name() for p in problem.parameters()} - {p.name() for p in parameters})
    if unknown:
        raise ValueError(f"the problem has parameters {unknown} that were not listed; list them")
    absent = sorted({v.name() for v in variables} - {v.name() for v in problem.variables()})
    if absent:
        raise ValueError(f"variables {absent} do not occur in the problem; expected those that do")


@contextmanager
def _values_kept(leaves: Sequence[Any]) -> Iterator[None]:
    """Give parameters and variables their values back afterwards."""
    values = [leaf.value for leaf in leaves]
    try:
        yield
    finally:
        for leaf, value in zip(leaves, values, strict=True):
            leaf.save_value(value)


def _direction(parameter: cp.Parameter) -> Array:
    """Choose unit steps that stay within a parameter's declared sign."""
    return np.full(parameter.size, -1.0 if parameter.is_nonpos() else 1.0)


def _data_at(
    problem: cp.Problem, parameters: Sequence[cp.Parameter], theta: Array
) -> dict[str, Any]:
    """Canonicalise the problem at given parameters; `offset` is the cost it leaves out, (1,)."""
    start = 0
    for parameter in parameters:
        parameter.value = theta[start : start + parameter.size].reshape(parameter.shape)
        start += parameter.size
    data, chain, inverse_data = problem.get_problem_data(SOLVER, enforce_dpp=True)
    zero = np.zeros(len(data["q"]))
    problem.unpack_results(_answer(zero, data), chain, inverse_data)
    sign = -1.0 if isinstance(problem.objective, cp.Maximize) else 1.0
    return {**data, "offset": np.array([sign * problem.solution.opt_val])}


def _answer(x: Array, data: dict[str, Any]) -> SimpleNamespace:
    """Dress x up as an answer of the solver with cost zero."""
    info = SimpleNamespace(
        status_val=1, status="solved", run_time=0.0, setup_time=0.0, iter=0, obj_val=0.0
    )
    return SimpleNamespace(x=x, y=np.zeros(len(data["b"]) + len(data["G"])), info=info)


def _affine(constant: Array, values: list[Array], units: Array) -> AffineMap:
    base = np.asarray(constant, dtype=np.float64)
    slopes = (np.array(values).reshape(len(units), len(base)) - base) / units[:, None]
    return AffineMap(base, sp.csr_array(slopes.T))


def _verify(
    problem: cp.Problem,
    parameters: Sequence[cp.Parameter],
    units: Array,
    base: dict[str, Any],
    maps: dict[str, AffineMap],
) -> None:
    """Compare the maps with CVXPY at two random points; matrices must not depend on parameters."""
    rng = np.random.default_rng(0)
    for _ in range(2):
        theta = units * rng.uniform(0.5, 2.0, len(units))
        data = _data_at(problem, parameters, theta)
        moved = any(_differ(data[key], base[key]) for key in ("P", "A", "F"))
        wrong = any(not np.allclose(m(theta), data[key]) for key, m in maps.items())
        if moved or wrong:
            raise ValueError(
                "parameters multiply variables in a quadratic term or a constraint, so the "
                "compiled problem would change its matrices; make them constants or solve through "
                "CVXPY"
            )


def _differ(M: Any, base: Any) -> bool:
    difference = sp.csr_array(M) - sp.csr_array(base)
    return bool(np.any(difference.data != 0.0))


def _symmetric(P: Any) -> sp.csr_array:
    """Fill in the lower triangle if the solver interface gave the upper one only."""
    P = sp.csr_array(P)
    if sp.tril(P, -1).nnz == 0:
        P = P + sp.triu(P, 1).T
    return sp.csr_array(P)


def _columns(
    problem: cp.Problem, variables: Sequence[cp.Variable], base: dict[str, Any]
) -> dict[str, Index]:
    """Find variables in x by unpacking the solution x = (0, 1, 2, ...)."""
    _, chain, inverse_data = problem.get_problem_data(SOLVER, enforce_dpp=True)
    counted = np.arange(len(base["q"]), dtype=np.float64)
    problem.unpack_results(_answer(counted, base), chain, inverse_data)
    return {v.name(): np.rint(np.asarray(v.value)).astype(np.int64) for v in variables}
