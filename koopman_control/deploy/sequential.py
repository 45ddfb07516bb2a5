"""The parts of a controller with a nonlinear roll-out: its problem and its guesses as arrays."""

from __future__ import annotations

from typing import Any

import numpy as np

from koopman_control.deploy.arrays import Arrays
from koopman_control.deploy.programs import (
    INFINITE,
    LEAST_SQUARE,
    OVERLOOKED,
    NotExportableError,
)
from koopman_control.deploy.step_map import entering
from koopman_control.identification import LiftedModel
from koopman_control.identification.compiled_rollouts import CoveredFeatures
from koopman_control.mpc import KoopmanMPC
from koopman_control.mpc.planning.condense import EXACT_PENALTY, KEPT, Condenser
from koopman_control.mpc.planning.sequential import (
    AMPLITUDES,
    SMALLEST_GAIN,
    STEP_LENGTHS,
    TIE,
    SequentialPlanner,
)

COARSER = {"double": 1.0, "float": 300.0}  # tolerances of violated rows, as solvers are


def sequential_context(mpc: KoopmanMPC, arrays: Arrays) -> dict[str, Any]:
    """Collect what the templates of nonlinear roll-outs ask for."""
    planner = mpc._planner
    assert isinstance(planner, SequentialPlanner)
    condenser = planner.condenser
    if condenser.n_values < len(condenser.P_vv):
        raise NotExportableError(
            f"the problem has {len(condenser.P_vv) - condenser.n_values} variables beside the "
            "inputs, as absolute values and largest ones make them; state such terms by squares, "
            "or as soft bounds of states"
        )
    if mpc.rollout == "bilinear":
        _add_bilinear(mpc.model, entering(mpc.model), arrays)
    return {
        **_problems(planner, arrays),
        **_guesses(mpc, planner, arrays),
        "widths": (mpc.model.n_states, len(mpc._layout.controlled)),
        "n_theta": condenser.n_parameters,
    }


def _add_bilinear(model: LiftedModel, inputs: CoveredFeatures, arrays: Arrays) -> None:
    """Add the lifted model in what enters it: z+ = c + A z + sum_b v_b (B_b + N_b z)."""
    assert model.N is not None  # as the roll-out was checked
    N, n = model.N, model.n_lifted
    free = np.column_stack([np.zeros(n), model.A])[None]
    driven = np.concatenate([model.B.T[:, :, None], N], axis=2)  # (q, n, 1 + n)
    moved = inputs.in_values(np.concatenate([free, driven]))
    arrays.add("lifted_constant", moved[0, :, 0])
    arrays.add("lifted_by_lifted", moved[0, :, 1:].T)
    arrays.add("lifted_by_entering", moved[1:, :, 0])
    arrays.add("couplings", np.swapaxes(moved[1:, :, 1:], 1, 2))
    arrays.add("state_by_lifted", model.C.T)


def _problems(planner: SequentialPlanner, arrays: Arrays) -> dict[str, Any]:
    """Describe the problem, and the same with hard rows on outputs relaxed."""
    tried: list[SequentialPlanner] = [planner]
    if planner._softened is not None:
        tried.append(planner._softened)
    whole = [_stated(one.merit._condenser, f"whole_{i}", arrays) for i, one in enumerate(tried)]
    made = [_stated(one.condenser, f"made_{i}", arrays) for i, one in enumerate(tried)]
    constant = planner.condenser._constant
    arrays.add_sparse("square_by_theta", constant.quadratic)
    arrays.add("cost_by_theta", constant.linear)
    held = planner.condenser._held
    if held is not None:
        arrays.add_sparse("held", held)
    most_rows = max(one["n"] + one["rows"] for one in made)
    arrays.count_to(most_rows)
    n = max(one["n"] for one in made)
    soft = max(int(np.isfinite(one.condenser.linear_weight).sum()) for one in tried)
    return {
        "whole": whole,
        "condensed": made,
        "merits": [_merit(one, i, arrays) for i, one in enumerate(tried)],
        "n_programs": len(tried),
        "held": held is not None,
        "coupled": planner.condenser.coupled,
        "constant_cost": arrays.number(float(constant.constant)).rstrip("f"),
        "cost_scale": repr(1.0 / planner.merit._cost),
        "kept": repr(KEPT * COARSER[arrays.precision]),
        "singular": "1e-13" if arrays.precision == "double" else "1e-6",
        "overlooked": repr(OVERLOOKED),
        "least_square": repr(LEAST_SQUARE),
        "tiny": "2.3e-308" if arrays.precision == "double" else "1e-37",
        "smallest_gain": repr(SMALLEST_GAIN),
        "tie": repr(TIE),
        "most_vectors": max(one["size"] for one in (*whole, *made)),
        "most_rows": most_rows,
        "most_n": n,
        "most_active": min(most_rows, n + soft) + 1,
        "most_iterations": 10 * most_rows + 100,
        "moving_sides": False,
        "shared": False,
        "packed": False,
        "slopes_are_rows": False,
    }


