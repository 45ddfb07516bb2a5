"""The closed loop: signals over time, the latest plan, and a window that follows them."""

from collections.abc import Sequence

import numpy as np
from matplotlib.artist import Artist
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator
from numpy.typing import ArrayLike

from koopman_control.common.arrays import Array
from koopman_control.evaluation.episode import Episode
from koopman_control.evaluation.plots import style
from koopman_control.evaluation.plots.style import signal_names, time_axis
from koopman_control.evaluation.summary import number
from koopman_control.mpc import KoopmanMPC
from koopman_control.mpc.step import Step

_MOST_PANELS = 12  # signals drawn in one figure


def closed_loop(
    episodes: Sequence[Episode],
    dt: float | None = None,
    observation_names: Sequence[str] | None = None,
    action_names: Sequence[str] | None = None,
    action_bounds: ArrayLike | None = None,
) -> Figure:
    """Draw observations and actions of some episodes over time, the worst one highlighted.

    Args:
        episodes: Episodes with their signals.
        dt: Time step in seconds; the axis counts steps if None.
        observation_names: Names of the p observations.
        action_names: Names of the m actions.
        action_bounds: The action box, shape (2, m), drawn dashed.

    Returns:
        One panel per signal, actions last; of more than 12 signals the first observations.
    """
    worst = min(episodes, key=lambda episode: episode.episode_return)
    p, m = worst.observations.shape[1], worst.actions.shape[1]
    shown = max(1, min(p, _MOST_PANELS - m))
    observed = signal_names(observation_names, "observation", p)
    applied = signal_names(action_names, "action", m)
    columns = 1 if shown + m <= 3 else 2
    rows = -(-(shown + m) // columns)
    figure = style.new_figure(height=1.1 + (1.7 if rows < 4 else 1.45) * rows)
    panels = figure.subplots(rows, columns, sharex=True, squeeze=False).T.ravel()
    unit = time_axis(2, dt)[1]
    for index in range(shown):
        signals = [(episode, episode.observations[:, index]) for episode in episodes]
        _signal(panels[index], signals, worst, dt, held=False)
        style.plain_axes(panels[index], ylabel=observed[index])
    for index in range(m):
        panel = panels[shown + index]
        # Actions are held for one step each: repeat the last one up to the end of its step.
        signals = [(e, np.append(e.actions[:, index], e.actions[-1, index])) for e in episodes]
        _signal(panel, signals, worst, dt, held=True)
        style.plain_axes(panel, ylabel=applied[index])
        for limit in [] if action_bounds is None else np.asarray(action_bounds)[:, index]:
            panel.axhline(limit, color=style.GREY, lw=1, ls="--")
    for panel in panels[shown + m :]:
        panel.set_visible(False)
    for last in {min(rows * (column + 1), shown + m) - 1 for column in range(columns)}:
        panels[last].set_xlabel(unit, fontsize=9.5, color=style.INK)
        panels[last].tick_params(labelbottom=True)
    style.legend_below(figure, *_loop_legend(panels[0], len(episodes), action_bounds is not None))
    style.set_title(figure, _loop_finding(episodes, worst, shown, p))
    return figure


def _signal(
    axes: Axes,
    signals: Sequence[tuple[Episode, Array]],
    worst: Episode,
    dt: float | None,
    held: bool,
) -> None:
    drawstyle = "steps-post" if held else "default"
    for episode, signal in sorted(signals, key=lambda pair: pair[0] is worst):
        special = episode is worst and len(signals) > 1
        axes.plot(
            time_axis(len(signal), dt)[0], signal, drawstyle=drawstyle,
            color=style.VERMILLION if special else style.BLUE,
            lw=1.8 if special else 1.1, alpha=1.0 if special else 0.55,
            label="worst" if special else "episode",
        )  # fmt: skip
    axes.margins(x=0.01)
    axes.yaxis.set_major_locator(MaxNLocator(5, steps=[1, 2, 5, 10]))


def _loop_legend(axes: Axes, episodes: int, limits: bool) -> tuple[list[Artist], list[str]]:
    named = dict(zip(*reversed(style.entries(axes)), strict=True))
    handles: list[Artist] = [named["episode" if "episode" in named else "worst"]]
    labels = ["an episode"]
    if episodes > 1:
        handles.append(named["worst"])
        labels.append("the worst of all episodes")
    if limits:
        handles.append(axes.plot([], [], color=style.GREY, lw=1, ls="--")[0])
        labels.append("limit of the action")
    return handles, labels


def _loop_finding(episodes: Sequence[Episode], worst: Episode, shown: int, p: int) -> str:
    more = f"; {shown} of {p} observations shown" if shown < p else ""
    if len(episodes) == 1:
        return f"Closed loop from seed {worst.seed}: return {number(worst.episode_return)}{more}"
    return (
        f"Closed loop from {len(episodes)} starts; the worst of all (seed {worst.seed}) returns "
        f"{number(worst.episode_return)}{more}"
    )


def plan(
    step: Step,
    past_states: ArrayLike | None = None,
    past_inputs: ArrayLike | None = None,
    dt: float | None = None,
    state_names: Sequence[str] | None = None,
    input_names: Sequence[str] | None = None,
    figure: Figure | None = None,
) -> Figure:
    """Draw predicted states and planned inputs with targets and bounds, after what happened so far.

    Args:
        step: What the controller did in a step, `mpc.last`.
        past_states: States before now, shape (k, d); the present one is known to `step`.
        past_inputs: Inputs applied before now, shape (k, m).
        dt: Time step in seconds; the axis counts steps if None.
        state_names: Names of the d states.
        input_names: Names of the m inputs.
        figure: Empty figure to draw into; None: a new one.

    Returns:
        One panel per signal, inputs last; of more than 12 signals the first states. Now is at zero.
    """
    d, m = step.outputs.shape[1], step.inputs.shape[1]
    shown = min(d, max(1, _MOST_PANELS - m))
    if figure is None:
        figure = style.new_figure(height=1.1 + 1.6 * (shown + m))
    panels = figure.subplots(shown + m, 1, sharex=True, squeeze=False)[:, 0]
    X, U = _rows(past_states, d), _rows(past_inputs, m)
    for i, name in enumerate(signal_names(state_names, "state", d)[:shown]):
        _state(panels[i], step, X[:, i], i, dt or 1.0)
        style.plain_axes(panels[i], ylabel=name)
    for j, name in enumerate(signal_names(input_names, "input", m)):
        _input(panels[shown + j], step, U[:, j], j, dt or 1.0)
        style.plain_axes(panels[shown + j], ylabel=name)
    for axes in panels:
        axes.axvline(0.0, color=style.GREY, lw=0.8)
        axes.margins(x=0.01)
        axes.yaxis.set_major_locator(MaxNLocator(4, steps=[1, 2, 5, 10]))
    panels[-1].set_xlabel("steps from now" if dt is None else "seconds from now", fontsize=9.5)
    named: dict[str, Artist] = {}
    for axes in panels:
        named |= dict(zip(*reversed(style.entries(axes)), strict=True))
    style.legend_below(figure, list(named.values()), list(named))
    style.set_title(figure, _finding(step))
    return figure


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
    beyond_rounding = step.slack > 1e-6 * np.abs(step.outputs).max(axis=0)
    worst = float(step.slack[beyond_rounding].max(initial=0.0))
    kept = f"bounds broken by up to {number(worst)}" if worst > 0.0 else "every bound kept"
    softened = ", softened to have one" if step.rung == "softened" else ""
    return f"Plan at cost {number(step.objective)}{softened}: {kept}"


class LivePlot:
    """Shows the latest plan after each step, with what happened before.

    Drawing takes tens of milliseconds a step: for looking at, not for real time.

    Args:
        shown: How many past steps are shown.
        dt: Time step in seconds; the axis counts steps if None.
        state_names: Names of the d states.
        input_names: Names of the m inputs.
        figure: Where to draw; None: in a window of its own.

    Attributes:
        figure: The figure drawn into.

    Example:
        >>> live = LivePlot()  # doctest: +SKIP
        >>> action = mpc.act(observation)  # doctest: +SKIP
        >>> live.update(mpc)  # doctest: +SKIP
    """

    def __init__(
        self,
        shown: int = 50,
        dt: float | None = None,
        state_names: Sequence[str] | None = None,
        input_names: Sequence[str] | None = None,
        figure: Figure | None = None,
    ) -> None:
        if figure is None:
            # A window is global state by nature, so it comes from pyplot, and only when asked for.
            from matplotlib import pyplot

            pyplot.ion()
            figure = pyplot.figure(figsize=(8.0, 6.0), layout="constrained")
        self.figure = figure
        self._shown, self._dt = shown, dt
        self._names = state_names, input_names
        self._states: list[Array] = []
        self._inputs: list[Array] = []

    def update(self, mpc: KoopmanMPC) -> None:
        """Show the step that the controller took last.

        Raises:
            ValueError: If it took none since its episode began.
        """
        step = self._last(mpc)
        self.figure.clear()
        past = self._past(self._states), self._past(self._inputs)
        plan(step, *past, self._dt, *self._names, self.figure)
        self.figure.canvas.draw_idle()
        self.figure.canvas.flush_events()
        self.remember(mpc)

    def remember(self, mpc: KoopmanMPC) -> None:
        """Note the step that the controller took last without drawing it."""
        step = self._last(mpc)
        unknown = np.full(step.outputs.shape[1], np.nan)
        self._states.append(unknown if step.situation is None else step.situation.start.x)
        self._inputs.append(step.inputs[0])

    def close(self) -> None:
        """Close the window."""
        from matplotlib import pyplot

        pyplot.close(self.figure)

    def _last(self, mpc: KoopmanMPC) -> Step:
        if mpc.last is None:
            raise ValueError("the controller took no step yet; call its act first")
        return mpc.last

    def _past(self, rows: list[Array]) -> Array | None:
        return np.array(rows[-self._shown :]) if rows else None
