"""Do compiled programs agree with CVXPY's own solve? Random problems, as many as you like.

    OMP_NUM_THREADS=1 python -m examples.campaigns.qp controllers 1000000
    OMP_NUM_THREADS=1 python -m examples.campaigns.qp programs 100000

Every seed is one random controller (`problems.py`), compared in 50 steps with a second statement
of its problem, or one random CVXPY program (`programs.py`) at 10 values of its parameters. Figures
and differences are kept in a file, so that an interrupted run goes on where it was; further
processes take another file and other seeds:

    python -m examples.campaigns.qp controllers 500000 --first-seed 1000000 --file second.json
"""

from __future__ import annotations

import json
import warnings
from collections import Counter
from pathlib import Path
from time import process_time
from typing import Annotated, Any, Literal

import numpy as np
import typer
from rich.progress import Progress
from threadpoolctl import threadpool_limits

from examples.campaigns import programs
from examples.campaigns.judge import FINE
from examples.campaigns.kinds import Kind
from examples.campaigns.problems import Subject
from koopman_control.common.files import write_text_atomically
from koopman_control.evaluation import package_versions

What = Literal["controllers", "programs"]
SAVED_EVERY = 25  # seeds


def verdicts(what: What, seed: int) -> list[str]:
    """Compare one controller or program in several problems."""
    if what == "programs":
        return programs.verdicts(seed, 10)
    return Subject(Kind.drawn(seed)).verdicts(50)


def campaign(what: What, n_problems: int, first_seed: int, file: Path) -> dict[str, Any]:
    """Go on until the file tells of n problems; return its figures."""
    figures = _begun(what, first_seed, file)
    if (figures["what"], figures["first_seed"]) != (what, first_seed):
        raise typer.BadParameter(
            f"{file} began with {figures['what']} and seed {figures['first_seed']}; take another "
            f"file for {what} and {first_seed}"
        )
    with Progress() as progress, threadpool_limits(limits=1), np.errstate(all="ignore"):
        bar = progress.add_task("problems", total=n_problems, completed=_count(figures))
        while _count(figures) < n_problems:
            for _ in range(SAVED_EVERY):
                _compare(figures)
                if _count(figures) >= n_problems:
                    break
            write_text_atomically(file, json.dumps(figures, indent=1) + "\n")
            progress.update(bar, completed=_count(figures))
    return figures


def _begun(what: What, first_seed: int, file: Path) -> dict[str, Any]:
    if file.exists():
        return dict(json.loads(file.read_text("utf-8")))
    nothing: dict[str, Any] = {"what": what, "first_seed": first_seed, "next_seed": first_seed}
    versions = package_versions()
    return nothing | {"seconds": 0.0, "verdicts": {}, "differences": [], "versions": versions}


def _compare(figures: dict[str, Any]) -> None:
    """Compare one more controller or program."""
    seed, start = figures["next_seed"], process_time()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of models that grow, and of inaccurate judges
        found = verdicts(figures["what"], seed)
    counted = Counter(figures["verdicts"])
    for step, verdict in enumerate(found):
        counted[verdict if verdict in FINE else "different"] += 1
        if verdict not in FINE:
            figures["differences"].append({"seed": seed, "step": step, "verdict": verdict})
    figures["verdicts"] = dict(counted)
    figures["next_seed"] = seed + 1
    figures["seconds"] += process_time() - start


def _count(figures: dict[str, Any]) -> int:
    return int(sum(figures["verdicts"].values()))


def main(
    what: Annotated[What, typer.Argument()],
    n_problems: Annotated[int, typer.Argument(help="Problems in all, those in the file included.")],
    first_seed: int = 0,
    file: Path = Path("campaign-qp.json"),
) -> None:
    """Compare random problems with CVXPY's own solve."""
    figures = campaign(what, n_problems, first_seed, file)
    for one in figures["differences"]:
        print(f"seed {one['seed']}, step {one['step']}: {one['verdict']}")
    print(f"{_count(figures):,} problems in {figures['seconds']:.0f} s: {figures['verdicts']}")
    raise typer.Exit(code=1 if figures["differences"] else 0)


if __name__ == "__main__":
    typer.run(main)