def _stated(c: Condenser, name: str, arrays: Arrays) -> dict[str, Any]:
    """Add the matrices of a compiled problem."""
    matrices = {
        "P_vv": c.P_vv,
        "P_vy": c.P_vy,
        "P_yy": c.P_yy,
        "A_v": c.A_v,
        "A_y": c.A_y,
        "by_theta": c._stacked.matrix,
    }
    for key, matrix in matrices.items():
        arrays.add_sparse(f"{name}_{key}", matrix)
    fields = {
        "constant": np.clip(c._stacked.constant, -INFINITE, INFINITE),
        "price": np.minimum(c.linear_weight, INFINITE),
        "square": np.where(np.isfinite(c.linear_weight), c.quadratic_weight, 0.0),
    }
    return {
        **{key: f"{name}_{key}" for key in matrices},
        **{key: arrays.add(f"{name}_{key}", value) for key, value in fields.items()},
        "n": len(c.P_vv),
        "rows": len(c.A_v),
        "first_on_y": c.first_on_y,
        "size": len(c._stacked.constant),
    }


def _merit(planner: SequentialPlanner, i: int, arrays: Arrays) -> dict[str, Any]:
    merit = planner.merit
    _, sides, size = merit._inputs_alone
    fields = {
        "linear": merit._linear,
        "square": merit._square,
        "tolerance": merit._free * COARSER[arrays.precision],
        "alone": np.asarray(sides),
        "size": size,
        "penalty": EXACT_PENALTY * merit._cost / size,
    }
    named = {key: arrays.add(f"merit_{i}_{key}", value) for key, value in fields.items()}
    return {**named, "n_alone": len(sides)}


def _guesses(mpc: KoopmanMPC, planner: SequentialPlanner, arrays: Arrays) -> dict[str, Any]:
    guesses, search = planner._guesses, mpc.search
    finite = bool(np.isfinite(guesses._box).all())
    n, n_first = (search.guesses, search.first_guesses) if finite else (0, 0)
    K, L = guesses._gains
    arrays.add("regulator_gain", K)
    if L.size:
        arrays.add("regulator_gain_of_input", L)
    arrays.add("box_low", np.maximum(guesses._box[0], -INFINITE))
    arrays.add("box_high", np.minimum(guesses._box[1], INFINITE))
    arrays.add("step_lengths", STEP_LENGTHS)
    if n or n_first:
        arrays.add("amplitudes", np.array(AMPLITUDES))
    arrays.add("first_rounds", np.array(guesses._schedule(True)))
    arrays.add("later_rounds", np.array(guesses._schedule(False)))
    state = np.random.default_rng(search.seed).bit_generator.state["state"]
    low = (1 << 64) - 1
    return {
        "n_guesses": n,
        "n_first_guesses": n_first,
        "most_random": max(n, n_first),
        "most_guesses": max(1 + n, 2 + n_first),
        "first_rounds": guesses._schedule(True),
        "later_rounds": guesses._schedule(False),
        "step_lengths": STEP_LENGTHS.tolist(),
        "amplitudes": AMPLITUDES,
        "rated": bool(np.isfinite(guesses._rate).any()),
        "gain_of_input": bool(L.size),
        "random_high": state["state"] >> 64,
        "random_low": state["state"] & low,
        "random_inc_high": state["inc"] >> 64,
        "random_inc_low": state["inc"] & low,
    }
