from .automatic import Identified, identify
from .compiled_rollouts import compiled_roll_out
from .corrections import Corrections, LeastSquares
from .delays import DelayEstimate, estimate_input_delay, with_input_delay
from .draws import Structure, Trial
from .edmdc import EDMDc
from .errors import prediction_error
from .foreign import from_control
from .horizon import refine_over_horizon
from .interop import to_control, to_dlti, to_onnx
from .least_squares import Accumulator, RFactor, RidgeSolver, triangular
from .model import LiftedModel
from .online import OnlineModel, adapt
from .output_error import refine_free_runs
from .reduction import Reduction, reduced
from .regression import Coupling
from .report import ModelReport
from .rollouts import ROLLOUTS, Rollout, lifted, linear_response
from .shards import ShardSums
from .signals import Signals
from .simulation import Simulation
from .smoothing import NoiseEstimate
from .spectrum import Spectrum, pseudospectrum, spectrum
from .stability import stabilized
from .uncertainty import bootstrap_models, error_quantiles, predict_ensemble

__all__ = [
    "ROLLOUTS",
    "Accumulator",
    "Corrections",
    "Coupling",
    "DelayEstimate",
    "EDMDc",
    "Identified",
    "LeastSquares",
    "LiftedModel",
    "ModelReport",
    "NoiseEstimate",
    "OnlineModel",
    "RFactor",
    "Reduction",
    "RidgeSolver",
    "Rollout",
    "ShardSums",
    "Signals",
    "Simulation",
    "Spectrum",
    "Structure",
    "Trial",
    "adapt",
    "bootstrap_models",
    "compiled_roll_out",
    "error_quantiles",
    "estimate_input_delay",
    "from_control",
    "identify",
    "lifted",
    "linear_response",
    "predict_ensemble",
    "prediction_error",
    "pseudospectrum",
    "reduced",
    "refine_free_runs",
    "refine_over_horizon",
    "spectrum",
    "stabilized",
    "to_control",
    "to_dlti",
    "to_onnx",
    "triangular",
    "with_input_delay",
]
