"""Forecasts of a series: the newest one with its interval, and the error at every lead."""

from collections.abc import Mapping

import numpy as np
from matplotlib.figure import Figure
from numpy.typing import ArrayLike, NDArray

from koopman_control.evaluation.plots import style
from koopman_control.evaluation.wording import number

_STYLES = ((style.BLUE, "-"), (style.GREY, "--"), (style.ORANGE, "-."))


def forecast_figure(
    past: tuple[ArrayLike, ArrayLike],
    ahead: tuple[ArrayLike, ArrayLike, ArrayLike, ArrayLike],
    errors: Mapping[str, ArrayLike],
    name: str,
    level: float,
) -> Figure:
    """Draw one output's forecast after its past, and errors at each lead.

    Args:
        past: Dates and values of the newest rows, shape (T,) each.
        ahead: Dates, forecasts, lower and upper bounds, shape (H,) each.
        errors: Root-mean-square error at each lead, shape (H,), by method; the model comes first.
        name: Name of the output.
        level: Probability of the interval.
    """
    figure = style.new_figure(height=5.4)
    series, growth = figure.subplots(2, 1, gridspec_kw={"height_ratios": [1.5, 1.0]})
    when, mean, low, high = (np.asarray(values) for values in ahead)
    series.plot(*(np.asarray(values) for values in past), color=style.INK, lw=1.2, label="measured")
    band = np.isfinite(low) & np.isfinite(high)
    label = f"{100 * level:g} % interval"
    series.fill_between(
        when, low, high, where=list(band), color=style.BLUE, alpha=0.2, lw=0, label=label
    )
    series.plot(when, mean, color=style.BLUE, lw=1.8, label="forecast")
    series.tick_params(axis="x", rotation=20)
    style.plain_axes(series, ylabel=name)
    series.legend(frameon=False, fontsize=9, loc="upper left")
    for (colour, dashes), (method, values) in zip(_STYLES, errors.items(), strict=False):
        sizes: NDArray[np.float64] = np.asarray(values, dtype=np.float64)
        leads = np.arange(1, len(sizes) + 1)
        growth.plot(leads, sizes, color=colour, ls=dashes, lw=1.8, label=method)
    style.plain_axes(growth, "steps ahead", "held-out error (RMS)")
    growth.legend(frameon=False, fontsize=9, loc="lower right")
    style.set_title(figure, _finding(errors, name))
    return figure


def _finding(errors: Mapping[str, ArrayLike], name: str) -> str:
    sizes = {method: np.asarray(values, dtype=np.float64) for method, values in errors.items()}
    horizon = len(next(iter(sizes.values())))
    texts = [f"{method} {number(float(np.sqrt(np.mean(e**2))))}" for method, e in sizes.items()]
    return f"Error of {name} over {horizon} steps: {', '.join(texts)}"
