"""Damage and forge files, read them, and count what happens.

    python -m examples.campaigns.files 100000

A reader must do one of two things: return (after damage only what the undamaged file holds; after a
forgery, checksum and all, something of the right kind), or raise one FileFormatError or ValueError
with a sentence. Anything else is a failure and is printed with its seed. Prints a row of figures
for each kind of file, and by how much the memory of the process grew.
"""

from __future__ import annotations

import resource
import tempfile
import warnings
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Annotated, Any

import numpy as np
import typer
from cvxpy.atoms.norm_inf import norm_inf

from examples.campaigns.hostile_files import Attack, damaged, forged, repacked
from koopman_control import (
    Bounds,
    Cost,
    EDMDc,
    FeatureUnion,
    FourierFeatures,
    Inputs,
    KoopmanMPC,
    LiftedModel,
    OffsetFree,
    PolynomialFeatures,
    RadialFeatures,
    SampledFeatures,
    Trajectory,
    load_trajectories,
    save_trajectories,
)
from koopman_control.cli.forecast import Fill, read_table
from koopman_control.features import FeatureChain, RecurrentFeatures
from koopman_control.mpc import Knots

MEMORY = 1 << 30  # bytes that the process may ask for beyond what it has
HARMLESS = ("refused", "forgery accepted", "other table accepted", "accepted unchanged")


@dataclass(frozen=True)
class Subject:
    """A kind of file: its name, one of it, how to read it and to write again what was read."""

    name: str
    data: bytes
    read: Callable[[Path], Any]
    write: Callable[[Path, Any], None] | None
    attacks: tuple[Attack, ...] = (damaged, damaged, repacked, forged)


def subjects(folder: Path) -> Iterator[Subject]:
    """Make a file of every kind: trajectories, models of all features, a controller, a table."""
    path = folder / "original"
    save_trajectories(path, trajectories())
    yield Subject("trajectories", path.read_bytes(), load_trajectories, save_trajectories)
    for name, estimator in estimators().items():
        estimator.fit(trajectories()).model_.save(path)
        yield Subject(name, path.read_bytes(), LiftedModel.load, lambda to, model: model.save(to))
    controller().save(path)
    yield Subject("controller", path.read_bytes(), KoopmanMPC.load, lambda to, mpc: mpc.save(to))
    for fill in (None, Fill.linear):
        read = partial(read_table, columns=["T", "p"], fill=fill)
        yield Subject(f"table, fill={fill}", table(), read, None, (damaged,))


def trajectories() -> list[Trajectory]:
    """Make a few short runs."""
    rng = np.random.default_rng(0)
    return [
        Trajectory(
            np.cumsum(rng.normal(size=(n + 1, 2)), axis=0) * 0.1,
            rng.uniform(-1, 1, (n, 1)),
            rewards=rng.normal(size=n),
            dt=0.1,
            action_bounds=np.array([[-1.0], [1.0]]),
            seed=n,
        )
        for n in (20, 25, 30, 35)
    ]


def estimators() -> dict[str, EDMDc]:
    """Return estimators whose models together hold every class of features."""
    chain = FeatureChain([FourierFeatures(6, random_state=0), SampledFeatures(4, random_state=0)])
    union = FeatureUnion([RadialFeatures(4, random_state=0), PolynomialFeatures(2), chain])
    alone: dict[str, Any] = {"horizon": 5, "n_folds": 0, "regularization": 1e-6}
    deep = SampledFeatures(5, n_layers=2, random_state=0)
    remembering = RecurrentFeatures(4, random_state=0)
    return {
        "model": EDMDc(deep, horizon=5, n_folds=2),
        "model, features composed": EDMDc(union, **alone),
        "model, memory and input features": EDMDc(
            remembering, memory=2, input_features=PolynomialFeatures(2), **alone
        ),
    }


