"""Evaluation, forecasting and tasks."""

import numpy as np

import koopman_control as kc
import koopman_control.common as common
import koopman_control.evaluation as judging
import koopman_control.forecasting as forecasting
import koopman_control.tasks as tasks
from koopman_control.common import optional_package
from tests.border import parts
from tests.border.parts import model
from tests.border.row import Row, fields

pandas = optional_package("pandas", "forecast")

ROWS = [
    Row("RandomPolicy", kc.RandomPolicy, lambda: dict(action_bounds=parts.BOX, seed=0)),
    Row(
        "RandomPolicy.seed", lambda **k: kc.RandomPolicy(parts.BOX).seed(**k), lambda: dict(seed=0)
    ),
    Row("ZeroPolicy", kc.ZeroPolicy, lambda: dict(action_bounds=parts.BOX)),
    Row(
        "evaluate",
        kc.evaluate,
        lambda: dict(
            controller=kc.ZeroPolicy(parts.BOX),
            env=parts.environment(),
            seeds=range(2),
            workers=1,
            on_episode=None,
        ),
    ),
    Row(
        "run_episode",
        judging.run_episode,
        lambda: dict(controller=kc.ZeroPolicy(parts.BOX), env=parts.environment(), seed=0),
    ),
    Row("action_bounds", judging.action_bounds, lambda: dict(env=parts.environment())),
    Row(
        "begin_episode",
        common.begin_episode,
        lambda: dict(controller=kc.RandomPolicy(parts.BOX), seed=0),
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
            observation_names=["a"] * parts.environment().observation_space.shape[0],
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
        lambda: dict(table=parts.table(), n_targets=1, horizon=2, memory=1, n_draws=1, level=0.9),
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
    Row(
        "SampledRNN",
        lambda **k: kc.SampledRNN(**k).fit(parts.series()),
        lambda: dict(
            features=kc.SampledFeatures(4, random_state=0),
            memory=1,
            n_recurrent=0,
            increments=True,
            regularization=1e-3,
            horizon=3,
            n_folds=2,
            n_draws=1,
            random_state=0,
        ),
    ),
    Row(
        "SampledRNN.fit",
        lambda **k: kc.SampledRNN(
            kc.SampledFeatures(3, random_state=0), n_folds=2, regularization=1e-3
        ).fit(**k),
        lambda: dict(series=parts.series(), y=None, inputs=np.cos(np.arange(60.0))[:, None]),
    ),
    Row(
        "SampledRNN.partial_fit",
        lambda **k: (
            kc.SampledRNN(kc.SampledFeatures(3, random_state=0), n_folds=2, regularization=1e-3)
            .fit(parts.series())
            .partial_fit(**k)
        ),
        lambda: dict(series=parts.series(), y=None, inputs=None),
    ),
    Row(
        "SampledRNN.score",
        lambda **k: parts.rnn().score(**k),
        lambda: dict(series=parts.series(), y=None, inputs=None),
    ),
    Row(
        "SampledRNN.forecast",
        lambda **k: parts.rnn().forecast(**k),
        lambda: dict(history=parts.series(), horizon=2, inputs=None),
    ),
    Row(
        "SampledRNN.forecast_with_intervals",
        lambda **k: parts.rnn().forecast_with_intervals(**k),
        lambda: dict(history=parts.series(), horizon=2, inputs=None),
    ),
    Row(
        "Forecast.interval",
        lambda **k: parts.rnn().forecast_with_intervals(parts.series(), 2).interval(**k),
        lambda: dict(level=0.9),
    ),
    Row(
        "Forecast.of_outputs",
        lambda **k: parts.rnn().forecast_with_intervals(parts.series(), 2).of_outputs(**k),
        lambda: dict(columns=[0]),
    ),
    Row("fill_gaps", forecasting.fill_gaps, lambda: dict(series=parts.series(), how="linear")),
    Row(
        "time_table",
        forecasting.time_table,
        lambda: dict(
            frame=pandas.DataFrame(
                {"date": ["2020-01-01", "2020-01-02", "2020-01-03"], "a": [1.0, 2.0, 3.0]}
            ),
            columns=["a"],
            date="date",
            fill=None,
        ),
    ),
    Row("TimeTable.calendar", parts.table().calendar, lambda: dict(n_more=1)),
    Row("TimeTable.dates_after", parts.table().dates_after, lambda: dict(n_steps=1)),
    Row(
        "Task",
        kc.Task,
        lambda: {
            f: getattr(parts.task(), f)
            for f in (
                "env_id",
                "summary",
                "Q",
                "R",
                "horizon",
                "n_steps",
                "first_steps",
                "n_rounds",
                "rollout",
                "coupling",
                "n_features",
                "steepness",
                "ignored",
                "beside",
                "input_features",
                "n_draws",
                "prediction",
                "states",
                "angles",
                "memory",
                "reference",
                "input_reference",
                "excitation",
                "noise",
                "until",
                "state_names",
                "mpc",
                "env_arguments",
            )
        },
    ),
    Row("Task.estimator", parts.task().estimator, fields(seed=0)),
    Row("Task.controller", parts.task(Q=(1.0, 0.1)).controller, lambda: dict(model=model())),
    Row("Task.learn", parts.task().learn, lambda: dict(seed=0, on_step=None, checkpoint=None)),
    Row(
        "normalised_score",
        kc.normalised_score,
        lambda: dict(env_id="Pendulum-v1", returns=np.ones(2), seeds=[1000, 1001]),
    ),
    Row(
        "reference_returns",
        tasks.reference_returns,
        lambda: dict(env_id="Pendulum-v1", seeds=[1000, 1001]),
    ),
]
