"""Numbers and sentences of the report, from the metrics of a run."""

import math
import unicodedata
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from koopman_control.common.arrays import Array
from koopman_control.evaluation.statistics import (
    bootstrap_interval,
    interquartile_mean,
    paired_difference,
)

_HORIZONS = (1, 2, 5, 10, 20, 50, 100, 200)


def number(value: float | None) -> str:
    """Write a number for readers: three to four significant digits, a true minus sign."""
    if value is None or not math.isfinite(value):
        return "–"
    size = abs(value)
    if size >= 1000 or value == int(value):
        text = f"{value:,.0f}"
    elif size >= 1:
        text = f"{value:.1f}" if size >= 10 else f"{value:.2f}"
    else:
        text = f"{value:.2g}" if size >= 1e-3 else f"{value:.1e}"
    return "0" if text == "-0" else text.replace("-", "−")


def printable(text: str) -> str:
    """Spell out control characters, which a terminal would obey and no font has."""
    return "".join(
        c.encode("unicode_escape").decode() if unicodedata.category(c) in ("Cc", "Cf") else c
        for c in text
    )


def duration(microseconds: float | None) -> str:
    """Write a time with the unit that suits it."""
    if microseconds is None or not math.isfinite(microseconds):
        return "–"
    for limit, unit in ((1e3, "µs"), (1e6, "ms"), (60e6, "s")):
        if microseconds < 0.9995 * limit:
            return f"{microseconds / {'µs': 1.0, 'ms': 1e3, 's': 1e6}[unit]:.3g} {unit}"
    return f"{microseconds / 60e6:.3g} min"


def percent(share: float) -> str:
    """Write a share between 0 and 1 as per cent; what is not zero does not read as zero."""
    if 0.0 < share < 1e-4:
        return "under 0.01 %"
    return f"{100.0 * share:,.0f} %" if share >= 0.995 else f"{100.0 * share:.2g} %"


def fallbacks(share: float, rungs: Mapping[str, int] | None) -> str:
    """Write the share of steps that fell back, and how many of them on which rung."""
    others = {rung: count for rung, count in (rungs or {}).items() if rung != "solved"}
    counted = ", ".join(f"{rung} {count:,}" for rung, count in sorted(others.items()))
    return f"{percent(share)} ({counted})" if counted else percent(share)


@dataclass(frozen=True)
class ControllerRow:
    """One line of the comparison: the controller under test, or a reference."""

    name: str
    mean: str
    interval: str
    iqm: str
    worst: str
    difference: str
    own: bool = False


def verdict(metrics: Mapping[str, Any]) -> str:
    """Say in a few sentences how good the controller is, what it cost and how fast it runs."""
    low, high = metrics["return_ci95"]
    episodes = len(metrics["returns"])
    learned = ""
    if metrics.get("data_steps") is not None:
        learned = f"Learned from {metrics['data_steps']:,} environment steps, the"
    text = (
        f"{learned or 'The'} controller returns {number(metrics['return_mean'])} on average over "
        f"{episodes} evaluation episodes"
    )
    if low is not None:
        text += f" (95 % interval {number(low)} to {number(high)})"
    text += f"; the worst returns {number(metrics['return_worst'])}."
    references = metrics.get("references") or {}
    if references:
        known = [f"{name} {number(value)}" for name, value in references.items()]
        text += f" For comparison: {', '.join(known)}."
    return f"{text} {_speed(metrics)}"


def _speed(metrics: Mapping[str, Any]) -> str:
    times = metrics["act_us"]
    text = f"A step takes {duration(times['p50'])} (99 % under {duration(times['p99'])})"
    dt = (metrics.get("settings") or {}).get("dt")
    if not dt:
        return f"{text}."
    return f"{text}, {percent(times['p50'] / (dt * 1e6))} of the time step of {duration(dt * 1e6)}."


