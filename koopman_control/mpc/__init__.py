"""Model-predictive control: a convex problem stated in CVXPY, compiled, solved at every step."""

from koopman_control.mpc.batch import BatchMPC
from koopman_control.mpc.compile.presolve import compile_qp
from koopman_control.mpc.compile.program import ParametricQP, QPSolution
from koopman_control.mpc.controller import KoopmanMPC
from koopman_control.mpc.estimation import KalmanObserver, MovingHorizonEstimator, OffsetFree
from koopman_control.mpc.inputs import Blocks, Knots
from koopman_control.mpc.problem import Parameters
from koopman_control.mpc.step import Step
from koopman_control.mpc.tightening import Tube, tube_margins

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
