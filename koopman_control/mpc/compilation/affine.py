"""A CVXPY problem as a quadratic program whose vectors are affine in its parameters."""

from __future__ import annotations

from collections.abc import Sequence

import cvxpy as cp
import numpy as np
import scipy.sparse as sp

from koopman_control.common.arrays import Index
from koopman_control.mpc.compilation.canonical import Canonical, entry_name
from koopman_control.mpc.compilation.checks import check_statement
from koopman_control.mpc.compilation.dependence import parameter_maps
from koopman_control.mpc.compilation.maps import AffineQP, QuadraticMap, Recovery

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
    check_statement(problem, parameters, variables)
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
