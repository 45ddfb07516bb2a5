from .backtest import Backtest, backtest
from .episode import Episode, action_bounds, run_episode
from .evaluate import Evaluation, evaluate
from .forecasts import (
    continuous_ranked_probability_score,
    mean_squared_error,
    spectrum_distance,
    state_space_divergence,
    valid_prediction_time,
)
from .learn import Learned, Round, learn
from .policies import RandomPolicy, ZeroPolicy
from .report import metrics_json, package_versions, write_report
from .statistics import PairedDifference, bootstrap_interval, interquartile_mean, paired_difference

__all__ = [
    "Backtest",
    "Episode",
    "Evaluation",
    "Learned",
    "PairedDifference",
    "RandomPolicy",
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
    "run_episode",
    "spectrum_distance",
    "state_space_divergence",
    "valid_prediction_time",
    "write_report",
]
