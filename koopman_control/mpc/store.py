"""Controllers on disk: one checked .npz with settings, model, and what was compiled.

Values are written by kind; a file names no other kind than those listed here, so that reading one
makes nothing but these. What was compiled is checked against what model and settings call for.
"""

from __future__ import annotations

import math
import operator
from collections.abc import Mapping, Sequence
from dataclasses import fields, is_dataclass
from typing import Any, TypeVar

import cvxpy as cp
import numpy as np
import scipy.sparse as sp

from koopman_control.common.arrays import finite_array, real_array
from koopman_control.common.border import shown
from koopman_control.common.files import PathLike, load_npz, refusing, save_npz
from koopman_control.identification.store import describe_model, rebuild_model
from koopman_control.mpc.compile.program import (
    AffineMap,
    Origin,
    ParametricQP,
    QuadraticMap,
    Recovery,
)
from koopman_control.mpc.compile.restated import CanonicalTerm
from koopman_control.mpc.controller import KoopmanMPC
from koopman_control.mpc.estimation import KalmanObserver, MovingHorizonEstimator, OffsetFree
from koopman_control.mpc.estimation.base import History
from koopman_control.mpc.estimation.kalman import ExtendedFilter, SteadyFilter, SteadyGain
from koopman_control.mpc.estimation.moving_horizon import MovingHorizon
from koopman_control.mpc.estimation.robust import RobustFilter
from koopman_control.mpc.planning.prediction import checked_models
from koopman_control.mpc.problem import Term, trust_terms
from koopman_control.mpc.settings import Blocks, Bounds, Cost, Inputs, Knots, Observed, Search, Tube
from koopman_control.mpc.settled import Settled
from koopman_control.mpc.solvers import SolverSettings
from koopman_control.mpc.units import Units
from koopman_control.mpc.weights import Weights

KIND, FORMAT_VERSION = "controller", 1
# Of settings, and of what follows from them or was compiled.
KINDS: dict[str, Any] = {
    kind.__name__: kind
    for kind in (
        *(Cost, Bounds, Search, Inputs, Blocks, Knots, Tube, Observed, SolverSettings),
        *(KalmanObserver, OffsetFree, MovingHorizonEstimator, SteadyGain),
        *(Weights, Units, ParametricQP, AffineMap, QuadraticMap, Recovery, Origin, CanonicalTerm),
    )
}
ESTIMATORS: dict[str, Any] = {
    kind.__name__: kind
    for kind in (History, SteadyFilter, ExtendedFilter, RobustFilter, MovingHorizon)
}
SETTINGS = (
    *("horizon", "cost", "bounds", "search", "inputs"),
    *("reference", "rollout", "estimator", "solver", "compiled"),
)
LONGEST_DELAY = 100_000  # steps; a file that says more would only take memory
K = TypeVar("K")


def write_controller(path: PathLike, mpc: KoopmanMPC) -> None:
    """Write a controller to a .npz file, replacing what was there."""
    values = Values({})
    models = []
    for i, model in enumerate(mpc._scenarios.models):
        settings, own = describe_model(model)
        models.append(settings)
        values.arrays |= {f"model/{i}/{name}": array for name, array in own.items()}
    found = {"weights": mpc._weights, "gain": mpc._gain, "units": mpc._units}
    content = {
        "models": models,
        "settings": {name: values.written(name, getattr(mpc, name)) for name in SETTINGS},
        "settled": {name: values.written(name, value) for name, value in found.items()},
        "estimators": [_described(values, each) for each in mpc._estimators],
        "parameters": [  # in their order, which JSON's objects do not keep
            [name, values.written("parameter", value), mpc.parameters._signs[name]]
            for name, value in mpc.parameters.items()
        ],
        "terms": [values.written("term", term) for term in _restated(mpc)],
        "qp": None if mpc._through_cvxpy else values.written("qp", mpc.qp),
    }
    save_npz(path, KIND, FORMAT_VERSION, values.arrays, content)


def _described(values: Values, estimator: Any) -> dict[str, Any]:
    """Describe an estimator by what it was made of."""
    name = type(estimator).__name__
    if ESTIMATORS.get(name) is not type(estimator):
        raise TypeError(
            f"estimator is a {name}, which cannot be saved to a file; expected None, a "
            "KalmanObserver, OffsetFree or MovingHorizonEstimator: make the controller again "
            "where it is needed"
        )
    settled = estimator.settled().items()
    return {"kind": name, "settled": {key: values.written(key, value) for key, value in settled}}


