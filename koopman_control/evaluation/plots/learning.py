"""The learning curve: what each round of collecting and fitting brought."""

from collections.abc import Mapping, Sequence

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from numpy.typing import ArrayLike

from koopman_control.common.arrays import Array
from koopman_control.evaluation.plots import style
from koopman_control.evaluation.wording import number


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
        panels[-1].set_title(findings[1], fontsize=10, color=style.INK, loc="left")
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
            label, (0, value), (4, 3), xycoords=("axes fraction", "data"),
            textcoords="offset points", fontsize=8.5, color=style.GREY,
            bbox={"facecolor": "white", "edgecolor": "none", "pad": 0.5},
        )  # fmt: skip
    style.plain_axes(axes, "environment steps used", "return of an episode")
    if any(values.size > 1 for _, values in known):
        axes.set_title("small dots: single episodes", fontsize=10, color=style.INK, loc="left")
    style.count_ticks(axes.yaxis)
    if means.size == 1:
        return f"Mean return {number(means[0])}"
    return f"Mean return goes from {number(means[0])} to {number(means[-1])}"


def _joined_labels(references: Mapping[str, float]) -> list[tuple[float, str]]:
    """Give references too close to be told apart one label together; the first sets its height."""
    close = 0.06 * max(np.ptp([*references.values(), 0.0]), 1e-12)
    groups: list[tuple[float, list[str]]] = []
    for name, value in references.items():
        label = f"{name} {number(value)}"
        for height, labels in groups:
            if abs(height - value) < close:
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
    axes.legend(frameon=False, fontsize=9)
    best = min(last, key=lambda name: last[name])
    return f"Held-out error of {best} {number(last[best])} σ"
