"""Exported controllers beside those they were made of, over a million random steps.

    OMP_NUM_THREADS=1 python -m examples.campaigns.exported 1000000 --log exported.jsonl

Controllers of every kind that the tests export (`tests.deploy.kinds`) hold their own models, with
noise, jumps, missing observations and inputs of others; the compiled one shadows them. Prints for
each kind the largest difference of an input and the rungs; steps on another rung, and differences
beyond 1e-9, make the exit code 1. With a log it goes on where it was interrupted.
"""

from __future__ import annotations

import json
import sys
from collections import Counter
from pathlib import Path
from typing import Annotated

import typer
from rich.progress import track

from koopman_control.deploy import CompiledMPC, compiled
from tests.deploy.kinds import KINDS
from tests.deploy.test_agreement import closed_loop

STEPS, ALLOWED = 500, 1e-9  # of a run; of boxes that are 2 wide


def compared(kind: str, seed: int) -> dict[str, object]:
    """Run one controller and its copy in C; say how far they were apart."""
    mpc = KINDS[kind]()
    fast = compiled(mpc)
    assert isinstance(fast, CompiledMPC)
    mpc.reset()
    told: dict[str, object] = {"kind": kind, "seed": seed, "steps": STEPS}
    try:
        worst, rungs = closed_loop(mpc, fast, STEPS, seed)
    except AssertionError:
        assert mpc.last is not None and fast.last is not None
        return told | {"other": f"{mpc.last.rung}, in C {fast.last.rung}"}
    return told | {"worst": worst, "rungs": Counter(rungs)}


def main(
    steps: Annotated[int, typer.Argument(help="Steps of all kinds together.")] = 100_000,
    log: Annotated[Path | None, typer.Option(help="JSON lines to write and go on from.")] = None,
    only: Annotated[str, typer.Option(help="Kinds whose name contains this.")] = "",
) -> None:
    """Compare until there are so many steps; print what was found."""
    done = []
    if log is not None and log.exists():
        done = [json.loads(line) for line in log.read_text().splitlines()]
    known = {(one["kind"], one["seed"]) for one in done}
    kinds = [kind for kind in KINDS if only in kind]
    rounds = -(-steps // (STEPS * len(kinds)))
    todo = [(kind, 100 + seed) for seed in range(rounds) for kind in kinds]
    todo = [one for one in todo if one not in known]
    for kind, seed in track(todo, disable=not sys.stdout.isatty()):
        done.append(compared(kind, seed))
        if log is not None:
            with log.open("a") as file:
                file.write(json.dumps(done[-1]) + "\n")
    bad = 0
    for kind in kinds:
        runs = [one for one in done if one["kind"] == kind]
        worst = max((one.get("worst", 0.0) for one in runs), default=0.0)
        others = [one["other"] for one in runs if "other" in one]
        rungs: Counter[str] = Counter()
        for one in runs:
            rungs.update(one.get("rungs", {}))
        bad += len(others) + sum(one.get("worst", 0.0) > ALLOWED for one in runs)
        print(f"{kind:36s} {worst:.1e} {dict(rungs)} {'; '.join(map(str, others))}")
    total = sum(int(one["steps"]) for one in done)
    print(f"{total:,} steps of {len(kinds)} kinds; {bad} of {len(done)} runs differ")
    sys.exit(bad > 0)


if __name__ == "__main__":
    typer.run(main)