def _restated(mpc: KoopmanMPC) -> list[CanonicalTerm]:
    """Restate the terms that the user added."""
    N, d, m = mpc.horizon, mpc.model.coordinates.n_outputs, len(mpc._layout.controlled)
    found = []
    for i, term in enumerate(mpc._terms[len(trust_terms(mpc.model, mpc.cost.trust)) :]):
        if isinstance(term.build, CanonicalTerm):
            found.append(term.build)
            continue
        y, u = cp.Variable((N, d), name="y"), cp.Variable((N, m), name="u")
        known = mpc.parameters.in_cvxpy()
        constraints, cost = term.expressions(y, u, known)
        try:
            found.append(CanonicalTerm.of(cost, constraints, {"y": y, "u": u}, known))
        except ValueError as error:
            raise TypeError(
                f"term {i}, of {term.kind}, cannot be saved to a file, which holds quadratic "
                f"programs with constant matrices: {error}"
            ) from None
    return found


def read_controller(path: PathLike) -> KoopmanMPC:
    """Read what `write_controller` wrote."""
    arrays, content = load_npz(path, KIND, FORMAT_VERSION)
    with refusing(f"{path} does not hold a whole controller; make it again"):
        values = Values(arrays)
        models = [
            rebuild_model(settings, _under(f"model/{i}/", arrays))
            for i, settings in enumerate(content["models"])
        ]
        content["settings"].setdefault("compiled", values.written("compiled", False))
        settings = {name: values.read(content["settings"][name]) for name in SETTINGS}
        weights = values.of_kind(content["settled"]["weights"], Weights)
        if len(weights.Q) != settings["horizon"]:  # before anything of that length is made
            raise ValueError(f"horizon is {settings['horizon']} beside {len(weights.Q)} weights")
        if settings["inputs"].delay > LONGEST_DELAY:
            raise ValueError(f"delay is {settings['inputs'].delay}; expected {LONGEST_DELAY}")
        mpc: KoopmanMPC = object.__new__(KoopmanMPC)
        mpc._set(checked_models(models, settings["rollout"]), **settings)
        gain = values.read(content["settled"]["gain"])
        units = values.of_kind(content["settled"]["units"], Units)
        _check_settled(mpc, weights, gain, units)
        estimators = _estimators(values, content["estimators"], mpc)
        mpc._settle(Settled(weights, gain, units, estimators))
        mpc.parameters = mpc.parameters.with_more(
            {name: _declared(values.read(own), signs) for name, own, signs in content["parameters"]}
        )
        terms = (_checked_term(mpc, values.of_kind(t, CanonicalTerm)) for t in content["terms"])
        mpc._terms += tuple(Term("stored", term) for term in terms)
        if content["qp"] is not None:
            vars(mpc)["qp"] = _checked_program(mpc, values.of_kind(content["qp"], ParametricQP))
            mpc.parameters._restrict(mpc.qp)
        assert mpc._planner  # made now, and reset; what warms it up is left to the first reset
        return mpc


def _declared(value: Any, signs: Mapping[str, Any]) -> Any:
    """Return a parameter's value as it was first given: with signs, if any were declared."""
    return cp.Parameter(value.shape, value=value, **signs) if signs else value


def _estimators(values: Values, trees: Sequence[Any], mpc: KoopmanMPC) -> tuple[Any, ...]:
    """Rebuild the estimators: one for all models, or one for each."""
    models = mpc._scenarios.models
    shared = [tree["kind"] for tree in trees] == [History.__name__]  # it suits all of them
    if not shared and len(trees) != len(models):
        raise ValueError(f"there are {len(trees)} estimators for {len(models)} models")
    return tuple(
        ESTIMATORS[tree["kind"]](
            model, **{key: values.read(value) for key, value in tree["settled"].items()}
        )
        for tree, model in zip(trees, models, strict=False)
    )


