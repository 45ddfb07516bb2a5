"""The latest plan of a controller: what it predicts, what it applies, and what holds it back."""

from collections.abc import Sequence

import numpy as np
from matplotlib.artist import Artist
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator
from numpy.typing import ArrayLike

from koopman_control.common.arrays import Array
from koopman_control.evaluation.plots import style
from koopman_control.evaluation.plots.style import signal_names
from koopman_control.evaluation.wording import number
from koopman_control.mpc.step import Step


def plan(
    step: Step,
    past_states: ArrayLike | None = None,
    past_inputs: ArrayLike | None = None,
    dt: float | None = None,
    state_names: Sequence[str] | None = None,
    input_names: Sequence[str] | None = None,
) -> Figure:
    """Draw predicted states and planned inputs with targets and bounds, after what happened so far.

    Args:
        step: What the controller did in a step, `mpc.last`.
        past_states: States before now, shape (k, d); the present one is known to `step`.
        past_inputs: Inputs applied before now, shape (k, m).
        dt: Time step in seconds; the axis counts steps if None.
        state_names: Names of the d states.
        input_names: Names of the m inputs.

    Returns:
        One panel per signal, inputs last; now is at zero.
    """
    panels = step.outputs.shape[1] + step.inputs.shape[1]
    figure = style.new_figure(height=1.1 + 1.6 * panels)
    draw_plan(figure, step, past_states, past_inputs, dt, state_names, input_names)
    return figure


def draw_plan(
    figure: Figure,
    step: Step,
    past_states: ArrayLike | None = None,
    past_inputs: ArrayLike | None = None,
    dt: float | None = None,
    state_names: Sequence[str] | None = None,
    input_names: Sequence[str] | None = None,
) -> None:
    """Draw into an empty figure; arguments as for `plan`."""
    d, m = step.outputs.shape[1], step.inputs.shape[1]
    panels = figure.subplots(d + m, 1, sharex=True, squeeze=False)[:, 0]
    X, U = _rows(past_states, d), _rows(past_inputs, m)
    for i, name in enumerate(signal_names(state_names, "state", d)):
        _state(panels[i], step, X[:, i], i, dt or 1.0)
        style.plain_axes(panels[i], ylabel=name)
    for j, name in enumerate(signal_names(input_names, "input", m)):
        _input(panels[d + j], step, U[:, j], j, dt or 1.0)
        style.plain_axes(panels[d + j], ylabel=name)
    for axes in panels:
        axes.axvline(0.0, color=style.GREY, lw=0.8)
        axes.margins(x=0.01)
        axes.yaxis.set_major_locator(MaxNLocator(4, steps=[1, 2, 5, 10]))
    panels[-1].set_xlabel("steps from now" if dt is None else "seconds from now", fontsize=9.5)
    named: dict[str, Artist] = {}
    for axes in panels:
        named |= dict(zip(*reversed(axes.get_legend_handles_labels()), strict=True))
    style.legend_below(figure, list(named.values()), list(named))
    style.set_title(figure, _finding(step))


def _state(axes: Axes, step: Step, past: Array, i: int, unit: float) -> None:
    now = np.nan if step.situation is None else step.situation.start.x[i]
    measured = np.append(past, now)
    times = _times(1 - len(measured), 0, unit)
    ahead = _times(0, len(step.outputs), unit)
    axes.plot(times, measured, color=style.INK, lw=1.6, label="so far")
    planned = np.append(now, step.outputs[:, i])
    axes.plot(ahead, planned, color=style.BLUE, lw=1.8, label="planned")
    if step.situation is not None:
        _line(axes, ahead[1:], step.situation.reference[:, i], ":", "target")
    _bounds(axes, ahead[1:], step.weights.output_bounds[:, :, i])


def _input(axes: Axes, step: Step, past: Array, j: int, unit: float) -> None:
    u = step.inputs[:, j]
    times, ahead = _times(-len(past), 0, unit), _times(0, len(u), unit)
    axes.plot(times, np.append(past, u[0]), color=style.INK, lw=1.6, drawstyle="steps-post")
    held = np.append(u, u[-1])  # to the end of its step
    axes.plot(ahead, held, color=style.BLUE, lw=1.8, drawstyle="steps-post")
    bounds = step.weights.input_bounds[:, :, j]
    _bounds(axes, ahead, np.hstack([bounds, bounds[:, -1:]]))


def _rows(past: ArrayLike | None, width: int) -> Array:
    rows = np.zeros((0, width)) if past is None else np.asarray(past, dtype=np.float64)
    if rows.ndim != 2 or rows.shape[1] != width:
        raise ValueError(f"the past has shape {rows.shape}; expected (k, {width})")
    return rows


def _times(first: int, last: int, unit: float) -> Array:
    return np.asarray(unit * np.arange(first, last + 1), dtype=np.float64)


def _line(axes: Axes, times: Array, values: Array, dashes: str, label: str) -> None:
    axes.plot(times, values, color=style.GREY, ls=dashes, lw=1.4, label=label)


def _bounds(axes: Axes, times: Array, bounds: Array) -> None:
    for side in bounds:
        if np.isfinite(side).any():
            _line(axes, times, np.where(np.isfinite(side), side, np.nan), "--", "bound")


def _finding(step: Step) -> str:
    if not step.planned:
        return f"No plan in this step ({step.status}); {step.rung} instead"
    worst = float(step.slack.max())
    kept = f"bounds broken by up to {number(worst)}" if worst > 1e-6 else "every bound kept"
    softened = ", softened to have one" if step.rung == "softened" else ""
    return f"Plan at cost {number(step.objective)}{softened}: {kept}"
