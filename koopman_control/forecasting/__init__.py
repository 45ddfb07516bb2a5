"""Forecasting time series with sampled recurrent networks."""

from koopman_control.forecasting.gaps import fill_gaps
from koopman_control.forecasting.intervals import Forecast
from koopman_control.forecasting.rnn import SampledRNN

__all__ = ["Forecast", "SampledRNN", "fill_gaps"]
