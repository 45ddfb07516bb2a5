"""Fits of data past memory: time, memory, growth and merging, measured and beside their bounds.

    python -m examples.benchmarks.scale --folder FOLDER                     # 10^6 snapshots
    python -m examples.benchmarks.scale --folder FOLDER --samples 10000000  # ten times as long

A forced Van der Pol oscillator in Parquet files of 100,000 snapshot pairs, 500 features, five
folds, regularisation chosen. Every measurement runs in a process of its own, and what is in the
folder's `scale.json` is not measured again. The bound is what no fit can do without: Phi' Phi and
Phi' Y of as many rows on numbers that are already there. Whitening, which keeps the digits that
Phi' Phi alone loses, is one more triangular product, so 4/3 of the bound's operations; a QR
factorisation of [Phi Y] would take 8/3 of them.
"""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Annotated, Any

import numpy as np
import typer

from examples.benchmarks.scale_figure import draw
from examples.benchmarks.scale_simulation import Unit, simulated
from examples.benchmarks.scale_units import PAIRS, UNITS
from koopman_control.common.files import write_text_atomically
from koopman_control.evaluation import package_versions


def main(
    folder: Annotated[Path, typer.Option(help="Of data and results.")],
    samples: Annotated[int, typer.Option(min=PAIRS, help="Snapshot pairs of the fit.")] = 1_000_000,
    features: Annotated[int, typer.Option(min=1)] = 500,
    growth: Annotated[int, typer.Option(help="Most pairs of the growth.")] = 1_000_000,
    most: Annotated[int, typer.Option(help="Most features of the growth.")] = 4_000,
    unit: Annotated[str, typer.Option(help="Measure this unit only, here.")] = "",
) -> None:
    """Measure what is not yet measured, one process each, and print everything."""
    folder.mkdir(parents=True, exist_ok=True)
    if unit:
        name, *numbers = unit.split()
        print(json.dumps(UNITS[name](folder, *map(int, numbers))))
        return
    wanted = [
        *(f"fit {samples} {features} {workers}" for workers in (1, 2)),
        "merge 1000 1000",
        *(f"fit {n} 100 0" for n in growing(growth)),
        *(f"products {n} {rows(n)}" for n in (100, 200, 500, 1000, 2000, 4000) if n <= most),
        "episodes 10000 100 100",
        "episodes 1 1000000 100",
        "dispatch",
        "agreement 200000 200",
    ]
    for one in wanted:
        measured(folder, one)
    found = {one: measured(folder, one) for one in wanted}
    print(f"versions {package_versions()}; seeds of the data 0, 1, ...; features' seed 0")
    report(found, samples, features, growing(growth))
    draw(found, folder / "scale.png")


def growing(samples: int) -> list[int]:
    return [n for n in (10_000, 100_000, 1_000_000, 3_000_000, 10_000_000) if n <= samples]


