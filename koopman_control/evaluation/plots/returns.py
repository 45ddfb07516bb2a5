"""The distribution of the returns beside those of other controllers."""

from collections.abc import Mapping

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from numpy.typing import ArrayLike

from koopman_control.common.arrays import Array
from koopman_control.evaluation.plots import style
from koopman_control.evaluation.statistics import bootstrap_interval
from koopman_control.evaluation.wording import number


def return_distribution(
    returns: ArrayLike,
    references: Mapping[str, ArrayLike] | None = None,
    name: str = "this controller",
) -> Figure:
    """Draw the return of every episode beside those of other controllers.

    Args:
        returns: Returns of the controller under test, shape (n,).
        references: Name to returns of another controller, or to its mean alone.
        name: Label of the controller under test.

    Returns:
        A row per controller (every episode a dot, the mean with its 95 % interval), and the share
        of episodes below each return for the controller under test.
    """
    own = np.asarray(returns, dtype=np.float64).ravel()
    rows = {name: own} | {
        label: np.asarray(value, dtype=np.float64).ravel()
        for label, value in (references or {}).items()
    }
    # Equal returns have no distribution to draw.
    panels = 1 if _all_equal(own) else 2
    strip_height = 0.42 * len(rows) + 0.5
    figure = style.new_figure(height=1.1 + strip_height + 2.0 * (panels - 1))
    axes = figure.subplots(
        panels, squeeze=False, gridspec_kw={"height_ratios": [strip_height, 1.9][:panels]}
    )[:, 0]
    strips = axes[0]
    for height, (label, values) in enumerate(rows.items()):
        _strip(strips, height, values, style.BLUE if label == name else style.GREY)
    strips.set_yticks(range(len(rows)), list(rows))
    strips.set_ylim(len(rows) - 0.45, -0.55)
    style.plain_axes(strips, "return of an episode")
    style.count_ticks(strips.xaxis, 8)
    strips.grid(False, axis="y")
    if panels == 2:
        means = {label: float(v.mean()) for label, v in rows.items() if label != name}
        _share_below(axes[1], own, means)
    style.set_title(figure, _return_finding(own))
    return figure


def _strip(axes: Axes, height: float, values: Array, colour: str) -> None:
    mean = float(values.mean())
    if values.size > 1:
        # Evenly spread in the order given: reproducible, and no dot hides another for long.
        offset = 0.28 * (np.arange(values.size) * 0.618034 % 1.0 - 0.5) * 2.0
        axes.plot(values, height + offset, ".", color=colour, alpha=0.35, ms=5, mew=0)
        low, high = bootstrap_interval(values)
        axes.plot([low, high], [height, height], color=style.INK, lw=2.2, solid_capstyle="butt")
    axes.plot(mean, height, "D", color="white", mec=style.INK, mew=1.5, ms=5)
    axes.annotate(
        number(mean), (1.01, height), xycoords=("axes fraction", "data"), va="center",
        fontsize=9, color=style.INK,
    )  # fmt: skip


def _share_below(axes: Axes, own: Array, means: Mapping[str, float]) -> None:
    ordered = np.sort(own)
    share = 100.0 * np.arange(1, own.size + 1) / own.size
    axes.plot(np.append(ordered[0], ordered), np.append(0.0, share), drawstyle="steps-post",
              color=style.BLUE, lw=1.8)  # fmt: skip
    margin = 0.15 * float(np.ptp(own))
    low, high = float(ordered[0]) - margin, float(ordered[-1]) + margin
    for label, value in means.items():
        if low <= value <= high:
            axes.axvline(value, color=style.GREY, lw=1, ls="--")
            left = value < 0.5 * (low + high)  # the label goes where there is room
            axes.annotate(
                f"{label} (mean)", (value, 1), (3 if left else -3, -2),
                xycoords=("data", "axes fraction"), textcoords="offset points",
                ha="left" if left else "right", va="top", fontsize=8.5, color=style.GREY,
            )  # fmt: skip
    axes.set(xlim=(low, high), ylim=(0.0, 103.0))
    style.plain_axes(
        axes, "return of an episode (this controller's range)", "episodes at or below (%)"
    )
    style.count_ticks(axes.xaxis, 8)


def _all_equal(values: Array) -> bool:
    return float(np.ptp(values)) <= 1e-9 * max(1.0, float(np.abs(values).max()))


def _return_finding(own: Array) -> str:
    if own.size == 1:
        return f"The only episode returns {number(float(own[0]))}"
    if _all_equal(own):
        return f"All {own.size} episodes return {number(float(own[0]))}"
    low, high = bootstrap_interval(own)
    return (
        f"Mean return {number(float(own.mean()))} (95 % interval {number(low)} to {number(high)}), "
        f"worst of {own.size} {number(float(own.min()))}"
    )
