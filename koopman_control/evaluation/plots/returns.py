"""Returns beside those of others, the learning curve that led there, and time per step."""

from collections.abc import Mapping, Sequence

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import FuncFormatter, NullFormatter
from numpy.typing import ArrayLike

from koopman_control.common.arrays import Array
from koopman_control.evaluation.plots import style
from koopman_control.evaluation.statistics import bootstrap_interval
from koopman_control.evaluation.summary import duration, number, percent, printable


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
    strips.set_yticks(range(len(rows)), list(map(printable, rows)), **style.LITERAL)
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
                printable(f"{label} (mean)"), (value, 1), (3 if left else -3, -2),
                xycoords=("data", "axes fraction"), textcoords="offset points",
                ha="left" if left else "right", va="top", fontsize=8.5, color=style.GREY,
                **style.LITERAL,
            )  # fmt: skip
    axes.set(xlim=(low, high), ylim=(0.0, 103.0))
    style.plain_axes(
        axes, "return of an episode (this controller's range)", "episodes at or below (%)"
    )
    style.count_ticks(axes.xaxis, 8)


def _all_equal(values: Array) -> bool:
    return float(np.ptp(values)) <= 1e-9 * float(np.abs(values).max())


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


def learning_curve(
    steps: ArrayLike,
    returns: Sequence[ArrayLike] | None = None,
    errors: Mapping[str, ArrayLike] | None = None,
    references: Mapping[str, float] | None = None,
) -> Figure:
    """Draw what each round of learning brought.

    Args:
        steps: Environment steps used up to each round, shape (rounds,).
        returns: Per round the return of one episode or of several; an empty entry is a gap.
        errors: Name (a roll-out kind, say) to held-out prediction error per round, in standard
            deviations of the output.
        references: Name to mean return of other controllers.

    Returns:
        One panel for each of `returns` and `errors` that is given.
    """
    x = np.asarray(steps, dtype=np.float64)
    if not returns and not errors:
        raise ValueError("learning_curve got neither returns nor errors; give at least one")
    figure = style.new_figure(height=3.6)
    panels = list(figure.subplots(1, bool(returns) + bool(errors), squeeze=False)[0])
    findings = []
    if returns:
        findings.append(_learning_returns(panels[0], x, returns, references or {}))
    if errors:
        findings.append(_learning_errors(panels[-1], x, errors))
    for panel in panels:
        panel.set_xlim(0, 1.06 * max(x[-1], 1.0))
        style.count_ticks(panel.xaxis)
    style.set_title(figure, f"{findings[0]} after {number(x[-1])} environment steps")
    if len(findings) > 1:
        style.panel_title(panels[-1], findings[1])
    return figure


def _learning_returns(
    axes: Axes, steps: Array, returns: Sequence[ArrayLike], references: Mapping[str, float]
) -> str:
    rounds = [np.atleast_1d(np.asarray(values, dtype=np.float64)) for values in returns]
    known = [(step, values) for step, values in zip(steps, rounds, strict=True) if values.size]
    x = np.array([step for step, _ in known])
    means = np.array([values.mean() for _, values in known])
    for step, values in known:
        if values.size > 1:
            axes.plot(np.full(values.size, step), values, ".", color=style.BLUE, alpha=0.35, ms=5)
    axes.plot(x, means, "o-", color=style.BLUE, lw=1.8, ms=5)
    for value, label in _joined_labels(references):
        axes.axhline(value, color=style.GREY, lw=1, ls="--")
        axes.annotate(
            printable(label), (0, value), (4, 3), xycoords=("axes fraction", "data"),
            textcoords="offset points", fontsize=8.5, color=style.GREY,
            bbox={"facecolor": "white", "edgecolor": "none", "pad": 0.5}, **style.LITERAL,
        )  # fmt: skip
    style.plain_axes(axes, "environment steps used", "return of an episode")
    if any(values.size > 1 for _, values in known):
        style.panel_title(axes, "small dots: single episodes")
    style.count_ticks(axes.yaxis)
    if means.size == 1:
        return f"Mean return {number(means[0])}"
    return f"Mean return goes from {number(means[0])} to {number(means[-1])}"


def _joined_labels(references: Mapping[str, float]) -> list[tuple[float, str]]:
    """Give references too close to be told apart one label together; the first sets its height."""
    close = 0.06 * float(np.ptp([*references.values(), 0.0]))
    groups: list[tuple[float, list[str]]] = []
    for name, value in references.items():
        label = f"{name} {number(value)}"
        for height, labels in groups:
            if abs(height - value) <= close:
                labels.append(label)
                break
        else:
            groups.append((value, [label]))
    return [(height, ", ".join(labels)) for height, labels in groups]


def _learning_errors(axes: Axes, steps: Array, errors: Mapping[str, ArrayLike]) -> str:
    last = {}
    for position, (name, values) in enumerate(errors.items()):
        colour, line = style.rollout_style(name, position)
        y = np.asarray(values, dtype=np.float64)
        axes.plot(steps, y, marker="o", ms=4, lw=1.8, color=colour, ls=line, label=name)
        last[name] = float(y[-1])
    axes.set_yscale("log")
    style.plain_axes(axes, "environment steps used", "held-out prediction error (σ)")
    style.legend(axes, *style.entries(axes))
    best = min(last, key=lambda name: last[name])
    return f"Held-out error of {best} {number(last[best])} σ"


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
