from .episode import Episode, action_bounds, run_episode
from .evaluate import Evaluation, evaluate
from .forecasts import (
    Backtest,
    backtest,
    continuous_ranked_probability_score,
    mean_squared_error,
    spectrum_distance,
    state_space_divergence,
    valid_prediction_time,
)
from .learn import Learned, Round, learn
from .model_env import ModelEnv, tracking_reward
from .policies import RandomPolicy, ZeroPolicy
from .rehearsal import Rehearsal, rehearse
from .report import metrics_json, package_versions, write_report
from .statistics import PairedDifference, bootstrap_interval, interquartile_mean, paired_difference

__all__ = [
    "Backtest",
    "Episode",
    "Evaluation",
    "Learned",
    "ModelEnv",
    "PairedDifference",
    "RandomPolicy",
    "Rehearsal",
    "Round",
    "ZeroPolicy",
    "action_bounds",
    "backtest",
    "bootstrap_interval",
    "continuous_ranked_probability_score",
    "evaluate",
    "interquartile_mean",
    "learn",
    "mean_squared_error",
    "metrics_json",
    "package_versions",
    "paired_difference",
    "rehearse",
    "run_episode",
    "spectrum_distance",
    "state_space_divergence",
    "tracking_reward",
    "valid_prediction_time",
    "write_report",
]
