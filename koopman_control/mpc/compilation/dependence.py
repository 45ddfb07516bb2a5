"""How the vectors of CVXPY's standard form depend on the parameters.

CVXPY's rules for parametrised problems (DPP) make costs and right-hand sides affine functions of
the parameters. CVXPY keeps these maps; where they cannot be read, they are found as exactly by
canonicalising at zero and at every unit vector. Either way two random points check them.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import cvxpy as cp
import numpy as np
import scipy.sparse as sp

from koopman_control.common.arrays import Array, Index
from koopman_control.mpc.compilation.canonical import Canonical
from koopman_control.mpc.compilation.maps import AffineMap

Maps = dict[str, AffineMap]


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
        and np.allclose(m(theta), data[key], rtol=1e-9, atol=1e-12)
        for theta, data in found
        for key, m in maps.items()
    )


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
