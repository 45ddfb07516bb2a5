"""Quadratic program solvers behind one call, and the check of what they return.

A further one is a file here, a line below; or a class that another package registers.
"""

from koopman_control.mpc.solvers.auto import AutoSolver
from koopman_control.mpc.solvers.base import (
    TIME_LIMIT,
    Equilibrated,
    Residuals,
    Solution,
    Solver,
    SolverBase,
    SolverSettings,
    available_solvers,
    make_solver,
    register_solver,
    residuals,
    solver_kind,
)
from koopman_control.mpc.solvers.clarabel import ClarabelSolver
from koopman_control.mpc.solvers.daqp import DaqpSolver
from koopman_control.mpc.solvers.osqp import OsqpSolver
from koopman_control.mpc.solvers.piqp import PiqpSolver
from koopman_control.mpc.solvers.program import DenseQP

for _kind in (AutoSolver, DaqpSolver, OsqpSolver, PiqpSolver, ClarabelSolver):
    register_solver(_kind)

__all__ = [
    "TIME_LIMIT",
    "AutoSolver",
    "ClarabelSolver",
    "DaqpSolver",
    "DenseQP",
    "Equilibrated",
    "OsqpSolver",
    "PiqpSolver",
    "Residuals",
    "Solution",
    "Solver",
    "SolverBase",
    "SolverSettings",
    "available_solvers",
    "make_solver",
    "register_solver",
    "residuals",
    "solver_kind",
]
