"""What was measured: trajectories, how to collect them, how to keep them."""

from koopman_control.trajectories.collect import CollectionFailed, CollectionInterrupted, collect
from koopman_control.trajectories.coverage import Coverage, coverage
from koopman_control.trajectories.environments import (
    Environment,
    open_environment,
    require_continuous,
)
from koopman_control.trajectories.excitation import (
    PRBS,
    HeldUniform,
    Multisine,
    OrnsteinUhlenbeck,
    Signal,
)
from koopman_control.trajectories.logs import LogReport, from_table, split_at_gaps
from koopman_control.trajectories.store import load_trajectories, save_trajectories
from koopman_control.trajectories.trajectory import Trajectory, check_trajectories, total_steps

__all__ = [
    "PRBS",
    "CollectionFailed",
    "CollectionInterrupted",
    "Coverage",
    "Environment",
    "HeldUniform",
    "LogReport",
    "Multisine",
    "OrnsteinUhlenbeck",
    "Signal",
    "Trajectory",
    "check_trajectories",
    "collect",
    "coverage",
    "from_table",
    "load_trajectories",
    "open_environment",
    "require_continuous",
    "save_trajectories",
    "split_at_gaps",
    "total_steps",
]
