from .loop import LivePlot, closed_loop, plan
from .prediction import forecast_checks, forecast_figure, prediction_fan
from .returns import learning_curve, return_distribution, step_time_histogram
from .simulation import free_run, k_step_error, residuals, steady_states
from .spectrum import eigenvalue_residuals, eigenvalues, pseudospectrum

__all__ = [
    "LivePlot",
    "closed_loop",
    "eigenvalue_residuals",
    "eigenvalues",
    "forecast_checks",
    "forecast_figure",
    "free_run",
    "k_step_error",
    "learning_curve",
    "plan",
    "prediction_fan",
    "pseudospectrum",
    "residuals",
    "return_distribution",
    "steady_states",
    "step_time_histogram",
]
