"""State estimation: from observations, complete or not, to what a plan starts from."""

from koopman_control.mpc.estimation.base import Estimate, Estimator, Observer
from koopman_control.mpc.estimation.history import History
from koopman_control.mpc.estimation.moving_horizon import MovingHorizonEstimator
from koopman_control.mpc.estimation.observers import KalmanObserver, OffsetFree

__all__ = [
    "Estimate",
    "Estimator",
    "History",
    "KalmanObserver",
    "MovingHorizonEstimator",
    "Observer",
    "OffsetFree",
]
