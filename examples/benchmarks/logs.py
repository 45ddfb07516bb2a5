"""Measured logs of real systems: free runs on the official test parts, beside peers.

    pip install "koopman-control[logs]" sysidentpy pykoop    # peers are optional
    python -m examples.benchmarks.logs --data FOLDER

FOLDER holds `silverbox.csv.gz`, `cascaded_tanks.csv.gz`, `emps_train.csv.gz`,
`emps_test.csv.gz` and `soft_robot.npz`, the public data sets of nonlinearbenchmark.org and of
D. Bruder's soft robot as tables: columns u, y; u_train, y_train, u_test, y_test; t, force,
position, reference; arrays train0_u, train0_y, ..., val3_y. Everything is chosen on training
data alone; `identify` gets no options. Of several feature seeds the worst is the figure. Prints a
Markdown table and writes all numbers as JSON.
"""

from __future__ import annotations

import time
import warnings
from collections.abc import Callable
from dataclasses import dataclass
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Annotated, Any

import numpy as np
import typer

from examples.benchmarks.logs_peers import PEERS
from koopman_control import EDMDc, LiftedModel, Trajectory, identify
from koopman_control.common import Array, optional_package, write_text_atomically
from koopman_control.evaluation import metrics_json, package_versions, simulate_log

Simulate = Callable[[Trajectory], Array]  # outputs at the rows of a run, (rows, p)
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


def own(data: LogData, seed: int) -> tuple[dict[str, dict[str, float]], str]:
    """`identify` without options, and the linear model it starts from."""
    found = identify(data.train, random_state=seed)
    thinning, memory = found.structure.thinning, found.structure.memory
    first = (memory + 1) * thinning
    models = {"identify": found.model, "linear, output error": found.linear}
    scores = {name: errors(data, simulator(m, thinning), first) for name, m in models.items()}
    return scores, str(found.structure)


def defaults(data: LogData, memory: int) -> dict[str, float]:
    """`EDMDc` with a memory and nothing else."""
    model = EDMDc(memory=memory).fit(data.train).model_
    return errors(data, simulator(model), memory + 1)


def main(
    data: Annotated[Path, typer.Option(help="Folder of the data.")],
    names: Annotated[list[str] | None, typer.Argument(help=f"{list(DATA)}; all if none.")] = None,
    seeds: Annotated[int, typer.Option(min=1, help="Feature seeds.")] = 5,
    peers: Annotated[bool, typer.Option(help="Run the peers that are installed, too.")] = True,
    out: Annotated[Path, typer.Option(help="Where the JSON goes.")] = Path("logs.json"),
) -> None:
    """Identify every data set, and print the errors of free runs on the official test parts."""
    warnings.simplefilter("ignore")
    used = package_versions() | {name: installed(name) for name in ("sysidentpy", "pykoop")}
    print(f"versions {used}; feature seeds 0 ... {seeds - 1}, the worst is shown")
    rows: list[dict[str, Any]] = []

    def note(name: str, unit: str, subject: str, score: dict[str, float], **more: Any) -> None:
        rows.append({"data": name, "unit": unit, "subject": subject, "rmse": score} | more)
        shown = ", ".join(f"{test} {value:.4g}" for test, value in score.items())
        extra = ", ".join(f"{key} {value}" for key, value in more.items())
        print(f"{name}, {subject}: {shown} {unit} ({extra})", flush=True)

    for name in names or list(DATA):
        log = DATA[name](data)
        collected: dict[str, list[dict[str, float]]] = {}
        for seed in range(seeds):
            begun, cpu = time.perf_counter(), time.process_time()
            scores, structure = own(log, seed)
            taken = {
                "seconds": round(time.perf_counter() - begun, 1),
                "cpu_seconds": round(time.process_time() - cpu, 1),
            }
            for subject, score in scores.items():
                collected.setdefault(subject, []).append(score)
            note(name, log.unit, f"identify, seed {seed}", scores["identify"], structure=structure,
                 **taken)  # fmt: skip
        for subject, each in collected.items():
            worst = {test: worst_of([score[test] for score in each]) for test in each[0]}
            note(name, log.unit, f"{subject}, worst of {seeds}", worst)
        for memory in (0, 5):
            begun = time.perf_counter()
            score = defaults(log, memory)
            taken = {"seconds": round(time.perf_counter() - begun, 1)}
            note(name, log.unit, f"EDMDc(memory={memory})", score, **taken)
        for subject, peer in PEERS.items() if peers else ():
            begun = time.perf_counter()
            simulate = peer(log.train)
            if simulate is None:
                print(f"{name}, {subject}: not installed")
                continue
            taken = {"seconds": round(time.perf_counter() - begun, 1)}
            note(name, log.unit, subject, errors(log, simulate, simulate.first), **taken)
    write_text_atomically(out, metrics_json({"versions": used, "rows": rows}))
    table(rows)


def worst_of(values: list[float]) -> float:
    return float("nan") if not np.isfinite(values).all() else max(values)


def table(rows: list[dict[str, Any]]) -> None:
    for name in dict.fromkeys(row["data"] for row in rows):
        mine = [row for row in rows if row["data"] == name and "seed" not in row["subject"]]
        tests = list(mine[0]["rmse"])
        print(f"\n| {name}, {mine[0]['unit']} | {' | '.join(tests)} |")
        print(f"|---|{'---|' * len(tests)}")
        for row in mine:
            print(f"| {row['subject']} | {' | '.join(f'{v:.4g}' for v in row['rmse'].values())} |")


def installed(package: str) -> str | None:
    try:
        return version(package)
    except PackageNotFoundError:
        return None


if __name__ == "__main__":
    typer.run(main)
