"""Forecasting: see `allowed`."""

LINES = """
SampledRNN.fit_shards pilot: none
SampledRNN.fit_shards workers: none
SampledRNN.sums shard: empty
SampledRNN.model dt: none fraction
SampledRNN.model action_bounds: none
TimeTable names: texts
TimeTable dt: fraction
TimeTable repairs: texts empty
TimeTable zone: none
TimeTable steps: none
SampledRNN features: none
SampledRNN memory: zero
SampledRNN n_recurrent: zero
SampledRNN increments: true
SampledRNN regularization: zero fraction
SampledRNN n_folds: zero
SampledRNN random_state: zero
SampledRNN.fit series: longer wider
SampledRNN.fit y: *
SampledRNN.fit inputs: none wider
SampledRNN.partial_fit series: longer
SampledRNN.partial_fit y: *
SampledRNN.partial_fit inputs: none
SampledRNN.score series: longer
SampledRNN.score y: *
SampledRNN.score inputs: none
SampledRNN.forecast history: longer
SampledRNN.forecast inputs: none
SampledRNN.forecast_with_intervals history: longer
SampledRNN.forecast_with_intervals inputs: none
DirectForecaster periods: empty
DirectForecaster lookback: none
DirectForecaster n_features: empty
DirectForecaster random_state: zero
DirectForecaster.fit series: longer wider
DirectForecaster.fit y: *
DirectForecaster.fit inputs: none wider
DirectForecaster.score series: longer
DirectForecaster.score y: *
DirectForecaster.score inputs: none
DirectForecaster.forecast history: longer
DirectForecaster.forecast inputs: none
DirectForecaster.forecast_with_intervals history: longer
DirectForecaster.forecast_with_intervals inputs: none
Forecast.of_outputs columns: empty
fill_gaps series: holed longer wider
time_table date: none
time_table fill: none
time_table missing: texts empty
time_table seconds: none
time_table dt: none
TimeTable seconds: none zero minus fraction
TimeTable.calendar n_more: zero
TimeTable.calendar periods: none empty
DirectForecaster.save path: text
DirectForecaster.save notes: none
TimeTable.dates_after n_steps: zero
"""
OTHER_NAMES = """
SampledRNN.fit_shards readers: data
SampledRNN.fit_shards pilot: data
SampledRNN.sums shard: data
TimeTable names: rows
time_table columns: column
SampledRNN.fit series: inputs
DirectForecaster.fit series: inputs
DirectForecaster.load path: file
"""
