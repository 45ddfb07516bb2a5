"""The benchmark's problem in packages that generate code or state it anew, at small sizes.

pip install cvxpygen do-mpc
"""

from __future__ import annotations

import sys
import tempfile
from contextlib import chdir
from importlib import import_module
from pathlib import Path

import numpy as np

from examples.benchmarks.mpc_peers import Solve, Statement
from examples.benchmarks.mpc_subjects import LiftedPlant
from koopman_control.common.arrays import Array


def cvxpygen_osqp(plant: LiftedPlant) -> Solve:
    """Code that CVXPYgen generates for OSQP, on the problem in inputs only."""
    generator = import_module("cvxpygen.cpg")
    statement = Statement(plant)
    folder = tempfile.mkdtemp()
    sys.path.insert(0, folder)
    name = "generated_" + Path(folder).name
    with chdir(folder):  # it imports what it wrote by a path within the current folder
        generator.generate_code(statement.problem, code_dir=name, solver="OSQP", prefix="peer")
    statement.problem.register_solve("CPG", import_module(f"{name}.cpg_solver").cpg_solve)

    def solve(z: Array, before: Array, target: Array) -> Array:
        statement.at(z, before, target)
        return statement.solved(method="CPG", eps_abs=1e-5, eps_rel=1e-5, max_iter=10000)

    return solve


def do_mpc_ipopt(plant: LiftedPlant) -> Solve:
    """do-mpc with IPOPT, lifted states as its own; the input before is one more state.

    It knows linear prices of violated bounds only, so its answers differ where bounds are violated.
    """
    do_mpc = import_module("do_mpc")
    N, m, p = plant.horizon, plant.m, plant.p
    model = do_mpc.model.Model("discrete")
    z = model.set_variable("_x", "z", (plant.n + 1, 1))
    before = model.set_variable("_x", "before", (m, 1))
    u = model.set_variable("_u", "u", (m, 1))
    target = model.set_variable("_tvp", "target", (p, 1))
    model.set_rhs("z", plant.A @ z + plant.B @ u)
    model.set_rhs("before", u)
    model.setup()
    mpc = do_mpc.controller.MPC(model)
    mpc.settings.n_horizon, mpc.settings.t_step = N, 1.0
    mpc.settings.store_full_solution = False
    mpc.settings.supress_ipopt_output()
    y, change = z[1 : 1 + p], u - before
    tracking = (y - target).T @ (y - target)
    inputs = 0.01 * u.T @ u + 0.1 * change.T @ change
    mpc.set_objective(mterm=tracking, lterm=tracking + inputs)
    mpc.bounds["lower", "_u", "u"], mpc.bounds["upper", "_u", "u"] = -1.0, 1.0
    mpc.set_nl_cons("rise", change, ub=0.3)
    mpc.set_nl_cons("fall", -change, ub=0.3)
    soft = {"soft_constraint": True, "penalty_term_cons": 10.0}
    mpc.set_nl_cons("above", y, ub=plant.bound, **soft)
    mpc.set_nl_cons("below", -y, ub=plant.bound, **soft)
    template = mpc.get_tvp_template()
    mpc.set_tvp_fun(lambda _: template)
    mpc.setup()
    mpc.set_initial_guess()

    def solve(at: Array, previous: Array, rows: Array) -> Array:
        for k, row in enumerate(np.vstack([at[1 : 1 + p], rows])):
            template["_tvp", k, "target"] = row
        mpc.x0["z"], mpc.x0["before"] = at, previous
        answer: Array = mpc.make_step(mpc.x0).ravel()
        return answer

    return solve


GENERATED = {"CVXPYgen, condensed, OSQP": cvxpygen_osqp, "do-mpc, IPOPT": do_mpc_ipopt}
