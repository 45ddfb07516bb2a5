"""The figures of the report: one function each, plain arrays in, a matplotlib `Figure` out."""

from koopman_control.evaluation.plots.loop import LivePlot, closed_loop, plan
from koopman_control.evaluation.plots.prediction import forecast_figure, prediction_fan
from koopman_control.evaluation.plots.returns import (
    learning_curve,
    return_distribution,
    step_time_histogram,
)
from koopman_control.evaluation.plots.spectrum import (
    eigenvalue_residuals,
    eigenvalues,
    pseudospectrum,
)

__all__ = [
    "LivePlot",
    "closed_loop",
    "eigenvalue_residuals",
    "eigenvalues",
    "forecast_figure",
    "learning_curve",
    "plan",
    "prediction_fan",
    "pseudospectrum",
    "return_distribution",
    "step_time_histogram",
]
