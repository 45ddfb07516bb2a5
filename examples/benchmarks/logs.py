"""Measured logs of real systems: free runs on the official test parts, beside peers.

    pip install "koopman-control[logs]" sysidentpy pykoop jax-sysid   # peers
    python -m examples.benchmarks.logs --data FOLDER

FOLDER holds `silverbox.csv.gz`, `cascaded_tanks.csv.gz`, `emps_train.csv.gz`,
`emps_test.csv.gz` and `soft_robot.npz`, the public data sets of nonlinearbenchmark.org and of
D. Bruder's soft robot as tables: columns u, y; u_train, y_train, u_test, y_test; t, force,
position, reference; arrays train0_u, train0_y, ..., val3_y. Everything is chosen on training
data alone; `identify` gets no options. Of several feature seeds the worst is the figure. Prints
Markdown tables and writes all numbers as JSON, each as soon as it is there, so that an interrupted
run goes on where it was.
"""

from __future__ import annotations

import json
import time
import warnings
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Annotated, Any

import numpy as np
import typer

from examples.benchmarks.logs_peers import PEERS, Peer
from koopman_control import EDMDc, LiftedModel, Trajectory, identify
from koopman_control.common import Array, optional_package, write_text_atomically
from koopman_control.evaluation import metrics_json, package_versions, simulate_log

Simulate = Callable[[Trajectory], Array]  # outputs at the rows of a run, (rows, p)
Fitted = Callable[[Sequence[Trajectory]], Peer | None]
RATE = 610.35  # Hz, of Silverbox
ARROW = slice(100, 40_575)
BELOW_EXTRAPOLATION = slice(100, 32_100)
MULTISINE = slice(40_650, 127_400)


@dataclass(frozen=True)
class LogData:
    """A data set.

    Args:
        train: Runs to fit to.
        tests: Name to runs, whose errors are averaged.
        skip: First rows that do not count.
        scale: From the unit of the log to that of the table.
        unit: Unit of the table.
    """

    train: list[Trajectory]
    tests: dict[str, list[Trajectory]]
    skip: int
    scale: float
    unit: str


def silverbox(folder: Path) -> LogData:
    table = read(folder / "silverbox.csv.gz")

    def cut(rows: slice) -> Trajectory:
        return run(table[rows, 1], table[rows, 0], 1.0 / RATE)

    end = MULTISINE.start + 3 * (MULTISINE.stop - MULTISINE.start) // 4
    tests = {
        "multisine": [cut(slice(end, MULTISINE.stop))],
        "arrow": [cut(ARROW)],
        "arrow, no extrapolation": [cut(BELOW_EXTRAPOLATION)],
    }
    return LogData([cut(slice(MULTISINE.start, end))], tests, 50, 1e3, "mV")


def emps(folder: Path) -> LogData:
    train, test = (read(folder / f"emps_{part}.csv.gz") for part in ("train", "test"))
    tests = {"test": [run(test[:, 2], test[:, 1], 1e-3)]}
    return LogData([run(train[:, 2], train[:, 1], 1e-3)], tests, 20, 1e3, "mm")


def cascaded_tanks(folder: Path) -> LogData:
    table = read(folder / "cascaded_tanks.csv.gz", ["u_train", "y_train", "u_test", "y_test"])
    tests = {"test": [run(table[:, 3], table[:, 2], 4.0)]}
    return LogData([run(table[:, 1], table[:, 0], 4.0)], tests, 5, 1.0, "V")


def soft_robot(folder: Path) -> LogData:
    with np.load(folder / "soft_robot.npz") as arrays:
        dt = float(np.median(np.diff(arrays["train0_t"])))
        train = [run(arrays[f"train{i}_y"], arrays[f"train{i}_u"], dt) for i in range(13)]
        tests = [run(arrays[f"val{i}_y"], arrays[f"val{i}_u"], dt) for i in range(4)]
    return LogData(train, {"mean of 4 runs": tests}, 0, 1.0, "cm")


DATA: dict[str, Callable[[Path], LogData]] = {
    "silverbox": silverbox,
    "emps": emps,
    "cascaded_tanks": cascaded_tanks,
    "soft_robot": soft_robot,
}


def read(path: Path, names: list[str] | None = None) -> Array:
    pandas = optional_package("pandas", "logs")
    frame = pandas.read_csv(path)
    return np.asarray(frame[names or list(frame.columns)].to_numpy(), dtype=np.float64)


def run(outputs: Array, inputs: Array, dt: float) -> Trajectory:
    """Every row has an input; the last one's would act beyond the log."""
    U = inputs.reshape(len(inputs), -1)[:-1]
    return Trajectory(outputs.reshape(len(outputs), -1), U, dt=dt)


def errors(data: LogData, simulate: Simulate, first: int) -> dict[str, float]:
    """Root mean square over rows, of all outputs together, averaged over the runs of a test."""
    found = {}
    for name, runs in data.tests.items():
        sizes = []
        for test in runs:
            with np.errstate(all="ignore"):
                Y = simulate(test)
                begin = max(first, data.skip)
                error = (Y - test.observations[: len(Y)])[begin:]
                sizes.append(np.sqrt(np.mean(np.sum(error**2, axis=1))))
        found[name] = float(np.mean(sizes)) * data.scale
    return found


