"""Quadratic program solvers behind one call, and the check of what they return."""

from typing import Literal

from koopman_control.common.border import require
from koopman_control.mpc.solvers.auto import AutoSolver
from koopman_control.mpc.solvers.base import (
    TIME_LIMIT,
    Equilibrated,
    Residuals,
    Solution,
    Solver,
    residuals,
)
from koopman_control.mpc.solvers.daqp import DaqpSolver
from koopman_control.mpc.solvers.interior_point import ClarabelSolver, PiqpSolver
from koopman_control.mpc.solvers.osqp import OsqpSolver

SolverName = Literal["auto", "daqp", "osqp", "piqp", "clarabel"]
SOLVERS: dict[str, type[AutoSolver | DaqpSolver | OsqpSolver | PiqpSolver | ClarabelSolver]] = {
    "auto": AutoSolver,
    "daqp": DaqpSolver,
    "osqp": OsqpSolver,
    "piqp": PiqpSolver,
    "clarabel": ClarabelSolver,
}


def make_solver(name: str) -> Solver:
    """Make a solver by name that brings its programs to a common size before it solves them.

    Args:
        name: "auto" (DAQP for up to 250 variables, an interior-point method beyond or where DAQP
            gives up), "daqp", "osqp", "piqp" or "clarabel".

    Raises:
        TypeError | ValueError: If there is no such solver.
        ImportError: If its package is not installed.
    """
    require("solver", name, SolverName)
    return Equilibrated(SOLVERS[name]())


__all__ = [
    "SOLVERS",
    "TIME_LIMIT",
    "AutoSolver",
    "ClarabelSolver",
    "DaqpSolver",
    "Equilibrated",
    "OsqpSolver",
    "PiqpSolver",
    "Residuals",
    "Solution",
    "Solver",
    "SolverName",
    "make_solver",
    "residuals",
]
