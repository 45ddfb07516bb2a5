"""Closed-loop signals over time."""

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
from koopman_control.evaluation.wording import number

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
    named = dict(zip(*reversed(axes.get_legend_handles_labels()), strict=True))
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
