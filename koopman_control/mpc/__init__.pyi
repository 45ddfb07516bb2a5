from .batch import BatchMPC
from .compile.presolve import compile_qp
from .compile.program import ParametricQP, QPSolution
from .configuration import controller_from
from .controller import KoopmanMPC
from .estimation import KalmanObserver, MovingHorizonEstimator, OffsetFree
from .problem import Parameters
from .settings import Blocks, Bounds, Cost, Inputs, Knots, Observed, Search, Tube
from .solvers import SolverSettings, available_solvers, register_solver
from .step import Step
from .terminal import tube_margins

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
    "Observed",
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
    "controller_from",
    "register_solver",
    "tube_margins",
]
