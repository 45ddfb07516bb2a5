"""Model-predictive control: a convex problem stated in CVXPY, compiled, solved at every step."""

from koopman_control.mpc.batch import BatchMPC
from koopman_control.mpc.controller import KoopmanMPC
from koopman_control.mpc.estimation import KalmanObserver, MovingHorizonEstimator, OffsetFree
from koopman_control.mpc.parametric import ParametricQP, QPSolution
from koopman_control.mpc.parametrization import Blocks, Knots
from koopman_control.mpc.presolve import compile_qp
from koopman_control.mpc.step import Step
from koopman_control.mpc.terms import Parameters
from koopman_control.mpc.tightening import tube_margins

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
    "compile_qp",
    "tube_margins",
]
