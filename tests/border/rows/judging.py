"""Evaluation."""

from typing import Any

import numpy as np

import koopman_control as kc
import koopman_control.common as common
import koopman_control.evaluation as judging
from koopman_control.common.arrays import finite_array
from koopman_control.evaluation import RandomPolicy, ZeroPolicy
from tests.border import parts
from tests.border.rows.row import Row


class Listening(RandomPolicy):
    """Takes the input that acts as an episode begins."""

    def reset(self, previous_input: Any = None) -> None:
        if previous_input is not None:
            finite_array("previous_input", previous_input, shape=(1,))
        super().reset()


ROWS = [
    Row(
        "simulate_log",
        judging.simulate_log,
        lambda: dict(model=parts.model(), run=parts.runs()[0], thinning=1, start_rows=2),
    ),
    Row(
        "judge_on_log",
        judging.judge_on_log,
        lambda: dict(found=parts.identified(), data=parts.runs(), horizon=3, skip=1),
    ),
    Row(
        "write_identification",
        judging.write_identification,
        lambda: dict(
            folder="page",
            found=parts.identified(),
            judged=judging.judge_on_log(parts.identified(), parts.runs(), horizon=3),
            title="A log",
            notes=["a note"],
            settings={"seed": 0},
        ),
    ),
    Row("RandomPolicy", RandomPolicy, lambda: dict(action_bounds=parts.BOX, seed=0)),
    Row("RandomPolicy.seed", lambda **k: RandomPolicy(parts.BOX).seed(**k), lambda: dict(seed=0)),
    Row("RandomPolicy.act", RandomPolicy(parts.BOX).act, lambda: dict(observation=np.ones(2))),
    Row("ZeroPolicy.act", ZeroPolicy(parts.BOX).act, lambda: dict(observation=np.ones(2))),
    Row("ZeroPolicy", ZeroPolicy, lambda: dict(action_bounds=parts.BOX)),
    Row(
        "evaluate",
        kc.evaluate,
        lambda: dict(
            controller=ZeroPolicy(parts.BOX),
            env=parts.environment(),
            seeds=range(2),
            workers=1,
            on_episode=None,
            previous_input=None,
        ),
    ),
    Row(
        "run_episode",
        judging.run_episode,
        lambda: dict(
            controller=Listening(parts.BOX),
            env=parts.environment(),
            seed=0,
            previous_input=np.zeros(1),
        ),
    ),
    Row("action_bounds", judging.action_bounds, lambda: dict(env=parts.environment())),
    Row(
        "begin_episode",
        common.begin_episode,
        lambda: dict(controller=Listening(parts.BOX), seed=0, previous_input=np.zeros(1)),
    ),
    Row(
        "learn",
        kc.learn,
        lambda: dict(
            env=parts.environment(),
            estimator=parts.estimator(),
            controller=lambda m: kc.KoopmanMPC(m, 3),
            n_steps=40,
            first_steps=30,
            n_rounds=0,
            excitation=None,
            noise=None,
            until=None,
            seed=0,
            on_step=None,
            checkpoint=None,
        ),
    ),
    Row(
        "Evaluation.figures",
        lambda **k: parts.evaluation().figures(**k),
        lambda: dict(
            references={"zero": 0.0},
            observation_names=list("abc"),
            action_names=["u"],
        ),
    ),
    Row(
        "Evaluation.report",
        lambda **k: parts.evaluation().report(**k),
        lambda: dict(
            folder="report",
            references={"zero": 0.0},
            metrics={"settings": {"a": 1}},
            figures=None,
            title="T",
        ),
    ),
    Row(
        "write_report",
        judging.write_report,
        lambda: dict(
            folder="report",
            metrics=parts.evaluation().metrics(),
            figures={},
            title="T",
            references={"zero": 0.0},
        ),
    ),
    Row(
        "backtest",
        judging.backtest,
        lambda: dict(
            table=parts.table(),
            n_targets=1,
            horizon=2,
            future=np.zeros((2, 1)),
            lookback=9,
            n_draws=1,
            refits=1,
            level=0.9,
            horizons=(1,),
        ),
    ),
    Row(
        "bootstrap_interval",
        judging.bootstrap_interval,
        lambda: dict(x=np.arange(5.0), statistic=np.mean, level=0.9, n_resamples=20, seed=0),
    ),
    Row(
        "paired_difference",
        judging.paired_difference,
        lambda: dict(a=np.arange(5.0), b=np.ones(5), level=0.9, seed=0),
    ),
    Row("interquartile_mean", judging.interquartile_mean, lambda: dict(x=np.ones((4, 2)), axis=0)),
    Row("metrics_json", judging.metrics_json, lambda: dict(metrics={"a": 1})),
    Row(
        "continuous_ranked_probability_score",
        judging.continuous_ranked_probability_score,
        lambda: dict(samples=np.ones((4, 3)), truth=np.ones(3)),
    ),
    Row(
        "mean_squared_error",
        judging.mean_squared_error,
        lambda: dict(forecast=np.ones((4, 3)), truth=np.ones((4, 3)), scale=np.ones(3)),
    ),
    Row(
        "valid_prediction_time",
        judging.valid_prediction_time,
        lambda: dict(
            forecast=np.ones((4, 3)),
            truth=np.ones((4, 3)),
            scale=np.ones(3),
            dt=1.0,
            lyapunov_exponent=1.0,
            threshold=0.3,
        ),
    ),
    Row(
        "state_space_divergence",
        judging.state_space_divergence,
        lambda: dict(generated=parts.series(), truth=parts.series(), n_bins=5),
    ),
    Row(
        "spectrum_distance",
        judging.spectrum_distance,
        lambda: dict(generated=parts.series(), truth=parts.series(), smoothing=2.0),
    ),
]