def _check_settled(mpc: KoopmanMPC, w: Weights, gain: Any, units: Units) -> None:
    """Check that what follows from the settings has the sizes that it has to have."""
    N, m = mpc.horizon, len(mpc._layout.controlled)
    d, p, k = mpc.model.n_states, mpc._scenarios.n_outputs, len(w.polytope[2].T)
    finite = {"Q": (N, p, p), "R": (N, m, m), "S": (N, m, m), "slack_weight": (2, p)}
    finite |= {"linear_output": (N, p), "linear_input": (N, m)}
    for name, shape in finite.items():
        finite_array(name, getattr(w, name), shape=shape)
    last = p + m if len(w.terminal) > p else p
    finite_array("terminal", w.terminal, shape=(last, last))
    for name, bounds, size in (
        ("input_bounds", w.input_bounds, m),
        ("output_bounds", w.output_bounds, p),
    ):
        low, high = real_array(name, bounds, shape=(2, N, size))
        if (low > high).any():
            raise ValueError(f"{name} cross")
    real_array("rate_bounds", w.rate_bounds, shape=(m,))
    for name, rows, columns in zip(("G_y", "G_u"), w.polytope, (p, m), strict=False):
        finite_array(name, rows, shape=(k, columns))
    real_array("g", w.polytope[2], shape=(N, k))
    if w.soft.shape != (p,) or w.soft.dtype != np.bool_:
        raise ValueError("soft is no row of booleans")
    width = d if np.shape(gain)[1:] == (d,) else d + m
    finite_array("gain", gain, shape=(m, width))
    finite_array("units", units.states, shape=(p,))
    finite_array("units", units.inputs, shape=(m,))


def _checked_program(mpc: KoopmanMPC, qp: ParametricQP) -> ParametricQP:
    """Check that the parts of a compiled problem fit together, and to the controller."""
    N, m, p = mpc.horizon, len(mpc._layout.controlled), mpc._scenarios.n_outputs
    n, r, n0 = len(qp.P), len(qp.A), len(qp.recovery.shift.constant)
    t = N * p + N * m + m + len(mpc.parameters.theta)
    finite_array("P", qp.P, shape=(n, n))
    finite_array("A", qp.A, shape=(r, n))
    finite_array("cost", qp.constant.linear, shape=(t,))
    finite_array("cost", qp.constant.quadratic, shape=(t, t))
    sized = (qp.q, n), (qp.lower, r), (qp.upper, r), (qp.recovery.shift, n0)
    fits: list[Any] = [
        len(each.constant) == rows and each.matrix.shape == (rows, t) for each, rows in sized
    ]
    fits += [np.isfinite(each.matrix.data).all() for each, _ in sized]
    fits += [np.isfinite(qp.q.constant).all(), math.isfinite(qp.constant.constant)]
    fits += [qp.linear_weight.shape == qp.quadratic_weight.shape == (r,), len(qp.row_names) == r]
    fits += [qp.recovery.matrix.shape == (n0, n), qp.recovery.excess.shape == (n0, r)]
    u, y = qp.columns["u"], qp.columns["y"]
    places = np.append(u.ravel(), y.ravel())
    fits += [u.shape == (N, m), y.shape == (N, p), len(np.unique(places)) == len(places)]
    fits += [_within(places, n), *(_within(c, n0) for c in qp.recovery.columns.values())]
    if not all(map(bool, fits)):
        raise ValueError("the parts of the compiled problem do not fit together")
    return qp


def _checked_term(mpc: KoopmanMPC, term: CanonicalTerm) -> CanonicalTerm:
    """Check that the parts of a term fit together, and to the controller."""
    N, d, m = mpc.horizon, mpc.model.coordinates.n_outputs, len(mpc._layout.controlled)
    n, t, shapes = len(term.q.constant), len(mpc.parameters.theta), {"y": (N, d), "u": (N, m)}
    sized = (term.q, n), (term.c, 1), (term.b, term.E.shape[0]), (term.g, term.F.shape[0])
    fits: list[Any] = [each.constant.shape == (rows,) for each, rows in sized]
    fits += [sp.issparse(each.matrix) and each.matrix.shape == (rows, t) for each, rows in sized]
    fits += [sp.issparse(term.P) and term.P.shape == (n, n)]
    fits += [sp.issparse(rows) and rows.shape[1] == n for rows in (term.E, term.F)]
    fits += [places.shape == shapes[name] for name, places in term.columns.items()]
    placed = np.concatenate([np.zeros(0, np.int64), *map(np.ravel, term.columns.values())])
    fits += [_within(placed, n), len(np.unique(placed)) == len(placed)]
    fits += [term.parameters == tuple(mpc.parameters), len(term.names) == term.F.shape[0]]
    fits += [isinstance(name, str) for name in term.names]
    if not all(map(bool, fits)):
        raise ValueError("the parts of a term do not fit together")
    return term


def _within(places: Any, n: int) -> bool:
    """Whether these are places in a row of n."""
    return places.dtype.kind == "i" and bool(((places >= 0) & (places < n)).all())


def _under(prefix: str, arrays: Mapping[str, Any]) -> dict[str, Any]:
    return {k.removeprefix(prefix): a for k, a in arrays.items() if k.startswith(prefix)}


