"""A CVXPY problem as a quadratic program whose vectors are affine in its parameters.

CVXPY's standard form is read through its public interface; what cannot be compiled is named.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from types import SimpleNamespace
from typing import Any

import cvxpy as cp
import numpy as np
import scipy.sparse as sp
from cvxpy.atoms.affine.add_expr import AddExpression

from koopman_control.common.arrays import Array, Index
from koopman_control.mpc.compile.program import AffineMap, AffineQP, QuadraticMap, Recovery

LONGEST = 80  # characters of an expression that an error shows
PLAIN = ("nonneg", "nonpos", "pos", "neg", "bounds")  # what parameters may declare
KNOWN = (*PLAIN, "symmetric")  # what variables may


def check_problem(
    problem: cp.Problem, parameters: Sequence[cp.Parameter], variables: Sequence[cp.Variable]
) -> None:
    """Check that a problem can become a quadratic program with constant matrices.

    Raises:
        ValueError: It cannot; the message names the cost term or constraint and what to do.
    """
    if not problem.variables():
        raise ValueError("the problem has no variables; expected at least one to solve for")
    _check_part(
        problem,
        cp.Problem.is_dcp,
        "is not convex by CVXPY's rules (DCP)",
        "rewrite it; a parameter that multiplies a convex term must be declared nonneg=True",
    )
    _check_part(
        problem,
        cp.Problem.is_dpp,
        "multiplies parameters by parameters or by nonlinear terms of them (it is not DPP)",
        "introduce a parameter for the product",
    )
    _check_part(
        problem,
        cp.Problem.is_qp,
        "is not a quadratic program",
        "use linear and quadratic terms, abs, max, norm1, norm_inf or huber, or solve it through "
        "CVXPY itself",
    )
    integer = [v.name() for v in problem.variables() if _is_integer(v)]
    if integer:
        raise ValueError(
            f"the problem has integer variables {integer}; expected continuous ones: relax them to "
            "bounds, or solve it through CVXPY itself"
        )
    _check_leaves(problem, parameters, variables)


def _check_part(
    problem: cp.Problem, holds: Callable[[cp.Problem], bool], trouble: str, remedy: str
) -> None:
    if holds(problem):
        return
    culprit = next((name for name, part in _parts(problem) if not holds(part)), "the problem")
    raise ValueError(f"{culprit} {trouble}; {remedy}")


def _parts(problem: cp.Problem) -> Iterator[tuple[str, cp.Problem]]:
    """Cost terms and constraints, each as a problem of its own."""
    goal = problem.objective
    cost = goal.args[0]
    terms = cost.args if isinstance(cost, AddExpression) else [cost]
    for i, term in enumerate(terms):
        yield f"term {i} of the cost, {_shortened(term)},", cp.Problem(type(goal)(term))
    for i, constraint in enumerate(problem.constraints):
        name = f"{constraint_name(constraint, i)}, {_shortened(constraint)},"
        yield name, cp.Problem(cp.Minimize(0.0), [constraint])


def constraint_name(constraint: Any, position: int) -> str:
    """The constraint's label, or its position in the problem."""
    label = getattr(constraint, "label", None)  # CVXPY 1.7 and newer
    return str(label) if label else f"constraint {position}"


def _shortened(expression: Any) -> str:
    text = " ".join(str(expression).split())
    return text if len(text) <= LONGEST else text[: LONGEST - 3] + "..."


def _is_integer(variable: cp.Variable) -> bool:
    return bool(variable.attributes["boolean"] or variable.attributes["integer"])


def _check_leaves(
    problem: cp.Problem, parameters: Sequence[cp.Parameter], variables: Sequence[cp.Variable]
) -> None:
    """Check that leaves are known, plain, and can be told apart by name."""
    for kind, leaves in (("parameters", parameters), ("variables", problem.variables())):
        twice = sorted(name for name, n in Counter(v.name() for v in leaves).items() if n > 1)
        if twice:
            raise ValueError(f"several {kind} are named {twice}; give each a name of its own")
    unknown = _not_among(problem.parameters(), parameters)
    if unknown:
        raise ValueError(
            f"the problem has parameters {unknown} that were not listed; list these very objects"
        )
    absent = _not_among(variables, problem.variables())
    if absent:
        raise ValueError(
            f"variables {absent} do not occur in the problem; expected the objects it is stated in"
        )
    _check_declared("parameter", parameters, PLAIN)
    _check_declared("variable", problem.variables(), KNOWN)