def controller_rows(
    metrics: Mapping[str, Any], references: Mapping[str, Array]
) -> list[ControllerRow]:
    """Compare the controller with each reference, paired by seed where its returns are known."""
    low, high = metrics["return_ci95"]
    own = ControllerRow(
        name="this controller",
        mean=number(metrics["return_mean"]),
        interval=_interval(low, high),
        iqm=number(metrics["return_iqm"]),
        worst=number(metrics["return_worst"]),
        difference="",
        own=True,
    )
    means = metrics.get("references") or {}
    return [own] + [
        _reference_row(name, mean, references.get(name), metrics) for name, mean in means.items()
    ]


def _reference_row(
    name: str, mean: float | None, returns: Array | None, metrics: Mapping[str, Any]
) -> ControllerRow:
    if returns is None or returns.ndim == 0 or returns.size == 1:
        gap = None if mean is None else metrics["return_mean"] - mean
        return ControllerRow(name, number(mean), "–", "–", "–", _signed(gap))
    difference = _signed(metrics["return_mean"] - float(returns.mean()))
    if returns.size == len(metrics["returns"]):
        paired = paired_difference(metrics["returns"], returns)
        difference = f"{_signed(paired.mean)} ({_interval(paired.low, paired.high)})"
    return ControllerRow(
        name=name,
        mean=number(float(returns.mean())),
        interval=_interval(*bootstrap_interval(returns)),
        iqm=number(interquartile_mean(returns)),
        worst=number(float(returns.min())),
        difference=difference,
    )


def facts(metrics: Mapping[str, Any]) -> list[tuple[str, str]]:
    """Return the other figures of the run as pairs of a name and a text; unknown ones left out."""
    times = metrics["act_us"]
    rows = [
        (
            "Time per act()",
            f"median {duration(times['p50'])}, 99 % {duration(times['p99'])}, "
            f"slowest {duration(times['max'])}",
        ),
        (
            "Steps that used the fallback",
            fallbacks(metrics["fallback_share"], metrics.get("rungs")),
        ),
        ("Constraint violations", _violations(metrics.get("violations") or {})),
    ]
    for key, name in (("fit_seconds", "All fits"), ("learn_seconds", "Learning, all in all")):
        if metrics.get(key) is not None:
            rows.insert(0, (name, duration(1e6 * metrics[key])))
    if metrics.get("data_steps") is not None:
        rows.insert(0, ("Environment steps used to learn", f"{metrics['data_steps']:,}"))
    return rows


def error_table(errors: Mapping[str, Any] | None) -> tuple[list[int], dict[str, list[str]]] | None:
    """Thin out the prediction errors per step to a few horizons.

    Args:
        errors: Roll-out kind to errors after 1, 2, ... steps.

    Returns:
        The horizons, and per roll-out kind the errors as text; None without errors.
    """
    lists = {kind: values for kind, values in (errors or {}).items() if values}
    if not lists:
        return None
    longest = max(len(values) for values in lists.values())
    horizons = sorted({k for k in _HORIZONS if k < longest} | {longest})
    table = {
        kind: [number(values[k - 1]) if k <= len(values) else "–" for k in horizons]
        for kind, values in lists.items()
    }
    return horizons, table


def flatten(settings: Mapping[str, Any], prefix: str = "") -> dict[str, str]:
    """Write nested settings as one table with dotted names."""
    rows: dict[str, str] = {}
    for key, value in settings.items():
        if isinstance(value, Mapping):
            rows |= flatten(value, f"{prefix}{key}.")
        else:
            rows[f"{prefix}{key}"] = "–" if value is None else str(value)
    return rows


def _violations(violations: Mapping[str, Any]) -> str:
    if violations.get("total") is None:
        return "none reported by this environment"
    steps, episodes = violations.get("steps") or 0, violations.get("episodes") or 0
    if not steps:
        return "none"
    return f"{steps:,} steps in {episodes:,} episodes, {number(violations['total'])} in sum"


def _interval(low: float | None, high: float | None) -> str:
    if low is None or high is None or not math.isfinite(low):
        return "–"
    return f"{number(low)} to {number(high)}"


def _signed(value: float | None) -> str:
    text = number(value)
    return f"+{text}" if value is not None and value > 0 else text
