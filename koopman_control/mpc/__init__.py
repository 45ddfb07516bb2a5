"""Model-predictive control: a convex problem stated in CVXPY, compiled, solved at every step."""

from koopman_control.mpc.controller import KoopmanMPC, Step
from koopman_control.mpc.estimation import KalmanObserver, OffsetFree
from koopman_control.mpc.presolve import ParametricQP, compile_qp

__all__ = [
    "KalmanObserver",
    "KoopmanMPC",
    "OffsetFree",
    "ParametricQP",
    "Step",
    "compile_qp",
]
