"""Rows of results: printed as a Markdown table, written as JSON beside the figure."""

from __future__ import annotations

import json
from collections.abc import Sequence
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

import matplotlib.pyplot as plt

from koopman_control.common import write_text_atomically
from koopman_control.evaluation import package_versions

COLORS = ("#0072b2", "#d55e00", "#009e73", "#cc79a7", "#e69f00", "#56b4e9", "#999999")


def versions() -> dict[str, str]:
    """Return versions of everything that takes part."""
    found = dict(package_versions())
    for package in ("reservoirpy", "torch"):
        try:
            found[package] = version(package)
        except PackageNotFoundError:
            found[package] = "not installed"
    return found


def table(rows: Sequence[dict[str, Any]]) -> str:
    """Write rows as a Markdown table with the first one's columns; numbers to four digits."""
    names = list(rows[0])
    lines = ["| " + " | ".join(names) + " |", "|" + "---|" * len(names)]
    for row in rows:
        values = (row.get(name, "") for name in names)
        cells = (f"{v:.4g}" if isinstance(v, float) else str(v) for v in values)
        lines.append("| " + " | ".join(cells) + " |")
    return "\n".join(lines)


def report(
    out: Path, name: str, rows: Sequence[dict[str, Any]], facts: dict[str, Any], figure: Any
) -> None:
    """Print the table and write `name`.json and `name`.png into a folder."""
    print("\n" + table(rows), flush=True)
    out.mkdir(parents=True, exist_ok=True)
    text = json.dumps({"versions": versions(), **facts, "rows": list(rows)}, indent=1)
    write_text_atomically(out / f"{name}.json", text)
    figure.savefig(out / f"{name}.png", dpi=150, bbox_inches="tight")
    plt.close(figure)
