"""How long the controller takes per step."""

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import FuncFormatter, NullFormatter
from numpy.typing import ArrayLike

from koopman_control.evaluation.plots import style
from koopman_control.evaluation.wording import duration, percent


def step_time_histogram(act_seconds: ArrayLike, dt: float | None = None) -> Figure:
    """Draw how long the controller took per step.

    Args:
        act_seconds: Wall time of each step in seconds, shape (n,).
        dt: Time step in seconds, the deadline of a real-time controller.

    Returns:
        A histogram over logarithmic time with median, 99th percentile, maximum and deadline.
    """
    micros = np.maximum(np.asarray(act_seconds, dtype=np.float64).ravel() * 1e6, 1e-3)
    p50, p99, longest = (float(q) for q in np.quantile(micros, [0.5, 0.99, 1.0]))
    figure = style.new_figure(height=3.2)
    axes = figure.subplots()
    low, high = micros.min() / 1.3, longest * 1.3
    weights = np.full(micros.size, 100.0 / micros.size)
    axes.hist(
        micros, np.geomspace(low, high, 61).tolist(), weights=weights, color=style.BLUE, alpha=0.8
    )
    axes.set_xscale("log")
    axes.set_ylim(0.0, 1.28 * axes.get_ylim()[1])
    for value, label, height in (
        (p50, "median", 0.98),
        (p99, "99 %", 0.88),
        (longest, "slowest", 0.78),
    ):
        _mark(axes, value, label, height, style.INK, left=False)
    if dt is not None:
        _mark(axes, dt * 1e6, "time step", 0.98, style.VERMILLION, left=dt * 1e6 < longest)
        high = max(high, dt * 1e6 * 2.2)
    axes.set_xlim(low, high * 1.6)
    axes.xaxis.set_major_formatter(FuncFormatter(lambda value, _: duration(value)))
    axes.xaxis.set_minor_formatter(NullFormatter())
    style.plain_axes(axes, "time per act(), logarithmic", "share of steps (%)")
    style.set_title(figure, _time_finding(p50, p99, dt))
    return figure


def _mark(axes: Axes, micros: float, label: str, height: float, colour: str, left: bool) -> None:
    axes.axvline(
        micros, ymax=height, color=colour, lw=1.2, ls="--" if colour == style.VERMILLION else "-"
    )
    axes.annotate(
        f"{label} {duration(micros)}", (micros, height), (-3 if left else 3, -1),
        xycoords=("data", "axes fraction"), textcoords="offset points", va="top",
        ha="right" if left else "left", fontsize=8.5, color=colour,
    )  # fmt: skip


def _time_finding(p50: float, p99: float, dt: float | None) -> str:
    text = f"Half the steps take under {duration(p50)}, 99 % under {duration(p99)}"
    return text if dt is None else f"{text} ({percent(p99 / (dt * 1e6))} of the time step)"
