"""Forecasting: see `allowed`."""

LINES = """
SampledRNN.model dt: none fraction
SampledRNN.model action_bounds: none
TimeTable names: texts
TimeTable dt: fraction
TimeTable repairs: texts empty
TimeTable zone: none
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
Forecast.of_outputs columns: empty
fill_gaps series: holed longer wider
time_table date: none
time_table fill: none
time_table missing: texts empty
TimeTable.calendar n_more: zero
TimeTable.dates_after n_steps: zero
"""
OTHER_NAMES = """
TimeTable names: rows
time_table columns: column
SampledRNN.fit series: inputs
"""
