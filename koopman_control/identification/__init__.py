"""Identification: from trajectories to a lifted model, by least squares."""

from koopman_control.identification.accumulation import Accumulator
from koopman_control.identification.edmdc import EDMDc
from koopman_control.identification.errors import prediction_error
from koopman_control.identification.least_squares import RFactor, RidgeSolver
from koopman_control.identification.model import LiftedModel
from koopman_control.identification.rollouts import ROLLOUTS, Rollout

__all__ = [
    "ROLLOUTS",
    "Accumulator",
    "EDMDc",
    "LiftedModel",
    "RFactor",
    "RidgeSolver",
    "Rollout",
    "prediction_error",
]
