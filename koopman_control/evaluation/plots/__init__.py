"""The figures of the report: one function each, plain arrays in, a matplotlib `Figure` out."""

from koopman_control.evaluation.plots.forecast import forecast_figure
from koopman_control.evaluation.plots.learning import learning_curve
from koopman_control.evaluation.plots.live import LivePlot
from koopman_control.evaluation.plots.loop import closed_loop
from koopman_control.evaluation.plots.plan import plan
from koopman_control.evaluation.plots.prediction import prediction_fan
from koopman_control.evaluation.plots.residuals import eigenvalue_residuals, pseudospectrum
from koopman_control.evaluation.plots.returns import return_distribution
from koopman_control.evaluation.plots.spectrum import eigenvalues
from koopman_control.evaluation.plots.timing import step_time_histogram

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