def controller() -> KoopmanMPC:
    """Make a controller that has most of what there is to save."""
    features = SampledFeatures(5, random_state=0)
    model = EDMDc(features, horizon=5, n_folds=0, regularization=1e-6).fit(trajectories()).model_
    mpc = KoopmanMPC(
        model,
        6,
        cost=Cost(Q=[1.0, 0.1], S=0.1, terminal="riccati", trust=1.0),
        bounds=Bounds(rates=0.5, outputs=(-5.0, 5.0), polytope=([[1.0, 1.0]], [[0.5]], [4.0])),
        reference=np.linspace(0.0, 1.0, 20)[:, None] * np.ones(2),
        estimator=OffsetFree(0.1),
        inputs=Inputs(parametrization=Knots([0, 2, 5]), delay=1),
    )
    return mpc.constrain(lambda y, u, p: norm_inf(y) <= p.top, top=40.0)


def table() -> bytes:
    """Make a table with a row per hour."""
    hours = np.datetime64("2024-03-01T00:00:00") + np.timedelta64(1, "h") * np.arange(60)
    rows = [f"{str(h).replace('T', ' ')},{i * 0.5},{i % 7}" for i, h in enumerate(hours)]
    return ("date,T,p\n" + "\n".join(rows) + "\n").encode()


def tried(subject: Subject, seed: int, folder: Path) -> str:
    """Attack once and say how it ended."""
    rng = np.random.default_rng(seed)
    attack = subject.attacks[int(rng.integers(len(subject.attacks)))]
    path, again = folder / "attacked.csv", folder / "again"
    path.write_bytes(attack(subject.data, rng))
    try:
        found = subject.read(path)
    except ValueError as error:  # FileFormatError is one
        return "refused" if str(error) and "\n" not in str(error) else "NO SENTENCE"
    except Exception as error:
        return f"{type(error).__name__} ESCAPED"
    if subject.write is None:
        return "other table accepted"
    if attack is forged:
        return "forgery accepted"
    subject.write(again, found)
    return "accepted unchanged" if again.read_bytes() == subject.data else "accepted CHANGED"


def campaign(
    n_tries: int, first_seed: int = 0
) -> tuple[dict[str, Counter[str]], list[tuple[str, int, str]]]:
    """Attack every kind of file `n_tries` times; return the outcomes and what failed."""
    outcomes: dict[str, Counter[str]] = {}
    failed = []
    with tempfile.TemporaryDirectory() as name, warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of fits to so few data, and of forged numbers
        for subject in subjects(Path(name)):
            counts = outcomes.setdefault(subject.name, Counter())
            for seed in range(first_seed, first_seed + n_tries):
                outcome = tried(subject, seed, Path(name))
                counts[outcome] += 1
                if outcome not in HARMLESS:
                    failed.append((subject.name, seed, outcome))
    return outcomes, failed


def most_memory() -> float:
    """Return the most memory that the process ever held, in MiB."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024


def limit_memory() -> None:
    """Let a request for more than `MEMORY` beyond the present fail, so that it is noticed."""
    pages = int(Path("/proc/self/statm").read_text("utf-8").split()[0])
    resource.setrlimit(resource.RLIMIT_AS, (pages * resource.getpagesize() + MEMORY,) * 2)


def main(
    n_tries: Annotated[int, typer.Argument(min=1, help="Tries for each kind of file.")],
    first_seed: Annotated[int, typer.Option(min=0)] = 0,
) -> None:
    """Attack every kind of file and print the figures."""
    campaign(50, first_seed)
    limit_memory()
    before = most_memory()
    outcomes, failed = campaign(n_tries, first_seed)
    kinds = sorted({kind for counts in outcomes.values() for kind in counts})
    print(f"| file | tries | {' | '.join(kinds)} |\n|{'---|' * (len(kinds) + 2)}")
    for name, counts in outcomes.items():
        cells = " | ".join(str(counts[kind]) for kind in kinds)
        print(f"| {name} | {counts.total()} | {cells} |")
    print(f"failures: {len(failed)}; memory grew by {most_memory() - before:.1f} MiB")
    for failure in failed[:20]:
        print(*failure)
    raise typer.Exit(1 if failed else 0)


if __name__ == "__main__":
    typer.run(main)
