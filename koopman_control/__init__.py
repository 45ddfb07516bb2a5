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
from koopman_control.features import SampledFeatures
from koopman_control.identification import (
    EDMDc,
    LiftedModel,
    estimate_input_delay,
    prediction_error,
    to_control,
    to_dlti,
    to_onnx,
    with_input_delay,
)
from koopman_control.mpc import KoopmanMPC, compile_qp
from koopman_control.tasks import TASKS, Task
from koopman_control.trajectories import (
    PRBS,
    HeldUniform,
    Multisine,
    OrnsteinUhlenbeck,
    Trajectory,
    collect,
    coverage,
    from_table,
    load_trajectories,
    save_trajectories,
    split_at_gaps,
)

__version__ = "0.1.0"

__all__ = [
    "PRBS",
    "TASKS",
    "EDMDc",
    "Evaluation",
    "HeldUniform",
    "KoopmanMPC",
    "Learned",
    "LiftedModel",
    "Multisine",
    "OrnsteinUhlenbeck",
    "RandomPolicy",
    "SampledFeatures",
    "Task",
    "Trajectory",
    "ZeroPolicy",
    "collect",
    "compile_qp",
    "coverage",
    "estimate_input_delay",
    "evaluate",
    "from_table",
    "learn",
    "load_trajectories",
    "prediction_error",
    "save_trajectories",
    "split_at_gaps",
    "to_control",
    "to_dlti",
    "to_onnx",
    "with_input_delay",
]