def rows(n_features: int) -> int:
    """Rows that take seconds, and so many that they are whitened, as those of large data are."""
    return max(16 * n_features, min(200_000, 128**2 * 10**6 // n_features**2 // 512 * 512))


def measured(folder: Path, unit: str) -> dict[str, Any]:
    """Return what is known of a unit, measured in another process if it is not."""
    path = folder / "scale.json"
    known: dict[str, Any] = json.loads(path.read_text()) if path.exists() else {}
    if unit not in known:
        print(f"measuring {unit} ...", file=sys.stderr, flush=True)
        command = [sys.executable, "-m", "examples.benchmarks.scale"]
        done = subprocess.run(
            [*command, "--folder", str(folder), "--unit", unit],
            check=True,
            stdout=subprocess.PIPE,
            text=True,
        )
        known[unit] = json.loads(done.stdout.splitlines()[-1])
        write_text_atomically(path, json.dumps(known, indent=1))
    found: dict[str, Any] = known[unit]
    return found


def exponent(x: list[float], y: list[float]) -> str:
    """Slope of the logarithms: over all points, and between the last two."""
    slopes = np.diff(np.log(y)) / np.diff(np.log(x))
    whole = np.polyfit(np.log(x), np.log(y), 1)[0] if len(x) > 1 else np.nan
    return f"{whole:.2f} (last two {slopes[-1]:.2f})"


def report(found: dict[str, dict[str, Any]], samples: int, features: int, n: list[int]) -> None:
    """Print numbers beside goals."""
    one, two = (found[f"fit {samples} {features} {w}"] for w in (1, 2))
    total = two["driver"] + sum(two["workers"])
    print(f"\nfit of {samples:,} x {features} from Parquet, five folds, 13 regularisations")
    for name, fit in (("one worker (here)", one), ("two workers", two)):
        theirs = [round(cpu, 1) for cpu in fit["workers"]]
        print(
            f"  {name}: {fit['wall']:.0f} s, CPU {fit['driver']:.1f} s here, {theirs} in workers;"
        )
        print(f"    {fit['driver_mib']:.0f} MiB here above the {fit['base']:.0f} of the imports, a")
        print(f"    worker {fit['worker_mib']:.0f} MiB in all")
    print(f"  same model: {one['checksum'] == two['checksum']} (goal True)")
    print(f"  two workers, wall: {one['wall'] / two['wall']:.2f} x one (goal 1.8)")
    paced = one["driver"] / (two["driver"] + max(two["workers"]))
    print(f"  two workers on free cores, from CPU seconds: {paced:.2f} x one")
    bound, like = one["products"], one["products"] + one["triangular"]
    print(f"  CPU of one worker / bare products: {one['driver'] / bound:.2f} (goal 1.2)")
    print(f"  / products and the triangular one, like with like: {one['driver'] / like:.2f}")
    print(f"  CPU of two workers / bare products: {total / two['products']:.2f}")
    agreed = found["agreement 200000 200"]
    print(f"  against a fit in memory (200,000 x 200): A {agreed['A']:.1e} of its largest entry,")
    print(f"  20-step roll-outs {agreed['rollouts']:.1e} of the largest state (goal 1e-8)")
    merge = found["merge 1000 1000"]
    row, usual = (found[f"products {k} {rows(k)}"] for k in (1000, 500))
    whole = row["sums"] / row["rows"] * 1e7
    print(f"\nmerge of 1,000 sums with n = 1,000, beside a fit of 10^7 rows ({whole:.0f} CPU s)")
    for what in ("adding", "finish", "arriving", "reflections"):
        print(f"  {what}: {merge[what]:.2f} s, {100.0 * merge[what] / whole:.2f} % (goal 1 %)")
    cpu = [found[f"fit {i} 100 0"]["driver"] for i in n]
    print(f"\ngrowth with samples {n}: CPU {[round(t, 2) for t in cpu]} s")
    print(f"  exponent {exponent([*map(float, n)], cpu)} (goal 1.05)")
    wide = [(int(name.split()[1]), fit) for name, fit in found.items() if "products" in name]
    each = [1e6 * fit["sums"] / fit["rows"] for _, fit in wide]
    print(f"growth with features {[k for k, _ in wide]}: {[round(t, 1) for t in each]} us a row")
    print(f"  exponent {exponent([float(k) for k, _ in wide], each)} (goal 2.05)")
    for name, text in (("10000 100", "10,000 episodes of 100"), ("1 1000000", "1 of 10^6")):
        ep = found[f"episodes {name} 100"]
        print(f"{text} steps: {ep['cpu']:.1f} CPU s, {ep['mib']:.0f} MiB above {ep['base']:.0f}")
    sized = 8.0 * 5 * (504 * 504 + 504 * 503) / 2**20
    task = usual["sums"] / usual["rows"] * PAIRS
    print("\nsimulated cluster of 1,000 workers, 10 Gbit/s")
    add = (merge["adding"] + merge["arriving"]) / 1_000 * sized / merge["mib_a_part"]
    for line in simulated(Unit(task, sized, add, found["dispatch"]["seconds"])):
        print(f"  {line}")


if __name__ == "__main__":
    typer.run(main)
