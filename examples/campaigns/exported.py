"""Exported controllers beside those they were made of, over a million random steps.

    OMP_NUM_THREADS=1 python -m examples.campaigns.exported 1000000 --log exported.jsonl

Controllers of every kind that the tests export (`tests.deploy.kinds`) hold their own models, with
noise, jumps, missing observations and inputs of others; the same in C, in double and in single
precision, shadow them. Prints for each kind the largest difference of an input, steps on another
rung, and the rungs; steps on another rung in double, and differences beyond 1e-9, make the exit
code 1. A kind is compiled once for all its runs. With a log it goes on where it was interrupted.
"""

from __future__ import annotations

import json
import sys
import warnings
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Annotated, Any

import numpy as np
import typer
from rich.progress import track

from koopman_control.deploy import CompiledMPC
from koopman_control.deploy.export import HIDDEN
from koopman_control.deploy.sources import CODE, Facts, rendered, whole_context
from koopman_control.mpc import KoopmanMPC
from tests.deploy.kinds import KINDS
from tests.deploy.shadowing import shadowed

STEPS, FIRST = 500, 100  # steps of a run; the first run's seed
BOX = 2.0  # width of the kinds' boxes
ALLOWED = {"double": 1e-9, "float": 1e-3 * BOX}
Told = dict[str, Any]


def in_c(mpc: KoopmanMPC, precision: str) -> CompiledMPC:
    """Compile a controller in a precision, as `export_c` writes it."""
    facts = Facts.of(mpc, precision, "koopman_mpc")  # type: ignore[arg-type]
    context = whole_context(mpc, facts, HIDDEN[precision])
    return CompiledMPC._from_sources(facts, rendered(CODE, context), mpc)


def compared(kind: str, seeds: list[int]) -> Iterator[Told]:
    """Run a controller and its copies in C, once for each seed; say how far they were apart."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of what an unstable model does without
        mpc = KINDS[kind]()
        shadows = {precision: in_c(mpc, precision) for precision in ALLOWED}
    for seed in seeds:
        mpc.reset()
        for one in shadows.values():
            one.reset()
        off: dict[str, list[float]] = {precision: [] for precision in shadows}
        rungs: Counter[str] = Counter()
        others: dict[str, Counter[str]] = {precision: Counter() for precision in shadows}
        for ours, theirs in shadowed(mpc, list(shadows.values()), STEPS, seed):
            rungs[ours.rung] += 1
            for precision, answer in zip(shadows, theirs, strict=True):
                off[precision].append(float(np.abs(answer.u - ours.u).max()))
                if answer.rung != ours.rung:
                    others[precision][f"{ours.rung}, in C {answer.rung}"] += 1
        yield {
            "kind": kind,
            "seed": seed,
            "steps": STEPS,
            "rungs": rungs,
            "worst": {precision: max(values) for precision, values in off.items()},
            "beyond": {
                precision: sum(value > ALLOWED[precision] for value in values)
                for precision, values in off.items()
            },
            "others": others,
        }


def summary(kind: str, runs: list[Told]) -> str:
    """Say in a line what the runs of a kind found."""
    steps = max(1, sum(int(one["steps"]) for one in runs))
    words = [f"{kind:36s}"]
    for precision in ALLOWED:
        worst = max((one["worst"][precision] for one in runs), default=0.0)
        beyond = sum(one["beyond"][precision] for one in runs)
        others = sum((Counter(one["others"][precision]) for one in runs), Counter[str]())
        words.append(f"{precision} {worst:.0e}")
        words[-1] += f", {beyond / steps:.1%} beyond" if beyond else ""
        words[-1] += f", {dict(others)}" if others else ""
    rungs = sum((Counter(one["rungs"]) for one in runs), Counter[str]())
    return "; ".join([*words, str(dict(rungs))])


def main(
    steps: Annotated[int, typer.Argument(help="Steps of all kinds together.")] = 100_000,
    log: Annotated[Path | None, typer.Option(help="JSON lines to write and go on from.")] = None,
    only: Annotated[str, typer.Option(help="Kinds whose name contains this.")] = "",
) -> None:
    """Compare until there are so many steps; print what was found."""
    done: list[Told] = []
    if log is not None and log.exists():
        done = [json.loads(line) for line in log.read_text().splitlines()]
    known = {(one["kind"], one["seed"]) for one in done}
    kinds = [kind for kind in KINDS if only in kind]
    rounds = range(FIRST, FIRST - (-steps // (STEPS * len(kinds))))
    for kind in track(kinds, disable=not sys.stdout.isatty()):
        todo = [seed for seed in rounds if (kind, seed) not in known]
        for told in compared(kind, todo) if todo else ():
            done.append(told)
            if log is not None:
                with log.open("a") as file:
                    file.write(json.dumps(told) + "\n")
    for kind in kinds:
        print(summary(kind, [one for one in done if one["kind"] == kind]))
    total = sum(int(one["steps"]) for one in done)
    bad = sum(bool(one["beyond"]["double"] or one["others"]["double"]) for one in done)
    print(f"{total:,} steps of {len(kinds)} kinds; {bad} of {len(done)} runs differ in double")
    sys.exit(bad > 0)


if __name__ == "__main__":
    typer.run(main)
