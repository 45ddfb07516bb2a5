"""Free runs against what was measured, what residuals still hold, and steady states."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from matplotlib.figure import Figure
from numpy.typing import ArrayLike

from koopman_control.common.arrays import Array
from koopman_control.evaluation.plots import style

MOST_ROWS = 3_000  # drawn; more are thinned
MOST_PANELS = 6


def free_run(
    measured: ArrayLike,
    simulated: ArrayLike,
    linear: ArrayLike,
    dt: float | None = None,
    names: Sequence[str] | None = None,
) -> Figure:
    """Draw a free run over the measured outputs, and its error below.

    Args:
        measured: Outputs, shape (T, p).
        simulated: What the model says, NaN after a divergence, shape (T, p).
        linear: What the linear model says, shape (T, p).
        dt: Time step in seconds; the axis counts rows if None.
        names: Names of the p outputs.

    Returns:
        Two rows for each output, six outputs at most.
    """
    y, model, baseline = (np.asarray(v, dtype=np.float64) for v in (measured, simulated, linear))
    count = min(y.shape[1], MOST_PANELS)
    time, xlabel = style.time_axis(len(y), dt)
    kept = np.linspace(0, len(y) - 1, min(MOST_ROWS, len(y))).astype(int)
    figure = style.new_figure(height=0.9 + 2.3 * count)
    axes = figure.subplots(
        2 * count, 1, sharex=True, squeeze=False, gridspec_kw={"height_ratios": [2.0, 1.0] * count}
    )[:, 0]
    for i, label in enumerate(style.signal_names(names, "output", y.shape[1])[:count]):
        above, below = axes[2 * i], axes[2 * i + 1]
        above.plot(time[kept], y[kept, i], color="#B8B8B8", lw=3.5, label="measured")
        for values, name, (colour, dashes) in (
            (baseline, "linear model", (style.ORANGE, "--")),
            (model, "model", (style.BLUE, "-")),
        ):
            above.plot(time[kept], values[kept, i], color=colour, ls=dashes, lw=1.2, label=name)
            below.plot(
                time[kept], (values - y)[kept, i], color=colour, ls=dashes, lw=1.0, label=name
            )
        low, high = float(y[:, i].min()), float(y[:, i].max())
        margin = 0.15 * max(high - low, 1e-12)
        above.set_ylim(low - margin, high + margin)
        known = (model - y)[np.isfinite(model[:, i]), i]
        reach = 1.3 * float(np.abs(known).max()) if len(known) else high - low
        below.set_ylim(-max(reach, 1e-12), max(reach, 1e-12))
        style.plain_axes(above, "", label)
        style.plain_axes(below, xlabel if i == count - 1 else "", "error")
    style.legend_below(figure, *style.entries(axes[0]))
    error = np.sqrt(np.mean((model - y) ** 2, axis=0)) / np.maximum(y.std(axis=0), 1e-300)
    worst = float(error.max())
    finding = (
        f"A free run over {len(y)} rows is off by {100.0 * worst:.2g} % of the output's deviation"
        if np.isfinite(worst)
        else "The free run diverges"
    )
    style.set_title(figure, finding)
    return figure


def residuals(
    whiteness: Array, inputs: Array, band: float, names: Sequence[str], input_names: Sequence[str]
) -> Figure:
    """Draw what one-step residuals still hold: of themselves, and of the inputs.

    Args:
        whiteness: Correlation with themselves 1 ... L steps before, shape (L, p).
        inputs: Correlation with inputs -L ... L steps before, shape (2 L + 1, p, m).
        band: What 95 % of the lags of white noise stay within.
        names: Names of the outputs.
        input_names: Names of the inputs.

    Returns:
        One row for each output, six at most.
    """
    L, count = len(whiteness), min(whiteness.shape[1], MOST_PANELS)
    figure = style.new_figure(height=0.9 + 1.7 * count)
    axes = figure.subplots(count, 2, squeeze=False, sharex="col")
    colours = (style.BLUE, style.ORANGE, style.GREEN, style.PURPLE, style.VERMILLION, style.GREY)
    for i in range(count):
        own, cross = axes[i]
        own.vlines(np.arange(1, L + 1), 0.0, whiteness[:, i], color=style.BLUE, lw=2)
        for j, name in enumerate(list(input_names)[: len(colours)]):
            cross.plot(
                np.arange(-L, L + 1), inputs[:, i, j], color=colours[j], lw=1.2,
                marker=".", ms=3, label=name,
            )  # fmt: skip
        for panel in (own, cross):
            panel.axhspan(-band, band, color="#EEF3F6", zorder=0)
            panel.axhline(0.0, color=style.GREY, lw=0.8)
        bottom = i == count - 1
        style.plain_axes(own, "steps before" if bottom else "", names[i], "" if i else "itself")
        style.plain_axes(cross, "steps before" if bottom else "", "", "" if i else "inputs")
    style.legend_below(figure, *style.entries(axes[0, 1]))
    outside = 100.0 * float((np.abs(whiteness) > band).mean())
    style.set_title(
        figure, f"{outside:.0f} % of the residuals' own lags lie outside the band (5 % by chance)"
    )
    return figure


def steady_states(
    inputs: Array, outputs: Array, names: Sequence[str], input_names: Sequence[str]
) -> Figure:
    """Draw where outputs settle under constant inputs.

    Args:
        inputs: Levels of each input, shape (m, L).
        outputs: Where the outputs settle, NaN where they do not, shape (m, L, p).
        names: Names of the outputs.
        input_names: Names of the inputs.

    Returns:
        A panel for each pair, four by four at most.
    """
    rows, columns = min(outputs.shape[2], 4), min(len(inputs), 4)
    figure = style.new_figure(height=0.9 + 1.9 * rows)
    axes = figure.subplots(rows, columns, squeeze=False, sharex="col", sharey="row")
    for a in range(rows):
        for i in range(columns):
            axes[a, i].plot(inputs[i], outputs[i, :, a], color=style.BLUE, marker="o", ms=4, lw=1.3)
            style.plain_axes(
                axes[a, i], input_names[i] if a == rows - 1 else "", names[a] if i == 0 else ""
            )
    unsettled = int(np.isnan(outputs).any(axis=2).sum())
    finding = "Under every constant input the outputs settle"
    if unsettled:
        finding = f"Under {unsettled} of {inputs.size} constant inputs an output does not settle"
    style.set_title(figure, finding)
    return figure


def k_step_error(errors: Array, dt: float | None = None) -> Figure:
    """Draw how prediction errors grow with the horizon, shape (H,), in standard deviations."""
    figure = style.new_figure(height=2.6)
    axes = figure.subplots()
    time, xlabel = style.time_axis(len(errors) + 1, dt)
    axes.plot(time[1:], errors, color=style.BLUE, lw=1.6)
    axes.set_yscale("log")
    style.plain_axes(axes, xlabel.replace("step", "steps ahead"), "error (σ)")
    style.set_title(
        figure, f"{len(errors)} steps ahead the error is {errors[-1]:.2g} standard deviations"
    )
    return figure