def simulator(model: LiftedModel, thinning: int = 1) -> Simulate:
    return lambda test: simulate_log(model, test, thinning)[0]


def own(data: LogData, seed: int) -> dict[str, Any]:
    """`identify` without options, and the linear model it starts from."""
    found = identify(data.train, random_state=seed)
    thinning, memory = found.structure.thinning, found.structure.memory
    first = (memory + 1) * thinning
    return {
        "rmse": errors(data, simulator(found.model, thinning), first),
        "linear": errors(data, simulator(found.linear, thinning), first),
        "structure": str(found.structure),
    }


def defaults(data: LogData, memory: int) -> dict[str, Any]:
    """`EDMDc` with a memory and nothing else."""
    model = EDMDc(memory=memory).fit(data.train).model_
    return {"rmse": errors(data, simulator(model), memory + 1)}


def other(data: LogData, peer: Fitted) -> dict[str, Any]:
    """A peer; empty where it is not installed."""
    simulate = peer(data.train)
    return {} if simulate is None else {"rmse": errors(data, simulate, simulate.first)}


def main(
    data: Annotated[Path, typer.Option(help="Folder of the data.")],
    names: Annotated[list[str] | None, typer.Argument(help=f"{list(DATA)}; all if none.")] = None,
    seeds: Annotated[int, typer.Option(min=1, help="Feature seeds.")] = 5,
    peers: Annotated[bool, typer.Option(help="Run the peers that are installed, too.")] = True,
    out: Annotated[
        Path, typer.Option(help="Where the JSON goes; what it holds is not run again.")
    ] = Path("logs.json"),
) -> None:
    """Identify every data set, and print the errors of free runs on the official test parts."""
    warnings.simplefilter("ignore")
    results = Results(out)
    print(f"versions {results.versions}; feature seeds 0 ... {seeds - 1}, the worst is shown")
    for name in names or list(DATA):
        log = DATA[name](data)
        for seed in range(seeds):
            results.run(name, log.unit, f"identify, seed {seed}", partial(own, log, seed))
        for memory in (0, 5):
            subject = f"EDMDc(memory={memory})"
            results.run(name, log.unit, subject, partial(defaults, log, memory))
        for subject, peer in PEERS.items() if peers else ():
            results.run(name, log.unit, subject, partial(other, log, peer))
    table(results.rows, names or list(DATA), seeds)


class Results:
    """Rows of results in a file, to which every new one is written at once.

    Args:
        path: The file; rows that it holds are kept.
    """

    def __init__(self, path: Path) -> None:
        self._path = path
        self.rows: list[dict[str, Any]] = []
        if path.is_file():
            self.rows = json.loads(path.read_text("utf-8"))["rows"]
        packages = ("sysidentpy", "pykoop", "jax-sysid")
        self.versions: dict[str, str | None] = dict(package_versions())
        self.versions |= {name: installed(name) for name in packages}

    def run(self, name: str, unit: str, subject: str, what: Callable[[], dict[str, Any]]) -> None:
        """Run and note a subject, if it is not known yet."""
        if any((row["data"], row["subject"]) == (name, subject) for row in self.rows):
            return
        begun, cpu = time.perf_counter(), time.process_time()
        found = what()
        if not found:
            print(f"{name}, {subject}: not installed")
            return
        row = {"data": name, "unit": unit, "subject": subject} | found
        row["seconds"] = round(time.perf_counter() - begun, 1)
        row["cpu_seconds"] = round(time.process_time() - cpu, 1)
        print(row, flush=True)
        self.rows.append(row)
        text = metrics_json({"versions": self.versions, "rows": self.rows})
        write_text_atomically(self._path, text)


def worst_of(values: list[float | None]) -> float:
    """The largest; NaN if one is lost."""
    known = [value for value in values if value is not None]
    return max(known) if len(known) == len(values) else float("nan")


def table(rows: list[dict[str, Any]], names: list[str], seeds: int) -> None:
    """Print the worst of the seeds, and all others."""
    for name in names:
        every = [row for row in rows if row["data"] == name]
        ours = [
            row for row in every if row["subject"] in {f"identify, seed {s}" for s in range(seeds)}
        ]
        if not ours:
            continue
        tests = list(ours[0]["rmse"])
        seconds = max(row["cpu_seconds"] for row in ours)
        shown = [
            (
                f"{subject}, worst of {len(ours)}",
                [worst_of([r[kind][t] for r in ours]) for t in tests],
                seconds,
            )
            for subject, kind in (("identify", "rmse"), ("its linear model", "linear"))
        ]
        shown += [
            (row["subject"], [worst_of([row["rmse"][t]]) for t in tests], row["cpu_seconds"])
            for row in every
            if "linear" not in row
        ]
        print(f"\n| {name}, {ours[0]['unit']} | {' | '.join(tests)} | CPU s |")
        print(f"|---|{'---|' * len(tests)}---|")
        for subject, values, cpu in shown:
            print(f"| {subject} | {' | '.join(f'{v:.4g}' for v in values)} | {cpu:.0f} |")


def installed(package: str) -> str | None:
    try:
        return version(package)
    except PackageNotFoundError:
        return None


if __name__ == "__main__":
    typer.run(main)
