from .adapting import adapted
from .collect import CollectionFailed, CollectionInterrupted, collect
from .coverage import Coverage, coverage
from .environments import Environment, open_environment, require_continuous
from .exchange import from_minari, to_frame, to_minari
from .excitation import PRBS, HeldUniform, Multisine, OrnsteinUhlenbeck, Signal
from .log_files import Columns, read_columns
from .logs import LogReport, from_table, split_at_gaps
from .store import load_trajectories, save_trajectories
from .stores import TrajectoryStore, open_store
from .trajectory import Trajectory, check_trajectories, total_steps

__all__ = [
    "PRBS",
    "CollectionFailed",
    "CollectionInterrupted",
    "Columns",
    "Coverage",
    "Environment",
    "HeldUniform",
    "LogReport",
    "Multisine",
    "OrnsteinUhlenbeck",
    "Signal",
    "Trajectory",
    "TrajectoryStore",
    "adapted",
    "check_trajectories",
    "collect",
    "coverage",
    "from_minari",
    "from_table",
    "load_trajectories",
    "open_environment",
    "open_store",
    "read_columns",
    "require_continuous",
    "save_trajectories",
    "split_at_gaps",
    "to_frame",
    "to_minari",
    "total_steps",
]
