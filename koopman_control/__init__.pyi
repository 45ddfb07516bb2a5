from .evaluation import Evaluation, evaluate, learn
from .features import (
    FeatureUnion,
    FourierFeatures,
    PolynomialFeatures,
    RadialFeatures,
    RecurrentFeatures,
    SampledFeatures,
)
from .forecasting import SampledRNN
from .identification import (
    EDMDc,
    LiftedModel,
    estimate_input_delay,
    identify,
    prediction_error,
    with_input_delay,
)
from .mpc import Bounds, Cost, Inputs, KalmanObserver, KoopmanMPC, OffsetFree, Search, compile_qp
from .trajectories import (
    HeldUniform,
    Trajectory,
    adapted,
    collect,
    coverage,
    from_table,
    load_trajectories,
    open_store,
    save_trajectories,
)

__version__: str

__all__ = [
    "Bounds",
    "Cost",
    "EDMDc",
    "Evaluation",
    "FeatureUnion",
    "FourierFeatures",
    "HeldUniform",
    "Inputs",
    "KalmanObserver",
    "KoopmanMPC",
    "LiftedModel",
    "OffsetFree",
    "PolynomialFeatures",
    "RadialFeatures",
    "RecurrentFeatures",
    "SampledFeatures",
    "SampledRNN",
    "Search",
    "Trajectory",
    "adapted",
    "collect",
    "compile_qp",
    "coverage",
    "estimate_input_delay",
    "evaluate",
    "from_table",
    "identify",
    "learn",
    "load_trajectories",
    "open_store",
    "prediction_error",
    "save_trajectories",
    "with_input_delay",
]
