"""State estimation: from observations, complete or not, to what a plan starts from."""

from koopman_control.mpc.estimation.base import Estimate, Estimator, History, Observer
from koopman_control.mpc.estimation.kalman import KalmanObserver, OffsetFree
from koopman_control.mpc.estimation.moving_horizon import MovingHorizonEstimator
from koopman_control.mpc.estimation.robust import RobustFilter, estimators_for

__all__ = [
    "Estimate",
    "Estimator",
    "History",
    "KalmanObserver",
    "MovingHorizonEstimator",
    "Observer",
    "OffsetFree",
    "RobustFilter",
    "estimators_for",
]
