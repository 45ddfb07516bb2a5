"""Identification: from trajectories to a lifted model, by least squares."""

from koopman_control.identification.compiled_rollouts import compiled_roll_out
from koopman_control.identification.delays import (
    DelayEstimate,
    estimate_input_delay,
    with_input_delay,
)
from koopman_control.identification.edmdc import Corrections, EDMDc, LeastSquares
from koopman_control.identification.errors import prediction_error
from koopman_control.identification.foreign import from_control
from koopman_control.identification.horizon import refine_over_horizon
from koopman_control.identification.interop import to_control, to_dlti, to_onnx
from koopman_control.identification.kernel_arrays import Regulator
from koopman_control.identification.least_squares import (
    Accumulator,
    RFactor,
    RidgeSolver,
    triangular,
)
from koopman_control.identification.model import LiftedModel
from koopman_control.identification.noise import correct_for_noise
from koopman_control.identification.online import OnlineModel, adapt
from koopman_control.identification.reduction import Reduction, reduced
from koopman_control.identification.regression import Coupling
from koopman_control.identification.report import ModelReport
from koopman_control.identification.rollouts import (
    ROLLOUTS,
    Rollout,
    lifted,
    linear_response,
)
from koopman_control.identification.signals import Signals
from koopman_control.identification.spectrum import Spectrum, pseudospectrum, spectrum
from koopman_control.identification.stability import stabilized
from koopman_control.identification.uncertainty import (
    bootstrap_models,
    error_quantiles,
    predict_ensemble,
)

__all__ = [
    "ROLLOUTS",
    "Accumulator",
    "Corrections",
    "Coupling",
    "DelayEstimate",
    "EDMDc",
    "LeastSquares",
    "LiftedModel",
    "ModelReport",
    "OnlineModel",
    "RFactor",
    "Reduction",
    "Regulator",
    "RidgeSolver",
    "Rollout",
    "Signals",
    "Spectrum",
    "adapt",
    "bootstrap_models",
    "compiled_roll_out",
    "correct_for_noise",
    "error_quantiles",
    "estimate_input_delay",
    "from_control",
    "lifted",
    "linear_response",
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
    "triangular",
    "with_input_delay",
]