class Values:
    """Writes values as what JSON can hold, arrays beside it, and reads them again.

    Args:
        arrays: The arrays by name; more are added.
    """

    def __init__(self, arrays: dict[str, Any]) -> None:
        self.arrays = arrays

    def written(self, name: str, value: Any) -> Any:
        """Write a value of the kinds above, or made of numbers, texts, arrays and rows of these.

        Raises:
            TypeError: It is code, or of another kind.
        """
        if isinstance(value, np.generic):
            value = value.item()
        if value is None or isinstance(value, (bool, int, str)):
            return value
        if isinstance(value, float):
            return value if math.isfinite(value) else {"float": str(value)}
        kind = type(value).__name__
        if KINDS.get(kind) is type(value):
            return {"kind": kind, "fields": self._mapped(_fields(value))}
        if isinstance(value, sp.csr_array):
            parts = {"data": value.data, "indices": value.indices, "indptr": value.indptr}
            return {"csr": list(value.shape), "parts": self._mapped(parts)}
        if isinstance(value, Mapping):
            entries = [[key, self.written(name, entry)] for key, entry in value.items()]
            return {"mapping": entries}
        if isinstance(value, tuple):
            return {"tuple": [self.written(name, entry) for entry in value]}
        if isinstance(value, list) and all(entry is None or type(entry) is int for entry in value):
            return {"list": value}
        if callable(value):
            raise TypeError(
                f"{name} is the function {shown(value)}, and files hold no code; give rows of an "
                "array or an Observed instead, or make the controller again where it is needed"
            )
        array = np.asarray(value)
        if array.dtype.kind not in "biuf":
            raise TypeError(
                f"{name} is {shown(value)}, which cannot be saved to a file; expected numbers, "
                "arrays, or settings of this package"
            )
        place = f"value/{len(self.arrays)}/{name}"
        self.arrays[place] = array
        return {"array": place}

    def _mapped(self, own: Mapping[str, Any]) -> dict[str, Any]:
        return {key: self.written(key, value) for key, value in own.items()}

    def read(self, tree: Any) -> Any:
        """Read what `written` wrote; raises something where it is not whole."""
        if not isinstance(tree, dict):
            return tree
        if "kind" in tree:
            own = {key: self.read(value) for key, value in tree["fields"].items()}
            return KINDS[tree["kind"]](**own)
        if "csr" in tree:
            own = tree["parts"]
            places = self.read(own["indices"]), self.read(own["indptr"])
            return _sparse(self.read(own["data"]), *places, tree["csr"])
        if "mapping" in tree:
            return {key: self.read(value) for key, value in tree["mapping"]}
        if "tuple" in tree:
            return tuple(self.read(entry) for entry in tree["tuple"])
        if "float" in tree:
            return float(tree["float"])
        return tree["list"] if "list" in tree else _native(self.arrays[tree["array"]])

    def of_kind(self, tree: Any, kind: type[K]) -> K:
        """Read a value of a kind, the arrays in it as well as they are stated."""
        value = self.read(tree)
        if not isinstance(value, kind):
            raise ValueError(f"a {type(value).__name__} stands where a {kind.__name__} belongs")
        return value


def _native(array: Any) -> Any:
    """Require numbers as this machine keeps them: compiled code takes others for what they are not.

    Raises:
        ValueError: They are of a kind, or in an order of bytes, that is never written.
    """
    kinds = {np.dtype(kind) for kind in (np.bool_, np.int32, np.int64, np.float64)}
    if array.dtype not in kinds or not array.dtype.isnative:
        raise ValueError(f"an array holds {array.dtype}; expected {', '.join(map(str, kinds))}")
    return array


def _sparse(data: Any, indices: Any, indptr: Any, shape: Any) -> sp.csr_array:
    """Make a sparse matrix; scipy's products trust its places, so they are checked here."""
    rows, columns = map(operator.index, shape)
    whole = data.dtype == np.float64 and data.ndim == indices.ndim == indptr.ndim == 1
    whole &= indices.dtype.kind == indptr.dtype.kind == "i" and len(indptr) == rows + 1
    whole &= len(data) == len(indices)
    if not whole or indptr[0] != 0 or indptr[-1] != len(data) or (np.diff(indptr) < 0).any():
        raise ValueError("a sparse matrix is not whole")
    if not _within(indices, columns):
        raise ValueError("a sparse matrix has entries beyond its columns")
    return sp.csr_array((data, indices, indptr), shape=(rows, columns))


def _fields(value: Any) -> dict[str, Any]:
    """Fields of a dataclass or a named tuple."""
    names = [f.name for f in fields(value)] if is_dataclass(value) else value._fields
    return {name: getattr(value, name) for name in names}
