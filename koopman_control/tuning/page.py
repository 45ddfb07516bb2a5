"""What a search found, for people and for the next run: tune.html, settings.json and task.py."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from importlib import resources
from pathlib import Path
from typing import Any

import numpy as np
from matplotlib.figure import Figure
from matplotlib.ticker import NullFormatter

from koopman_control.common import (
    Array,
    PathLike,
    ensure_writable_folder,
    list_contents,
    write_text_atomically,
)
from koopman_control.common.border import checked
from koopman_control.common.versions import package_versions
from koopman_control.evaluation import metrics_json
from koopman_control.evaluation.plots import style
from koopman_control.evaluation.report import picture, render
from koopman_control.evaluation.summary import number
from koopman_control.tuning.settings import settings_of
from koopman_control.tuning.study import (
    FINAL_EVALUATION,
    FINAL_LEARNING,
    FIRST_EVALUATION,
    FIRST_LEARNING,
    GIVEN,
    Judgement,
    Tried,
    Tuned,
)

COLUMNS = 4  # of small panels
MOST_PANELS = 8
SEEN = 0.6  # share of the trials, the best ones, that figures are scaled to

CAPTIONS = {
    "history": "Each dot is a trial: the mean return of its learning seeds and episodes. The line "
    "is the best so far; the dashed one is trial 0, which has the task’s own settings, or the "
    "nearest in range. Arrows lie below the axis; crosses could not be run.",
    "importance": "How much of the difference between good trials and all trials goes with each "
    "setting (PED-ANOVA, Watanabe et al. 2023). A setting that matters little can be left alone.",
    "settings": "Return of every trial against the settings that matter most. Diamonds are the "
    "settings chosen in the end, vertical lines the task’s own.",
}
TASK = '''"""{name}: settings that a search of {trials} trials chose for {task}.

