"""What a controller is made of, as the C code needs it: numbers, arrays and statements."""

from __future__ import annotations

from typing import Any, Literal, NamedTuple

import numpy as np

from koopman_control.common.arrays import Array
from koopman_control.deploy.arrays import Arrays
from koopman_control.deploy.compression import columns_of, low_rank, met_states, rows_along
from koopman_control.deploy.features import FeatureCode
from koopman_control.deploy.programs import (
    INFINITE,
    Known,
    NotExportableError,
    Program,
    programs_of,
)
from koopman_control.deploy.sequential import sequential_context
from koopman_control.deploy.step_map import step_map_context
from koopman_control.identification import LiftedModel
from koopman_control.mpc import KoopmanMPC, Observed
from koopman_control.mpc.estimation import History
from koopman_control.mpc.estimation.kalman import ExtendedFilter, SteadyFilter
from koopman_control.mpc.estimation.robust import DOUBTFUL, RobustFilter
from koopman_control.mpc.state import WITHIN, TargetRows

# The rooms below hand their parts to each other under names with an underscore; so does this file.

FUNCTIONS = ("atan2", "cos", "exp", "fabs", "log", "log1p", "rint", "sin", "sqrt")


class Part(NamedTuple):
    """A user's parameter: its name, and where its numbers lie."""

    name: str
    first: int
    size: int


class TargetPart(NamedTuple):
    """A target of the states or inputs.

    Args:
        name: "reference" or "input_reference".
        kind: "constant", a "trajectory" that is moved along, "observed" (read off observations), or
            "given" at every step.
        size: Numbers in all rows of a horizon.
        width: Numbers in a row.
        last_start: First row of the last window.
        rows: Rows that are part of the controller, shape (T, width).
        read: How it is read off observations.
    """

    name: str
    kind: Literal["constant", "trajectory", "observed", "given"]
    size: int
    width: int
    last_start: int
    rows: Array
    read: Observed | None = None


def check_exportable(mpc: KoopmanMPC) -> None:
    """Raise a NotExportableError that names what of a controller has no C code."""
    estimator = mpc._estimators[0]
    covered = "roll-outs of one model, solved as quadratic programs"
    if mpc._through_cvxpy:
        raise NotExportableError(
            "the controller has terms that are no quadratic program, or solver='cvxpy'; C code "
            f"covers {covered}: state conic terms by bounds or squares, and use solver='auto'"
        )
    if len(mpc._scenarios.models) > 1:
        raise NotExportableError(
            f"model is {len(mpc._scenarios.models)} models; C code covers {covered}: give one"
        )
    if not isinstance(estimator, History | SteadyFilter | ExtendedFilter):
        raise NotExportableError(
            f"estimator makes a {type(estimator).__name__}; C code covers states as they are "
            "observed, KalmanObserver, OffsetFree and the filter for the noise that a model knows"
        )
    if mpc.search.deadline is not None:
        raise NotExportableError(
            f"deadline is {mpc.search.deadline}; C code has no clock: leave it out, and bound the "
            "solver's iterations by the macro ..._MOST_ITERATIONS"
        )


def target_parts(mpc: KoopmanMPC) -> tuple[TargetPart, TargetPart]:
    """Describe the targets of states and inputs."""
    return (
        _target_part("reference", mpc._targets[0], mpc.model.coordinates.n_outputs),
        _target_part("input_reference", mpc._targets[1], len(mpc._layout.controlled)),
    )


def _target_part(name: str, target: TargetRows, width: int) -> TargetPart:
    N, rows = target._horizon, target.values[:, :width]
    if isinstance(target._function, Observed):
        return TargetPart(name, "observed", N * width, width, 0, rows, target._function)
    kind: Literal["constant", "trajectory", "given"] = "trajectory"
    if target._function is not None:
        kind = "given"
    elif target.constant:
        kind = "constant"
    return TargetPart(name, kind, N * width, width, target._last_start, rows)


