"""Identification: from trajectories to a lifted model, by least squares."""

from koopman_control.identification.delays import (
    DelayEstimate,
    estimate_input_delay,
    with_input_delay,
)
from koopman_control.identification.edmdc import EDMDc
from koopman_control.identification.errors import prediction_error
from koopman_control.identification.interop import to_control, to_dlti, to_onnx
from koopman_control.identification.least_squares import RFactor, RidgeSolver
from koopman_control.identification.model import LiftedModel
from koopman_control.identification.rollouts import ROLLOUTS, Rollout

__all__ = [
    "ROLLOUTS",
    "DelayEstimate",
    "EDMDc",
    "LiftedModel",
    "RFactor",
    "RidgeSolver",
    "Rollout",
    "estimate_input_delay",
    "prediction_error",
    "to_control",
    "to_dlti",
    "to_onnx",
    "with_input_delay",
]