def _not_among(leaves: Iterable[Any], others: Iterable[Any]) -> list[str]:
    """Names of leaves that are not among others; objects count: equal names do not make one."""
    known = {leaf.id for leaf in others}
    return sorted({leaf.name() for leaf in leaves if leaf.id not in known})


def _check_declared(kind: str, leaves: Sequence[cp.Variable | cp.Parameter], known: Any) -> None:
    for leaf in leaves:
        declared = [k for k, v in leaf.attributes.items() if v and k not in known]
        if declared:
            raise ValueError(
                f"{kind} {leaf.name()!r} is declared {', '.join(declared)}; expected one without, "
                f"or with {', '.join(known)}: state the rest as constraints, or by indexing"
            )


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


Maps = dict[str, AffineMap]
SAME = 1e-9  # relative


def parameter_maps(
    canonical: Canonical, parameters: Sequence[cp.Parameter], base: dict[str, Any]
) -> Maps:
    """Find q, b, G and the cost's offset as functions of theta.

    Args:
        canonical: The problem's standard form.
        parameters: Its parameters.
        base: The standard form at theta = 0.

    Raises:
        ValueError: If matrices depend on parameters.
    """
    points = np.random.default_rng(0).uniform(0.5, 2.0, (2, sum(p.size for p in parameters)))
    found = [(theta, canonical.data(theta)) for theta in points]
    if any(_moved(data, base) for _, data in found):
        raise ValueError(
            f"parameters {_movers(canonical, parameters, points[0], base)} multiply variables in a "
            "quadratic term or a constraint, so the compiled problem would change its matrices; "
            "make them constants and compile again when they change, or solve through CVXPY"
        )
    maps = _read(base, parameters)
    if maps is None or not _agree(maps, found):
        maps = _probed(canonical, base, points.shape[1])
        if not _agree(maps, found):
            raise ValueError(
                "this version of CVXPY does not return costs and bounds that are affine in the "
                "parameters; update CVXPY, or solve through it directly"
            )
    return maps


def _read(base: dict[str, Any], parameters: Sequence[cp.Parameter]) -> Maps | None:
    """Take the maps from where CVXPY keeps them, if this version keeps them there."""
    try:
        program = base["param_prob"]
        cost, columns = sp.csr_array(program.q), program.param_id_to_col
        order = np.concatenate([np.zeros(0, np.int64), *(_entries(p, columns) for p in parameters)])
        n_equal, n_rows = len(base["b"]), len(base["b"]) + len(base["G"])
        sides = sp.csr_array(program.A)
        sides = sides[sides.shape[0] - n_rows :]  # the columns before hold the rows' matrix
        last = columns[-1]
        maps = {"q": (cost[:-1], 1.0), "offset": (cost[-1:], 1.0)}
        maps |= {"b": (sides[:n_equal], -1.0), "G": (sides[n_equal:], 1.0)}
        return {
            key: AffineMap(sign * M[:, [last]].toarray()[:, 0], _picked(sign * M, order))
            for key, (M, sign) in maps.items()
        }
    except (AttributeError, KeyError, IndexError, TypeError, ValueError):
        return None  # another version of CVXPY: the maps are probed instead


def _entries(parameter: cp.Parameter, columns: dict[int, int]) -> Index:
    """Columns of a parameter's entries, row after row; CVXPY stacks column after column.

    A parameter that nothing depends on has none, -1.
    """
    if parameter.id not in columns:
        return np.full(parameter.size, -1)
    count = np.arange(parameter.size, dtype=np.int64).reshape(parameter.shape, order="F")
    return np.asarray(columns[parameter.id] + count.ravel())


def _picked(M: Any, columns: Index) -> sp.csr_array:
    """Pick columns; zeros where the column is -1."""
    picked: Any = M[:, columns] @ sp.diags_array(np.where(columns < 0, 0.0, 1.0))
    picked.eliminate_zeros()
    return sp.csr_array(picked)


