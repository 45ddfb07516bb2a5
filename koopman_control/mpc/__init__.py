"""Model-predictive control: a convex problem stated in CVXPY, compiled, solved at every step."""

from koopman_control.mpc.controller import KoopmanMPC, Step
from koopman_control.mpc.parametric import ParametricQP, QPSolution
from koopman_control.mpc.parametrization import Blocks, Knots
from koopman_control.mpc.presolve import compile_qp

__all__ = [
    "Blocks",
    "Knots",
    "KoopmanMPC",
    "ParametricQP",
    "QPSolution",
    "Step",
    "compile_qp",
]
