"""Identification: from trajectories to a lifted model, by least squares."""

from koopman_control.identification.analysis.diagnostics import ModelReport
from koopman_control.identification.analysis.residuals import pseudospectrum
from koopman_control.identification.analysis.spectrum import Spectrum, spectrum
from koopman_control.identification.analysis.uncertainty import (
    bootstrap_models,
    error_quantiles,
    predict_ensemble,
)
from koopman_control.identification.data.delays import (
    DelayEstimate,
    estimate_input_delay,
    with_input_delay,
)
from koopman_control.identification.edmdc import EDMDc
from koopman_control.identification.errors import prediction_error
from koopman_control.identification.exchange.interop import to_control, to_dlti, to_onnx
from koopman_control.identification.least_squares.accumulation import Accumulator
from koopman_control.identification.least_squares.factor import RFactor, RidgeSolver
from koopman_control.identification.model.model import LiftedModel
from koopman_control.identification.model.rollouts import ROLLOUTS, Rollout
from koopman_control.identification.refinement.adaptation import OnlineModel, adapt
from koopman_control.identification.refinement.horizon import refine_over_horizon
from koopman_control.identification.refinement.reduction import Reduction, reduced
from koopman_control.identification.refinement.robust import correct_for_noise
from koopman_control.identification.refinement.stability import stabilized

__all__ = [
    "ROLLOUTS",
    "Accumulator",
    "DelayEstimate",
    "EDMDc",
    "LiftedModel",
    "ModelReport",
    "OnlineModel",
    "RFactor",
    "Reduction",
    "RidgeSolver",
    "Rollout",
    "Spectrum",
    "adapt",
    "bootstrap_models",
    "correct_for_noise",
    "error_quantiles",
    "estimate_input_delay",
    "predict_ensemble",
    "prediction_error",
    "pseudospectrum",
    "reduced",
    "refine_over_horizon",
    "spectrum",
    "stabilized",
    "to_control",
    "to_dlti",
    "to_onnx",
    "with_input_delay",
]