def known_of(mpc: KoopmanMPC, targets: tuple[TargetPart, TargetPart], offset: bool) -> Known:
    """Say how what a step knows acts: the lifted state, then the rest in the order of `collect`."""
    model, layout, N, D = mpc.model, mpc._layout, mpc.horizon, mpc.inputs.delay
    n, d, m, c = model.n_lifted, model.n_states, model.n_inputs, len(layout.controlled)
    k, p = len(layout.measured), model.coordinates.n_outputs
    own = len(mpc.parameters.theta)
    moving = [0 if target.kind == "constant" else target.size for target in targets]
    sizes = [n, c, D * c, *moving, own, (D + N) * k, p if offset else 0]
    ends = np.cumsum(sizes)
    z, previous, pending, states, inputs, parameters, preview, offsets = (
        np.eye(ends[-1])[end - size : end] for size, end in zip(sizes, ends, strict=True)
    )
    preview = preview.reshape(D + N, k, ends[-1])
    for step in range(D):  # what is on its way leads to where plans start
        z = model.A @ z
        z += model.B[:, layout.controlled] @ pending.reshape(D, c, ends[-1])[step]
        z += model.B[:, layout.measured] @ preview[step]
    full = np.zeros((N, m, ends[-1]))
    full[:, layout.measured] = preview[D:]
    theta = [np.zeros((N, width, ends[-1])) for width in (d, c)]
    still = [np.zeros((N, width)) for width in (d, c)]
    for i, (target, moved) in enumerate(zip(targets, (states, inputs), strict=True)):
        if target.kind == "constant":
            still[i][:, : target.width] = target.rows[:N]
        else:
            theta[i][:, : target.width] = moved.reshape(N, target.width, ends[-1])
    offset_rows = np.zeros((d, ends[-1]))
    offset_rows[: len(offsets)] = offsets
    return Known(
        lifted=z,
        offset=offset_rows,
        inputs=full.reshape(N * m, -1),
        theta=np.vstack([*(t.reshape(-1, ends[-1]) for t in theta), previous, parameters]),
        constant=np.concatenate([*(s.ravel() for s in still), np.zeros(c + own)]),
    )


def context_of(mpc: KoopmanMPC, arrays: Arrays, tolerance: float = 0.0) -> dict[str, Any]:
    """Collect all that the templates ask for; constants go into `arrays`.

    See `low_rank` for the tolerance.
    """
    check_exportable(mpc)
    model, layout, estimator = mpc.model, mpc._layout, mpc._estimators[0]
    targets = target_parts(mpc)
    has_offset = isinstance(estimator, SteadyFilter) and estimator._offsets
    has_offset |= isinstance(estimator, ExtendedFilter) and len(estimator._offset_root) > 0
    steps_forward = mpc.rollout != "linear" or isinstance(estimator, ExtendedFilter)
    parameters, first = [], 0
    for name, value in mpc.parameters.items():
        parameters.append(Part(name, first, value.size))
        first += value.size
    context: dict[str, Any] = {
        "n_observations": model.coordinates.n_observations,
        "n_inputs": len(layout.controlled),
        "n_measured": len(layout.measured),
        "n_targets": targets[0].width,
        "horizon": mpc.horizon,
        "delay": mpc.inputs.delay,
        "m": model.n_inputs,
        "d": model.n_states,
        "n_lifted": model.n_lifted,
        "rollout": mpc.rollout,
        "parameters": parameters,
        "n_parameters": first,
        "targets": targets,
        "observed_targets": any(target.kind == "observed" for target in targets),
        "given_reference": targets[0].kind == "given",
        "given_input_reference": targets[1].kind == "given",
        "has_offset": has_offset,
        "longest_step": max(1, *(target.last_start for target in targets)),
        "within_reach": repr(WITHIN),
        "functions": FUNCTIONS,
    }
    for target in targets:
        if target.read is not None:
            _add_observed(target.name, target.read, target.width, arrays)
        if target.kind == "trajectory" or (target.kind == "constant" and mpc.rollout != "linear"):
            arrays.add(f"{target.name}_rows", target.rows)
    if first:
        arrays.add("parameters_at_first", mpc.parameters.theta)
    context |= _inputs(mpc, arrays)
    programs: list[Program] = []
    if mpc.rollout == "linear":
        known = known_of(mpc, targets, has_offset)
        programs = [one.shortest(model.n_lifted) for one in programs_of(mpc._linear_planner, known)]
    context["folded"] = _folds(mpc, sum(len(one.predicted) for one in programs))
    if context["folded"]:
        assert model.reduction is not None  # for the type checker
        context["n_lifted"] = model.reduction.shape[1]
    context |= {"steps_forward": False, "layer_kinds": [], "lift_lines": []}
    if steps_forward:
        context |= step_map_context(model, arrays)
    context |= (
        _coordinates(model, arrays)
        | _lift(mpc, context["folded"], arrays)
        | _estimator(mpc, arrays)
    )
    calls = [*context["lift_lines"], *(f"activate_{kind}(" for kind in context["layer_kinds"])]
    context["uses"] = lambda name: any(name in call for call in calls)
    if mpc.rollout == "linear":
        folded = model.reduction if context["folded"] else None
        return context | _programs(programs, met_states(model), tolerance, folded, arrays)
    return context | sequential_context(mpc, arrays)


