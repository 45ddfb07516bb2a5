"""Model-predictive control: a convex problem stated in CVXPY, compiled, solved at every step."""

from koopman_control.mpc.batch import BatchMPC
from koopman_control.mpc.compile.presolve import compile_qp
from koopman_control.mpc.compile.program import ParametricQP, QPSolution
from koopman_control.mpc.controller import KoopmanMPC
from koopman_control.mpc.estimation import KalmanObserver, MovingHorizonEstimator, OffsetFree
from koopman_control.mpc.problem import Parameters
from koopman_control.mpc.settings import Blocks, Bounds, Cost, Inputs, Knots, Search, Tube
from koopman_control.mpc.solvers import SolverSettings, available_solvers, register_solver
from koopman_control.mpc.step import Step
from koopman_control.mpc.terminal import tube_margins

__all__ = [
    "BatchMPC",
    "Blocks",
    "Bounds",
    "Cost",
    "Inputs",
    "KalmanObserver",
    "Knots",
    "KoopmanMPC",
    "MovingHorizonEstimator",
    "OffsetFree",
    "Parameters",
    "ParametricQP",
    "QPSolution",
    "Search",
    "SolverSettings",
    "Step",
    "Tube",
    "available_solvers",
    "compile_qp",
    "register_solver",
    "tube_margins",
]