Mean return {mean} on {episodes} episodes that no trial has seen; the task as it is: {given}.
Run it: koopman-control run {file}
"""

{imports}
from koopman_control.tuning import tuned

TASK = tuned(
    {source},
    {{
{settings}
    }},
)
'''


@checked
def write_tuned(folder: PathLike, found: Tuned, source: PathLike | None = None) -> Path:
    """Write tune.html, settings.json, the figures and, if it is better, task.py for `run`.

    Args:
        folder: Where to; made if it is not there.
        found: What the search found.
        source: Python file that holds the task; None: it is one of `TASKS`.

    Returns:
        Path of tune.html.

    Raises:
        OSError: If the folder cannot be written.
    """
    target = ensure_writable_folder(folder)
    best = found.best
    (target / "task.py").unlink(missing_ok=True)  # of an earlier call
    if best is not None:
        write_text_atomically(target / "task.py", _task_file(found, best, source))
    write_text_atomically(target / "settings.json", metrics_json(_facts(found)))
    pictures = [
        picture(target, name, figure, CAPTIONS[name]) for name, figure in figures(found).items()
    ]
    search = found.search
    page = render(
        resources.files(__package__).joinpath("tune.html.jinja").read_text("utf-8"),
        title=search.task.name,
        verdict=verdict(found),
        finals=_finals(found),
        settings=_settings(found),
        steps={name: f"{count:,}" for name, count in found.steps.items()},
        total=f"{sum(found.steps.values()):,}",
        pictures=pictures,
        failed=_failed(found.trials),
        seeds=_seeds(found),
        versions=package_versions(),
        better=best is not None,
    )
    path = target / "tune.html"
    write_text_atomically(path, page)
    list_contents(target, {"task": search.task.name, "trials": search.trials})
    return path


def verdict(found: Tuned) -> str:
    """Say in a sentence or two what the search was good for."""
    given = found.finals[GIVEN]
    count = f"{len(found.trials)} trials and {sum(found.steps.values()):,} environment steps"
    if given.error:
        return f"The task as it is fails: {given.error}. {count} were spent."
    if (best := found.best) is None:
        return (
            f"No settings were found that are better than the task’s own beyond chance; those "
            f"return {number(given.mean)} on seeds that no trial has seen. {count} were spent."
        )
    return (
        f"Trial {best.number} returns {number(found.finals[best.number].mean)} on seeds that no "
        f"trial has seen, the task’s own settings {number(given.mean)}. {count} were spent."
    )


def figures(found: Tuned) -> dict[str, Figure]:
    """Draw what there is enough of: the history, the importance of settings, and the settings."""
    good = [t for t in found.trials if t.found is not None and not t.found.error]
    drawn: dict[str, Figure] = {}
    if good:
        drawn["history"] = _history(found, good)
    if found.importance:
        drawn["importance"] = _importance(found.importance)
    if len(good) > 1:
        drawn["settings"] = _slices(found, good)
    return drawn


def _means(good: Sequence[Tried]) -> Array:
    return np.array([t.found.mean for t in good if t.found is not None])


def _floor(means: Array) -> float:
    """Return where the axis of returns begins: below most trials, not below the worst."""
    low, high = float(np.quantile(means, 1.0 - SEEN)), float(means.max())
    return max(float(means.min()), low - (high - low)) - 0.05 * (high - low or 1.0)


def _history(found: Tuned, good: Sequence[Tried]) -> Figure:
    figure = style.new_figure(height=3.4)
    axes = figure.subplots()
    numbers, means, low = np.array([t.number for t in good]), _means(good), _floor(_means(good))
    inside = means >= low
    axes.plot(numbers[inside], means[inside], "o", color=style.GREY, ms=4, label="trial")
    axes.plot(numbers[~inside], np.full((~inside).sum(), low), "v", color=style.GREY, ms=5)
    failed = [t.number for t in found.trials if t.found is not None and t.found.error]
    if failed:
        places = np.full(len(failed), low)
        axes.plot(failed, places, "x", color=style.VERMILLION, ms=5, label="failed")
    best = np.maximum.accumulate(means)
    axes.step(numbers, best, where="post", color=style.BLUE, lw=1.8, label="best so far")
    if good[0].number == 0:
        axes.axhline(means[0], color=style.ORANGE, ls="--", lw=1.2, label="own settings")
    span = means.max() - low
    axes.set_ylim(low - 0.03 * span, means.max() + 0.06 * span)
    style.plain_axes(axes, "trial", "mean return")
    style.count_ticks(axes.xaxis)
    style.count_ticks(axes.yaxis)
    style.legend_below(figure, *style.entries(axes))
    first = int(numbers[np.argmax(means)])
    style.set_title(figure, f"The best of {len(good)} trials that could be run is trial {first}")
    return figure


def _importance(importance: Mapping[str, float]) -> Figure:
    names = sorted(importance, key=lambda name: importance[name])
    figure = style.new_figure(height=0.9 + 0.24 * len(names))
    axes = figure.subplots()
    shares = [100.0 * importance[name] for name in names]
    axes.barh(range(len(names)), shares, color=style.BLUE, height=0.65)
    axes.set_yticks(range(len(names)), names, **style.LITERAL)
    style.plain_axes(axes, "share (%)")
    axes.grid(False, axis="y")
    style.set_title(figure, f"{names[-1]} matters most, with {shares[-1]:.0f} % of the difference")
    return figure


def _slices(found: Tuned, good: Sequence[Tried]) -> Figure:
    ranges = found.search.ranges()
    order = [*found.importance, *(name for name in ranges if name not in found.importance)]
    names = order[:MOST_PANELS]
    rows = -(-len(names) // COLUMNS)
    figure = style.new_figure(height=0.6 + 1.9 * rows)
    panels = figure.subplots(rows, COLUMNS, squeeze=False, sharey=True).ravel()
    means, low, best = _means(good), _floor(_means(good)), found.best
    for axes, name in zip(panels, names, strict=False):
        chosen = ranges[name]
        places: dict[Any, float] = {value: float(i) for i, value in enumerate(chosen.choices)}
        x = [places.get(t.values[name], t.values[name]) for t in good]
        axes.scatter(x, np.maximum(means, low), s=9, color=style.GREY, alpha=0.7, lw=0)
        axes.axvline(places.get(chosen.own, chosen.own), color=style.ORANGE, lw=1.2, ls="--")
        if best is not None and best.found is not None:
            value = places.get(best.values[name], best.values[name])
            axes.plot(value, best.found.mean, "D", color=style.BLUE, ms=6)
        if chosen.log:
            axes.set_xscale("log")
            axes.xaxis.set_minor_formatter(NullFormatter())
            if chosen.high < 20 * chosen.low:  # too few powers of ten
                style.count_ticks(axes.xaxis, 4)
        style.plain_axes(axes, title=name)
        if chosen.choices:
            axes.set_xticks(range(len(places)), [str(v) for v in places], fontsize=7.5)
    for axes in panels[len(names) :]:
        axes.set_visible(False)
    figure.supylabel("mean return", fontsize=9.5, color=style.INK)
    style.set_title(figure, f"Return against the settings, {names[0]} first")
    return figure


def _finals(found: Tuned) -> list[dict[str, Any]]:
    rows = []
    for trial, judged in found.finals.items():
        gain = None if trial == GIVEN else found.gain(trial)
        rows.append(
            {
                "name": "the task as it is" if trial == GIVEN else f"trial {trial}",
                "mean": judged.error or number(judged.mean),
                "worst": "–" if judged.error else number(min(judged.returns)),
                "gain": "–"
                if gain is None
                else f"{number(gain.mean)} ({number(gain.low)} … {number(gain.high)})",
                "act": "–" if judged.error else f"{judged.act_p99:,.0f}",
                "chosen": (found.best.number if found.best else GIVEN) == trial,
            }
        )
    return rows


def _settings(found: Tuned) -> list[dict[str, str]]:
    searched = settings_of(found.search.task, found.search.names)
    best = found.best
    return [
        {
            "name": name,
            "summary": searched[name].summary,
            "own": _short(values.own),
            "range": str(values),
            "chosen": "–" if best is None else _short(best.values[name]),
            "importance": f"{100 * found.importance[name]:.0f} %"
            if name in found.importance
            else "–",
        }
        for name, values in found.search.ranges().items()
    ]


def _short(value: Any) -> str:
    return f"{value:.3g}" if isinstance(value, float) else str(value)


def _failed(trials: Sequence[Tried]) -> dict[str, str]:
    return {
        f"trial {t.number}": t.found.error for t in trials if t.found is not None and t.found.error
    }


def _seeds(found: Tuned) -> dict[str, str]:
    search = found.search
    final = search.seeds + 1, 2 * search.episodes
    return {
        "search, learning": _span(FIRST_LEARNING, search.seeds),
        "search, evaluation": _span(FIRST_EVALUATION, search.episodes),
        "final comparison, learning": _span(FINAL_LEARNING, final[0]),
        "final comparison, evaluation": _span(FINAL_EVALUATION, final[1]),
    }


def _span(first: int, count: int) -> str:
    return str(first) if count == 1 else f"{first:,} – {first + count - 1:,}"


def _facts(found: Tuned) -> dict[str, Any]:
    best = found.best
    return {
        "task": found.search.task.name,
        "settings": None if best is None else dict(best.values),
        "verdict": verdict(found),
        "finals": {str(n): _plain(judged) for n, judged in found.finals.items()},
        "steps": found.steps,
        "importance": dict(found.importance),
        "seeds": _seeds(found),
        "trials": [
            {"number": t.number, "settings": dict(t.values)}
            | ({} if t.found is None else _plain(t.found))
            for t in found.trials
        ],
        "versions": package_versions(),
    }


def _plain(judged: Judgement) -> dict[str, Any]:
    return {**vars(judged), "mean": None if judged.error else judged.mean}


def _task_file(found: Tuned, best: Tried, source: PathLike | None) -> str:
    search, given = found.search, found.finals[GIVEN]
    if source is None:
        imports = "from koopman_control.tasks import TASKS"
        expression = f"TASKS[{search.task.name!r}]"
    else:
        imports = "from koopman_control.tasks.in_file import task_in_file"
        expression = f"task_in_file({str(Path(source).resolve())!r})"
    searched = settings_of(search.task, search.names)
    return TASK.format(
        name=found.task.name,
        task=search.task.name,
        trials=len(found.trials),
        file="task.py",
        mean=f"{found.finals[best.number].mean:.6g}",
        given=f"failed, {given.error!r}" if given.error else f"{given.mean:.6g}",
        episodes=len(found.finals[best.number].returns),
        imports=imports,
        source=expression,
        settings="\n".join(
            f"        {json.dumps(name)}: {best.values[name]!r},  # {searched[name].summary}"
            for name in search.ranges()
        ),
    )