def _add_observed(name: str, read: Observed, width: int, arrays: Arrays) -> None:
    """Add how a row of a target is read off an observation; -1 stands for no column."""
    columns = [-1 if column is None else column for column in read.columns]
    arrays.add(f"{name}_columns", np.array(columns))
    arrays.add(f"{name}_offset", np.broadcast_to(np.asarray(read.offset, dtype=float), width))
    arrays.add(f"{name}_gain", np.broadcast_to(np.asarray(read.gain, dtype=float), width))


def _inputs(mpc: KoopmanMPC, arrays: Arrays) -> dict[str, Any]:
    w = mpc._weights
    low, high = np.clip(w.input_bounds, -INFINITE, INFINITE)
    moving = bool((low != low[0]).any() or (high != high[0]).any())
    arrays.add("input_low", low if moving else low[0])
    arrays.add("input_high", high if moving else high[0])
    arrays.add("input_rate", np.minimum(w.rate_bounds, INFINITE))
    arrays.add("safe_input", mpc._safe)
    arrays.add("controlled", mpc._layout.controlled)
    if len(mpc._layout.measured):
        arrays.add("measured", mpc._layout.measured)
    return {"bounds_move": moving}


def _coordinates(model: LiftedModel, arrays: Arrays) -> dict[str, Any]:
    columns = [np.atleast_1d(entry) for entry in model.coordinates.columns]
    kinds = [
        len(own) if isinstance(entry, tuple) else 0
        for own, entry in zip(columns, model.coordinates.columns, strict=True)
    ]
    arrays.add("column_first", np.array([own[0] for own in columns]))
    if any(kinds):
        arrays.add("column_kind", np.array(kinds))
    if 2 in kinds:
        arrays.add("column_second", np.array([own[-1] for own in columns]))
    return {
        "n_present": len(columns),
        "memory": model.coordinates.memory,
        "n_angles": model.n_angles,
        "angle_pairs": 2 in kinds,
        "angle_singles": 1 in kinds,
    }


def _folds(mpc: KoopmanMPC, predictions: int) -> bool:
    """Whether predictions are better made of a reduced model's features themselves."""
    reduction = mpc.model.reduction
    if reduction is None or not predictions or isinstance(mpc._estimators[0], SteadyFilter):
        return False
    n, n_full = reduction.shape
    return bool(predictions * n_full < predictions * n + n * n_full)


def _lift(mpc: KoopmanMPC, folded: bool, arrays: Arrays) -> dict[str, Any]:
    model = mpc.model
    embedding, code = model.signals.embedding, FeatureCode(arrays)
    n_e = len(model.signals.center)
    arrays.add("plain_states", embedding.plain)
    if model.n_angles:
        arrays.add("angle_states", embedding.angles)
    sizes = {"n_embedded": n_e, "n_plain": len(embedding.plain)}
    if mpc.rollout == "relifted":
        return sizes
    arrays.add("embedded_center", model.signals.center)
    arrays.add("embedded_scale", model.signals.scale)
    lines = code.lines(model.features, "in", f"(psi + {1 + n_e})")
    reduced = model.reduction is not None and not folded
    if model.reduction is not None and reduced:
        arrays.add("reduction", model.reduction.T)
    return {
        **sizes,
        "n_full": 1 + n_e + model.features._n_features_out + model.n_angles,
        "reduced": reduced,
        "lift_lines": lines,
        "rooms": code.rooms,
        "epsilon": repr(float(np.finfo(np.float64).eps)),
    }


def _estimator(mpc: KoopmanMPC, arrays: Arrays) -> dict[str, Any]:
    model, estimator = mpc.model, mpc._estimators[0]
    if isinstance(estimator, ExtendedFilter):
        return _extended(estimator, arrays)
    if not isinstance(estimator, SteadyFilter):
        return {"estimator": "observed"}
    p, gain = estimator._sensor.size, estimator._gain
    arrays.add("lifted_by_lifted", model.A.T)
    arrays.add("lifted_by_input", model.B.T)
    arrays.add("present_by_lifted", model.C[:p].T)
    arrays.add("usual", estimator._sensor._usual)
    arrays.add("innovation_covariance", gain.innovation)
    arrays.add("innovation_inverse", np.linalg.solve(gain.innovation, np.eye(p)))
    arrays.add("shared_states", gain.shared[: model.n_lifted].T)
    if estimator._offsets:
        arrays.add("shared_offsets", gain.shared[model.n_lifted :].T)
    return {"estimator": "filter"}


