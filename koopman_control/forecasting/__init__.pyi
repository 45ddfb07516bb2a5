from .direct import DirectForecaster
from .intervals import Forecast
from .rnn import SampledRNN
from .series import fill_gaps
from .table import DAY, TimeTable, time_table

__all__ = [
    "DAY",
    "DirectForecaster",
    "Forecast",
    "SampledRNN",
    "TimeTable",
    "fill_gaps",
    "time_table",
]
