"""Predictions: held-out windows against roll-outs of the model, forecasts with their intervals."""

from collections.abc import Mapping, Sequence

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import LogLocator, NullLocator
from numpy.typing import ArrayLike, NDArray

from koopman_control.common.arrays import Array
from koopman_control.evaluation.plots import style
from koopman_control.evaluation.plots.style import signal_names, time_axis
from koopman_control.evaluation.summary import number


def prediction_fan(
    truth: ArrayLike,
    predictions: Mapping[str, ArrayLike],
    dt: float | None = None,
    names: Sequence[str] | None = None,
    scale: ArrayLike | None = None,
) -> Figure:
    """Draw measured windows against the model's predictions, and how the errors spread.

    Args:
        truth: Held-out measured outputs, shape (W, K + 1, p); the first row is the start.
        predictions: Roll-out kind to predictions from those starts, same shape as `truth`.
        dt: Time step in seconds; the axis counts steps if None.
        names: Names of the p outputs.
        scale: Standard deviation of each output, shape (p,); taken from `truth` if None.

    Returns:
        One row per output (six at most): up to three windows, then median and 10-90 % band of the
        absolute error over all W windows.
    """
    y = np.asarray(truth, dtype=np.float64)
    forecasts = {kind: np.asarray(value, dtype=np.float64) for kind, value in predictions.items()}
    for kind, forecast in forecasts.items():
        if y.ndim != 3 or forecast.shape != y.shape:
            raise ValueError(
                f"predictions {kind!r} have shape {forecast.shape} and truth has {y.shape}; "
                "expected one shape (W, K + 1, p)"
            )
    sigma = y.std(axis=(0, 1)) if scale is None else np.asarray(scale, dtype=np.float64)
    sigma = np.where(sigma > 0.0, sigma, 1.0)
    # A diverged prediction counts as an error without limit.
    errors = {kind: _magnitude(forecast - y) / sigma for kind, forecast in forecasts.items()}
    rows, windows = min(y.shape[2], 6), _spread_out(y.shape[0], 3)
    time, xlabel = time_axis(y.shape[1], dt)
    figure = style.new_figure(height=1.2 + 1.55 * rows)
    grid = figure.subplots(
        rows, len(windows) + 1, squeeze=False, sharex=True,
        gridspec_kw={"width_ratios": [1.0] * len(windows) + [1.35]},
    )  # fmt: skip
    for row, label in enumerate(signal_names(names, "output", y.shape[2])[:rows]):
        lines = {kind: forecast[windows, :, row] for kind, forecast in forecasts.items()}
        _windows(list(grid[row, :-1]), time, y[windows, :, row], lines, label)
        _error_growth(grid[row, -1], time, {kind: e[:, :, row] for kind, e in errors.items()})
    for panel, window in zip(grid[0], windows, strict=False):
        style.panel_title(panel, f"window {window + 1}")
    style.panel_title(grid[0, -1], f"error over all {y.shape[0]} windows")
    for panel in grid[-1]:
        panel.set_xlabel(xlabel, fontsize=9.5, color=style.INK)
    style.legend_below(figure, *style.entries(grid[0, 0]))
    style.set_title(figure, _fan_finding(errors))
    return figure


def _windows(
    panels: Sequence[Axes], time: Array, truth: Array, lines: Mapping[str, Array], label: str
) -> None:
    low, high = float(truth.min()), float(truth.max())
    margin = 0.25 * max(high - low, 1e-6 * abs(high)) or 1.0  # of what stays at zero
    for column, axes in enumerate(panels):
        axes.plot(
            time, truth[column], color="#B8B8B8", lw=4.5, solid_capstyle="round", label="measured"
        )
        for position, (kind, line) in enumerate(lines.items()):
            colour, dashes = style.rollout_style(kind, position)
            axes.plot(time, line[column], color=colour, ls=dashes, lw=1.5, label=kind)
        axes.set_ylim(low - margin, high + margin)
        style.plain_axes(axes, ylabel=label if column == 0 else "")
        axes.tick_params(labelleft=column == 0)


def _error_growth(axes: Axes, time: Array, errors: Mapping[str, Array]) -> None:
    for position, (kind, error) in enumerate(errors.items()):
        colour, dashes = style.rollout_style(kind, position)
        # The start is exact by construction, and zero has no place on a logarithmic axis.
        band = np.quantile(error[:, 1:], [0.1, 0.5, 0.9], axis=0, method="nearest")
        low, median, high = np.clip(band, 1e-12, 1e6)
        axes.fill_between(time[1:], low, high, color=colour, alpha=0.15, lw=0)
        axes.plot(time[1:], median, color=colour, ls=dashes, lw=1.8)
    axes.set_yscale("log")
    low, high = axes.get_ylim()
    axes.set_ylim(max(low, 1e-8), min(max(high, 1e-2), 10.0))
    axes.yaxis.set_major_locator(LogLocator(numticks=5))
    axes.yaxis.set_minor_locator(NullLocator())
    style.plain_axes(axes, ylabel="|error| (σ)")


