"""Real-time convex model-predictive control learned from data, without gradients.

The rooms, in the order the data walks through them: `trajectories`, `features`, `identification`,
`mpc`, `evaluation`, `tasks`.
"""

from koopman_control.evaluation import (
    Evaluation,
    Learned,
    RandomPolicy,
    ZeroPolicy,
    evaluate,
    learn,
)
from koopman_control.features import (
    FeatureChain,
    FeatureUnion,
    FourierFeatures,
    FunctionFeatures,
    PolynomialFeatures,
    RadialFeatures,
    SampledFeatures,
)
from koopman_control.identification import EDMDc, LiftedModel, prediction_error
from koopman_control.mpc import KoopmanMPC, compile_qp
from koopman_control.tasks import TASKS, Task
from koopman_control.trajectories import (
    PRBS,
    HeldUniform,
    Multisine,
    OrnsteinUhlenbeck,
    Trajectory,
    collect,
    load_trajectories,
    save_trajectories,
)

__version__ = "0.1.0"

__all__ = [
    "PRBS",
    "TASKS",
    "EDMDc",
    "Evaluation",
    "FeatureChain",
    "FeatureUnion",
    "FourierFeatures",
    "FunctionFeatures",
    "HeldUniform",
    "KoopmanMPC",
    "Learned",
    "LiftedModel",
    "Multisine",
    "OrnsteinUhlenbeck",
    "PolynomialFeatures",
    "RadialFeatures",
    "RandomPolicy",
    "SampledFeatures",
    "Task",
    "Trajectory",
    "ZeroPolicy",
    "collect",
    "compile_qp",
    "evaluate",
    "learn",
    "load_trajectories",
    "prediction_error",
    "save_trajectories",
]
