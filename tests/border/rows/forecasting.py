"""Forecasting."""

from datetime import UTC

import numpy as np

import koopman_control as kc
import koopman_control.forecasting as forecasting
from koopman_control.common import optional_package
from koopman_control.forecasting.calendars import Steps
from tests.border import parts
from tests.border.rows.row import Row, saved

pandas = optional_package("pandas", "forecast")


def driven() -> kc.SampledRNN:
    features = kc.SampledFeatures(4, random_state=0)
    return kc.SampledRNN(features, n_folds=2, horizon=3).fit(parts.runs())


def network() -> kc.SampledRNN:
    return kc.SampledRNN(kc.SampledFeatures(3, random_state=0), n_folds=2, regularization=1e-3)


ROWS = [
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
            noise="smooth",
        ),
    ),
    Row(
        "SampledRNN.model",
        lambda **k: driven().model(**k),
        lambda: dict(dt=0.1, action_bounds=parts.BOX),
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
        "SampledRNN.fit_shards",
        lambda **k: network().fit_shards(**k),
        lambda: dict(readers=[parts.runs()], pilot=parts.runs(), workers=1),
    ),
    Row("SampledRNN.sums", lambda **k: driven().sums(**k), lambda: dict(shard=parts.runs())),
    Row(
        "SampledRNN.merge",
        lambda **k: driven().merge(**k),
        lambda: dict(parts=[driven().sums(parts.runs())]),
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
        "DirectForecaster",
        lambda **k: forecasting.DirectForecaster(**k).fit(parts.series()),
        lambda: dict(
            horizon=3,
            periods=(7,),
            lookback=9,
            n_features=(0, 4),
            n_folds=2,
            n_draws=2,
            random_state=0,
        ),
    ),
    Row(
        "DirectForecaster.fit",
        lambda **k: forecasting.DirectForecaster(3, n_features=(0,)).fit(**k),
        lambda: dict(series=parts.series(), y=None, inputs=np.cos(np.arange(60.0))[:, None]),
    ),
    Row(
        "DirectForecaster.score",
        lambda **k: parts.direct().score(**k),
        lambda: dict(series=parts.series(), y=None, inputs=None),
    ),
    Row(
        "DirectForecaster.forecast",
        lambda **k: parts.direct().forecast(**k),
        lambda: dict(history=parts.series(), inputs=None),
    ),
    Row(
        "DirectForecaster.forecast_with_intervals",
        lambda **k: parts.direct().forecast_with_intervals(**k),
        lambda: dict(history=parts.series(), inputs=None),
    ),
    Row(
        "DirectForecaster.save",
        lambda **k: parts.direct().save(**k),
        lambda: dict(path="forecaster.npz", notes={"a": 1}),
    ),
    Row(
        "DirectForecaster.load",
        forecasting.DirectForecaster.load,
        lambda: {"path": saved(lambda: parts.direct().save("f.npz"), "f.npz")},
    ),
    Row(
        "Forecast.bounds",
        lambda **k: parts.direct().forecast_with_intervals(parts.series()).bounds(**k),
        lambda: dict(level=0.9),
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
            missing=[-9999],
            seconds=None,
            dt=None,
        ),
    ),
    Row(
        "TimeTable",
        forecasting.TimeTable,
        lambda: dict(
            dates=parts.table().dates,
            rows=parts.table().rows,
            names=("a", "b"),
            dt=3600.0,
            repairs=(),
            zone=UTC,
            steps=Steps("day", 1),
            seconds=0.0,
        ),
    ),
    Row("TimeTable.counted", parts.table().counted, lambda: dict(dates=parts.table().dates)),
    Row("TimeTable.clock", parts.table().clock, lambda: dict(dates=parts.table().dates)),
    Row("TimeTable.written", parts.table().written, lambda: dict(dates=parts.table().dates)),
    Row("TimeTable.calendar", parts.table().calendar, lambda: dict(n_more=1, periods=[86_400.0])),
    Row("TimeTable.dates_after", parts.table().dates_after, lambda: dict(n_steps=1)),
]
