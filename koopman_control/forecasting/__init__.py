"""Forecasting time series with sampled recurrent networks."""

from koopman_control.forecasting.intervals import Forecast
from koopman_control.forecasting.rnn import SampledRNN
from koopman_control.forecasting.series import fill_gaps
from koopman_control.forecasting.table import DAY, TimeTable, time_table

__all__ = ["DAY", "Forecast", "SampledRNN", "TimeTable", "fill_gaps", "time_table"]
