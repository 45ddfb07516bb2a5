"""The figure of `scale`: growth with samples and with features."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import matplotlib.pyplot as plt


def draw(found: dict[str, dict[str, Any]], path: Path) -> None:
    """Draw CPU seconds against samples, and microseconds a row against features."""
    figure, (left, right) = plt.subplots(1, 2, figsize=(9.0, 3.6), layout="constrained")
    grown = [(int(n.split()[1]), f) for n, f in found.items() if n.endswith(" 100 0")]
    x = [n for n, _ in grown]
    left.loglog(x, [f["driver"] for _, f in grown], "o-", label="fit, 100 features")
    left.loglog(x, [f["products"] for _, f in grown], "--", color="0.5", label="bare products")
    twin = left.twinx()
    twin.plot(x, [f["driver_mib"] for _, f in grown], "s:", color="C1")
    twin.set_ylim(0.0, max(200.0, 1.2 * max(f["driver_mib"] for _, f in grown)))
    twin.set_ylabel("MiB beside the imports", color="C1")
    left.set(xlabel="snapshot pairs", ylabel="CPU seconds", title="Samples")
    left.legend(frameon=False, loc="upper left")
    wide = [(int(n.split()[1]), f) for n, f in found.items() if n.startswith("products ")]
    k = [n for n, _ in wide]
    each = [1e6 * f["sums"] / f["rows"] for _, f in wide]
    right.loglog(k, each, "o-", label="sums")
    slope = [each[-1] * (n / k[-1]) ** 2 for n in k]
    right.loglog(k, slope, "--", color="0.5", label="square of the features")
    right.set(xlabel="features", ylabel="CPU microseconds a row", title="Features")
    right.legend(frameon=False, loc="upper left")
    for axes in (left, right):
        axes.grid(alpha=0.3)
    figure.savefig(path, dpi=120)
    plt.close(figure)