def _extended(estimator: ExtendedFilter, arrays: Arrays) -> dict[str, Any]:
    arrays.add("noise_root", estimator._noise)
    arrays.add("measurement_root", estimator._R_root)
    arrays.add("state_spread", estimator._spread)
    arrays.add("usual", estimator._sensor._usual)
    return {
        "estimator": "extended",
        "n_uncertain": len(estimator._noise),
        "robust": isinstance(estimator, RobustFilter),
        "doubtful": repr(DOUBTFUL),
    }


def _programs(
    programs: list[Program],
    samples: Array,
    tolerance: float,
    folded: Array | None,
    arrays: Arrays,
) -> dict[str, Any]:
    """Describe programs.

    Args:
        programs: The programs.
        samples: Lifted states as they are met, shape (S, n).
        tolerance: Predictions may err by it, relative to the largest; see `low_rank`.
        folded: What reduces features to lifted states (n, full n), where it is put into what is
            predicted; None: lifted states are there.
        arrays: Takes their constants.
    """
    described, n_z, packed = [], samples.shape[1], arrays.precision == "float"
    for i, one in enumerate(programs):
        (r, n), (y, t) = one.G.shape, (len(one.predicted), one.slope_by_predicted.shape[1])
        by_lifted, others = one.predicted[:, :n_z], one.predicted[:, n_z:]
        factors = low_rank(by_lifted, one.weight, samples, tolerance) if tolerance else None
        left, right = (by_lifted, None) if factors is None else factors
        if folded is not None:
            left, right = (left @ folded, None) if right is None else (left, right @ folded)
        angles, order, along = one.angles, np.arange(r), None
        G, first = one.G.T, None
        if packed:  # where memory is short
            order, G, first = columns_of(one.G)
            along = None if one.direct else rows_along(one.G, one.slope_by_predicted)
        place = np.argsort(order)
        stands_alone = not one.direct and along is None
        fields = {
            "G": G,
            "first": first,
            "place": place[:n] if packed else None,
            "unit": one.unit,
            "by_lifted": left.T,
            "compressed": None if right is None else right.T,
            "by_others": others.T if others.any() else None,
            "slope": one.slope if one.slope.any() else None,
            "slope_by_predicted": one.slope_by_predicted.T if stands_alone else None,
            "slope_rows": None if along is None else place[along[0]],
            "slope_gains": None if along is None else along[1],
            "slope_by_others": one.slope_by_others.T if one.slope_by_others.any() else None,
            "rows": one.rows[order] if one.rows.any() else None,
            "seen": angles.seen,
            "turned": angles.turned,
            "turn_at_rest": angles.constant,
            "turned_by": None if angles.by_inputs is None else angles.by_inputs.T,
            "low": one.low[order],
            "high": one.high[order],
            "price": one.price[order],
            "softness": one.softness[order],
            "sides_by_others": one.sides_by_others if len(one.sides) else None,
            "shape": one.shape,
            "moving": np.column_stack([place[one.sides[:, 0]], one.sides[:, 1]]),
        }
        names: dict[str, Any] = {
            key: "NULL" if value is None or not value.size else arrays.add(f"{key}_{i}", value)
            for key, value in fields.items()
        }
        for key, matrix in (
            ("rows_by_predicted", one.rows_by_predicted[order]),
            ("rows_by_others", one.rows_by_others[order]),
            ("turns_by_others", angles.by_others),
        ):
            names[key] = arrays.add_entries(f"{key}_{i}", matrix)
        numbers = {
            "n": n,
            "n_rows": r,
            "n_predicted": y,
            "n_counting": t,
            "rank": 0 if right is None else len(right),
            "n_angles": len(angles.seen),
            "sides": len(one.sides),
            "feedback": int(one.feedback),
            "soft": one.soft,
        }
        described.append({**names, **numbers})
    most_rows = max(len(one.G) for one in programs)
    arrays.count_to(most_rows)
    most_active = max(
        min(len(one.G), one.G.shape[1] + int((one.price < INFINITE).sum())) + 1 for one in programs
    )
    return {
        "programs": described,
        "n_known": programs[0].predicted.shape[1]
        + (0 if folded is None else np.diff(folded.shape)[0]),
        "most_rows": most_rows,
        "most_predicted": max(len(one.predicted) for one in programs),
        "most_rank": max(one["rank"] for one in described),
        "most_n": max(one.G.shape[1] for one in programs),
        "most_active": most_active,
        "most_iterations": 10 * most_rows + 100,
        "moving_sides": any(len(one.sides) for one in programs),
        "packed": packed,
        "slopes_are_rows": any(one["slope_rows"] != "NULL" for one in described),
        # What is known is needed again by further programs, and predictions by feedback.
        "shared": packed and len(programs) == 1 and not programs[0].feedback,
    }
