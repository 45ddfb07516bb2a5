"""Model-predictive control: a convex problem stated in CVXPY, compiled, solved at every step."""

from koopman_control.mpc.batch import BatchMPC
from koopman_control.mpc.compilation.parametric import ParametricQP, QPSolution
from koopman_control.mpc.compilation.presolve import compile_qp
from koopman_control.mpc.controller import KoopmanMPC
from koopman_control.mpc.estimation import KalmanObserver, MovingHorizonEstimator, OffsetFree
from koopman_control.mpc.statement.parametrization import Blocks, Knots
from koopman_control.mpc.statement.terms import Parameters
from koopman_control.mpc.statement.tube import Tube, tube_margins
from koopman_control.mpc.step import Step

__all__ = [
    "BatchMPC",
    "Blocks",
    "KalmanObserver",
    "Knots",
    "KoopmanMPC",
    "MovingHorizonEstimator",
    "OffsetFree",
    "Parameters",
    "ParametricQP",
    "QPSolution",
    "Step",
    "Tube",
    "compile_qp",
    "tube_margins",
]