def _magnitude(difference: Array) -> Array:
    return np.where(np.isfinite(difference), np.abs(difference), np.inf)


def _fan_finding(errors: Mapping[str, Array]) -> str:
    last = {
        kind: float(np.quantile(error[:, -1], 0.5, method="nearest"))
        for kind, error in errors.items()
    }
    horizon = next(iter(errors.values())).shape[1] - 1
    texts = [
        f"{kind} {number(value)} σ" if np.isfinite(value) else f"{kind} diverges"
        for kind, value in sorted(last.items(), key=lambda pair: pair[1])
    ]
    return f"Median error after {horizon} steps: {', '.join(texts)}"


def _spread_out(count: int, wanted: int) -> list[int]:
    return [int(i) for i in np.unique(np.linspace(0, count - 1, min(wanted, count)).round())]


_COLOURS = (style.BLUE, style.ORANGE, style.INK, style.GREY)
_STYLES = ((style.BLUE, "-"), (style.GREY, "--"), (style.ORANGE, "-."))


def forecast_figure(
    past: tuple[ArrayLike, ArrayLike],
    ahead: tuple[ArrayLike, ArrayLike, ArrayLike, ArrayLike],
    errors: Mapping[str, ArrayLike],
    name: str,
    level: float,
    clock: str = "",
) -> Figure:
    """Draw one output's forecast after its past, and errors at each lead.

    Args:
        past: Dates and values of the newest rows, shape (T,) each.
        ahead: Dates, forecasts, lower and upper bounds, shape (H,) each.
        errors: Root-mean-square error at each lead, shape (H,), by method; the model comes first.
        name: Name of the output.
        level: Probability of the interval.
        clock: What the dates are in, such as a time zone.
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
    style.plain_axes(series, clock, name)
    style.legend(series, *style.entries(series), loc="upper left")
    for (colour, dashes), (method, values) in zip(_STYLES, errors.items(), strict=False):
        sizes: NDArray[np.float64] = np.asarray(values, dtype=np.float64)
        leads = np.arange(1, len(sizes) + 1)
        growth.plot(leads, sizes, color=colour, ls=dashes, lw=1.8, label=method)
    style.plain_axes(growth, "steps ahead", "held-out error (RMS)")
    style.legend(growth, *style.entries(growth), loc="lower right")
    style.set_title(figure, _finding(errors, name))
    return figure


def forecast_checks(
    coverage: ArrayLike, missed: ArrayLike, names: Sequence[str], level: float
) -> Figure:
    """Draw how often intervals held at each lead, and what forecasts of one step missed.

    Args:
        coverage: Share of values within the interval, shape (H, p).
        missed: Truth less forecast one step ahead, in order of time, shape (W, p).
        names: Names of the p outputs.
        level: Probability that the intervals promise.
    """
    shares, rest = np.asarray(coverage, dtype=float), np.asarray(missed, dtype=float)
    figure = style.new_figure(height=3.4)
    held, chance = figure.subplots(1, 2, gridspec_kw={"width_ratios": [1.3, 1.0]})
    leads = np.arange(1, len(shares) + 1)
    held.axhspan(100 * level - 2, 100 * level + 2, color=style.GREY, alpha=0.25, lw=0)
    for colour, name, values in zip(_COLOURS, names, 100 * shares.T, strict=False):
        held.plot(leads, values, color=colour, lw=1.6, label=name)
    held.set_ylim(min(60.0, 100 * float(shares.min()) - 2), 100)
    style.plain_axes(held, "steps ahead", "within the interval, %")
    style.legend(held, *style.entries(held), loc="lower right")
    size = rest.std(axis=0)
    for colour, values in zip(_COLOURS, (rest / np.where(size > 0, size, 1)).T, strict=False):
        chance.hist(values, bins=np.linspace(-4, 4, 33), color=colour, histtype="step", lw=1.4)
    style.plain_axes(chance, "missed one step ahead, standard deviations", "held-out forecasts")
    mean = 100 * float(shares.mean())
    style.set_title(figure, f"Intervals of {100 * level:g} % held {mean:.1f} % of the values")
    return figure


def _finding(errors: Mapping[str, ArrayLike], name: str) -> str:
    sizes = {method: np.asarray(values, dtype=np.float64) for method, values in errors.items()}
    horizon = len(next(iter(sizes.values())))
    texts = [f"{method} {number(float(np.sqrt(np.mean(e**2))))}" for method, e in sizes.items()]
    return f"Error of {name} over {horizon} steps: {', '.join(texts)}"
