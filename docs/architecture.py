"""Hook of mkdocs: the figure of the rooms and of what they import, drawn from the import graph.

The figure is drawn whenever the site is built, so it cannot go stale.
"""

from __future__ import annotations

from collections import Counter
from io import StringIO

import grimp
from matplotlib.backends.backend_svg import FigureCanvasSVG
from matplotlib.figure import Figure
from matplotlib.patches import FancyArrowPatch, FancyBboxPatch
from mkdocs.config.defaults import MkDocsConfig
from mkdocs.structure.files import File, Files

PACKAGE = "koopman_control"
# The data's way, from what was measured to the report; each with what it hands on.
WAY = {
    "trajectories": "what was measured",
    "features": "sampled features ψ",
    "identification": "LiftedModel: A, B, C (, N)",
    "forecasting": "SampledRNN: forecasts",
    "mpc": "KoopmanMPC: y → u",
    "evaluation": "closed loop, report",
    "deploy": "real time, C99",
    "autopilot": "nothing told: findings, plans",
    "tasks": "ready settings",
    "benchmark": "many tasks and seeds",
    "tuning": "settings by search",
    "cli": "koopman-control …",
}
BESIDE = "common"  # used by all; drawn without arrows

# A controller hands its steps to compiled ones, which are made of it: `KoopmanMPC(compiled=True)`.
LATE = {("mpc", "deploy")}


def imports_between_rooms() -> Counter[tuple[str, str]]:
    """Count by (importing room, imported room) the imports between modules of different rooms.

    Those that a contract of the import linter leaves out, being late, are left out here.
    """
    graph = grimp.build_graph(PACKAGE, cache_dir=None)
    found: Counter[tuple[str, str]] = Counter()
    for module in graph.modules:
        for target in graph.find_modules_directly_imported_by(module):
            rooms = room_of(module), room_of(target)
            if rooms[0] and rooms[1] and rooms[0] != rooms[1] and rooms not in LATE:
                found[rooms] += 1
    return found


def files_in_rooms() -> Counter[str]:
    """Count the files of each room."""
    graph = grimp.build_graph(PACKAGE, cache_dir=None)
    return Counter(room for module in graph.modules if (room := room_of(module)))


def room_of(module: str) -> str:
    """Return the room of a module, or nothing for the package itself."""
    return module.removeprefix(PACKAGE).strip(".").split(".")[0]


def picture(imports: Counter[tuple[str, str]], files: Counter[str]) -> Figure:
    """Draw the rooms from top to bottom, and an arrow from each to those that import it."""
    known = [*WAY, BESIDE]
    strange = sorted(set(files) - set(known))
    if strange:
        raise ValueError(
            f"{PACKAGE} holds the rooms {', '.join(strange)}, of which docs/architecture.py knows "
            "nothing; give each a place in WAY"
        )
    rooms = [room for room in WAY if files[room]]
    height = {room: -float(i) for i, room in enumerate(rooms)}
    figure = Figure(figsize=(7.5, 0.72 * len(rooms) + 0.4))
    FigureCanvasSVG(figure)
    axes = figure.add_axes((0.0, 0.0, 1.0, 1.0))
    axes.axis("off")
    axes.set_xlim(-1.1, 4.2)
    axes.set_ylim(-len(rooms) + 0.4, 0.6)
    for room, y in height.items():
        axes.add_patch(
            FancyBboxPatch(
                (0.0, y - 0.27), 2.1, 0.54, boxstyle="round,pad=0.02", fc="#E8EEF7", ec="#33507A"
            )
        )
        axes.text(0.08, y + 0.02, room, weight="bold", va="center", color="#16294A")
        number = f"{files[room]} file{'s' * (files[room] != 1)}"
        axes.text(2.04, y + 0.02, number, va="center", ha="right", size=8, color="#44546A")
        axes.text(2.22, y + 0.02, WAY[room], va="center", size=9, color="#44546A")
    for (user, used), count in sorted(imports.items()):
        if used == BESIDE or user not in height or used not in height:
            continue
        steps = abs(height[user] - height[used])
        direct = steps == 1.0
        start = (1.0, height[used] - 0.29) if direct else (0.0, height[used] - 0.05)
        end = (1.0, height[user] + 0.29) if direct else (0.0, height[user] + 0.05)
        axes.add_patch(
            FancyArrowPatch(
                start,
                end,
                connectionstyle=f"arc3,rad={0.0 if direct else 0.5 - 0.03 * steps}",
                arrowstyle="-|>",
                mutation_scale=9,
                lw=0.5 + 0.15 * min(count, 12),
                color="#33507A" if direct else "#9AA9C0",
            )
        )
    return figure


def drawn() -> str:
    """Return the figure as SVG, with its text as text."""
    from matplotlib import rc_context

    text = StringIO()
    with rc_context({"svg.fonttype": "none", "svg.hashsalt": PACKAGE}):
        figure = picture(imports_between_rooms(), files_in_rooms())
        figure.savefig(text, format="svg", metadata={"Date": None})
    return text.getvalue()


def on_files(files: Files, config: MkDocsConfig) -> Files:
    """Add the figure to the files of the site."""
    files.append(File.generated(config, "assets/architecture.svg", content=drawn()))
    return files
