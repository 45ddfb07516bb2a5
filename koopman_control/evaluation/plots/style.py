"""One look for all figures: colours, sizes, plain axes, titles that state the finding.

The colours are those of Okabe and Ito, which people with the common colour deficiencies can tell
apart; wherever colour carries meaning, a line style or a marker carries it as well. Figures are
made without pyplot, so drawing touches no global state and needs no display.

Whatever a figure shows may be a stranger's name: no text of ours is ever read as mathematics.
"""

import re
import textwrap
from collections.abc import Sequence
from typing import Any

import numpy as np
from matplotlib.artist import Artist
from matplotlib.axes import Axes
from matplotlib.axis import Axis
from matplotlib.collections import Collection
from matplotlib.figure import Figure
from matplotlib.layout_engine import ConstrainedLayoutEngine
from matplotlib.lines import Line2D
from matplotlib.ticker import FuncFormatter, MaxNLocator

from koopman_control.common.arrays import Array
from koopman_control.evaluation.summary import printable

BLUE = "#0072B2"  # the controller under test
VERMILLION = "#D55E00"  # worst cases and limits that were broken
ORANGE = "#E69F00"
GREEN = "#009E73"
PURPLE = "#AA4499"
GREY = "#767676"  # references and limits
INK = "#222222"  # text and measured truth

# Roll-out kinds keep their colour and line style in every figure.
ROLLOUT_STYLES: dict[str, tuple[str, str]] = {
    "linear": (ORANGE, "--"),
    "bilinear": (GREEN, "-."),
    "relifted": (BLUE, "-"),
}
_OTHER_STYLES = ((PURPLE, ":"), (VERMILLION, "--"), (GREY, "-."))

# Shows a text as it is: "$" costs money, and "\\" is no command.
LITERAL: dict[str, Any] = {"parse_math": False, "usetex": False}
_UNNAMED = re.compile(r"|_nolegend_|_child\d+")  # labels that Matplotlib makes up

WIDTH = 8.0  # inches; a page of the report and a full-width figure on paper
_CHARACTERS_PER_INCH = 10.2  # of the bold title


def new_figure(height: float, width: float = WIDTH) -> Figure:
    """Return an empty white figure, sizes in inches."""
    layout = ConstrainedLayoutEngine(h_pad=0.08, w_pad=0.06)  # inches
    return Figure(figsize=(width, height), layout=layout, facecolor="white")


def set_title(figure: Figure, finding: str) -> None:
    """Put one sentence on top of the figure, flush left, wrapped to its width."""
    columns = int(figure.get_figwidth() * _CHARACTERS_PER_INCH)
    figure.suptitle(
        textwrap.fill(printable(" ".join(finding.split())), columns),
        x=0.012,
        ha="left",
        fontsize=11.5,
        fontweight="bold",
        color=INK,
        **LITERAL,
    )


def plain_axes(axes: Axes, xlabel: str = "", ylabel: str = "", title: str = "") -> None:
    """Take away what carries no information and label the rest."""
    axes.spines[["top", "right"]].set_visible(False)
    axes.spines[["left", "bottom"]].set_color(GREY)
    axes.tick_params(labelsize=9, color=GREY, labelcolor=INK, which="both")
    axes.grid(True, color="#E6E6E6", linewidth=0.7)
    axes.set_axisbelow(True)
    axes.set_xlabel(printable(xlabel), fontsize=9.5, color=INK, **LITERAL)
    axes.set_ylabel(printable(ylabel), fontsize=9.5, color=INK, **LITERAL)
    if title:
        panel_title(axes, title)


def panel_title(axes: Axes, title: str) -> None:
    """Head a panel, flush left."""
    axes.set_title(printable(title), fontsize=10, color=INK, loc="left", **LITERAL)


def count_ticks(axis: Axis, most: int = 6) -> None:
    """Write the ticks of an axis with thousands separators and a true minus sign."""
    axis.set_major_locator(MaxNLocator(most, steps=[1, 2, 2.5, 5, 10]))
    axis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:,.7g}".replace("-", "−")))


def legend_below(figure: Figure, handles: Sequence[Artist], labels: Sequence[str]) -> None:
    """Put one legend for all panels under the figure."""
    legend(
        figure,
        handles,
        labels,
        loc="outside lower center",
        ncols=min(len(labels), 5),
        handlelength=2.6,
    )


def legend(
    place: Figure | Axes, handles: Sequence[Artist], labels: Sequence[str], **form: Any
) -> None:
    """Explain lines and bands; Matplotlib itself would leave out names that begin with "_"."""
    numbered = [str(i) for i in range(len(labels))]
    box = place.legend(handles, numbered, frameon=False, fontsize=9, **form)
    for text, label in zip(box.get_texts(), labels, strict=True):
        text.set(text=printable(label), **LITERAL)


def entries(axes: Axes) -> tuple[list[Artist], list[str]]:
    """Return what a panel has to explain: lines and bands with their names, "_" in front or not."""
    named = {
        artist: str(artist.get_label())
        for artist in axes.get_children()
        if isinstance(artist, Line2D | Collection)
    }
    named = {artist: name for artist, name in named.items() if not _UNNAMED.fullmatch(name)}
    return list(named), list(named.values())


def rollout_style(kind: str, position: int) -> tuple[str, str]:
    """Return colour and line style of a roll-out kind; unknown kinds go by their position."""
    return ROLLOUT_STYLES.get(kind, _OTHER_STYLES[position % len(_OTHER_STYLES)])


def time_axis(length: int, dt: float | None) -> tuple[Array, str]:
    """Return the times of some samples and the label of their axis; steps if dt is None."""
    steps = np.arange(length, dtype=np.float64)
    return (steps, "step") if dt is None else (steps * dt, "time (s)")


def signal_names(names: Sequence[str] | None, kind: str, count: int) -> list[str]:
    """Return the names given if they fit, else numbered ones."""
    if names is not None and len(names) == count:
        return list(names)
    return [kind] if count == 1 else [f"{kind} {index + 1}" for index in range(count)]