def _probed(canonical: Canonical, base: dict[str, Any], n_parameters: int) -> Maps:
    moved = [canonical.data(theta) for theta in np.eye(n_parameters)]
    return {
        key: _affine(base[key], [data[key] for data in moved]) for key in ("q", "offset", "b", "G")
    }


def _affine(constant: Array, values: list[Array]) -> AffineMap:
    base = np.asarray(constant, dtype=np.float64)
    slopes = np.array(values).reshape(len(values), len(base)) - base
    return AffineMap(base, sp.csr_array(slopes.T))


def _agree(maps: Maps, found: list[tuple[Array, dict[str, Any]]]) -> bool:
    return all(
        m.constant.shape == data[key].shape
        and bool(np.all(np.abs(m(theta) - data[key]) <= SAME * _size(m, theta)))
        for theta, data in found
        for key, m in maps.items()
    )


def _size(map: AffineMap, theta: Array) -> Array:
    """Size of what a map's values are made of, which rounding is relative to."""
    return np.asarray(np.abs(map.constant) + abs(map.matrix) @ np.abs(theta))


def _moved(data: dict[str, Any], base: dict[str, Any]) -> bool:
    return any(_differ(data[key], base[key]) for key in ("P", "A", "F"))


def _differ(M: Any, base: Any) -> bool:
    difference = sp.csr_array(M) - sp.csr_array(base)
    return bool(np.any(difference.data != 0.0))


def _movers(
    canonical: Canonical, parameters: Sequence[cp.Parameter], theta: Array, base: dict[str, Any]
) -> list[str]:
    """Name the parameters that move the matrices."""
    owner = np.repeat(np.arange(len(parameters)), [p.size for p in parameters])
    moved = (_moved(canonical.data(theta * (owner == i)), base) for i in range(len(parameters)))
    return [p.name() for p, moves in zip(parameters, moved, strict=True) if moves]


SHOWN = 3  # entries that the name of a row without origin lists


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
        variables: Variables to be kept in x.

    Returns:
        The program.

    Raises:
        ValueError: If the problem is not convex, not DPP, not a quadratic program, or has other
            parameters or variables than those given.
    """
    check_problem(problem, parameters, variables)
    n_parameters = sum(p.size for p in parameters)
    canonical = Canonical(problem, parameters)
    with canonical.values_kept():
        base = canonical.data(np.zeros(n_parameters))
        maps = parameter_maps(canonical, parameters, base)
        columns, names = canonical.places(base)
    E, F = sp.csr_array(base["A"]), sp.csr_array(base["F"])
    names = _named(names, sp.csr_array(sp.vstack([E, F])), columns)
    offset = maps["offset"]
    linear = offset.matrix.toarray()[0]
    return AffineQP(
        P=sp.csr_array(base["P"]),
        q=maps["q"],
        c=QuadraticMap(float(offset.constant[0]), linear, np.zeros((n_parameters, n_parameters))),
        E=E,
        b=maps["b"],
        F=F,
        g=maps["G"],
        columns={v.name(): columns[v.name()] for v in variables},
        names=(tuple(names[: E.shape[0]]), tuple(names[E.shape[0] :])),
        recovery=Recovery.of(columns, len(base["q"]), n_parameters),
    )


def _named(names: list[str], rows: sp.csr_array, columns: dict[str, Index]) -> list[str]:
    """Name the rows that CVXPY added after the entries of the user's variables in them."""
    owners = {int(j): entry_name(v, e) for v, c in columns.items() for e, j in np.ndenumerate(c)}
    named = []
    for i, name in enumerate(names):
        inside = [int(j) for j in rows.indices[rows.indptr[i] : rows.indptr[i + 1]]]
        known = sorted(owners[j] for j in inside if j in owners)
        kind = "bound of" if len(known) == len(inside) == 1 else "auxiliary row of"
        listed = ", ".join(known[:SHOWN]) + (", ..." if len(known) > SHOWN else "")
        named.append(name or f"{kind} {listed or 'the cost'}")
    return named
