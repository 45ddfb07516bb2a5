"""Carry a plan out over several processes, going on where an earlier run of it stopped."""

from __future__ import annotations

import hashlib
import json
import os
import platform
import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import closing, contextmanager
from dataclasses import asdict, replace
from functools import partial
from importlib.metadata import version
from itertools import chain
from pathlib import Path
from typing import Any, BinaryIO

from threadpoolctl import threadpool_limits

from koopman_control.benchmark.baselines import Trained
from koopman_control.benchmark.plan import Job, Key, Part, Plan
from koopman_control.benchmark.subjects import Train
from koopman_control.benchmark.variants import fingerprint
from koopman_control.common import ensure_writable_folder, positive_int
from koopman_control.common.border import checked
from koopman_control.common.files import (
    Claim,
    FileFormatError,
    FileNotWritableError,
    PathLike,
    shared,
)
from koopman_control.common.workers import WorkerLostError, in_processes
from koopman_control.evaluation import evaluate, package_versions
from koopman_control.evaluation.report import plain
from koopman_control.tasks import Task, reference_returns
from koopman_control.tasks.untold import Untold

Record = dict[str, Any]  # one run: a line of the file of results


def run_job(job: Job, seeds: Sequence[int]) -> list[Record]:
    """Learn and judge.

    A run that fails gives a record with its `error` instead of figures.

    Args:
        job: What to do.
        seeds: Reset seeds of the evaluation.

    Returns:
        One record per run of the job. What depends on the clock is under `times`.
    """
    records: list[Record] = []
    trained: dict[str, Trained] = {}  # by subject, kept for its other conditions
    with threadpool_limits(limits=1):
        for part in job.parts:
            _, subject, _ = part
            record = _named(job, part)
            if subject.needs is not None:
                package = subject.needs[0]
                record["peer"] = f"{package} {version(package.replace('_', '-'))}"
            try:
                if subject.train is None:
                    outcome = _stored_reference(job.task, seeds)
                else:
                    outcome = _learned_and_judged(job.task, part, seeds, subject.train, trained)
            except Exception as error:  # no controller's mistake may end the benchmark
                outcome = {"error": f"{type(error).__name__}: {error}"}
            records.append(record | outcome)
    return records


def _named(job: Job, part: Part) -> Record:
    return asdict(part.key) | {"env_id": job.task.env_id, "settings": fingerprint(job.task)}


def _failed(job: Job, error: Exception) -> list[Record]:
    return [_named(job, part) | {"error": f"{type(error).__name__}: {error}"} for part in job.parts]


def _learned_and_judged(
    task: Task | Untold, part: Part, seeds: Sequence[int], train: Train, known: dict[str, Trained]
) -> Record:
    key, _, condition = part
    if key.subject not in known:
        known[key.subject] = train(condition.applied(task)[0], key.seed)
    trained, started = known[key.subject], time.perf_counter()
    with closing(condition.applied(task)[1].environment()) as env:
        found = evaluate(trained.controller, env, seeds)
    return {
        "returns": found.returns.tolist(),
        "steps": int(found.lengths.sum()),
        "violations": dict(found.violations),
        "fallbacks": round(found.fallback_share * int(found.lengths.sum())),
        "data_steps": trained.data_steps,
        "rounds": [{k: v for k, v in r.items() if k != "fit_seconds"} for r in trained.rounds],
        "times": {
            "learn_seconds": trained.seconds,
            "fit_seconds": sum(r.get("fit_seconds", 0.0) for r in trained.rounds),
            "judge_seconds": time.perf_counter() - started,
            "act_us": found.act_us,
        },
    }


def _stored_reference(task: Task | Untold, seeds: Sequence[int]) -> Record:
    found = reference_returns(task.env_id, seeds)
    if found is None:
        return {"error": f"no reference is stored for all of the seeds {seeds[0]} ... {seeds[-1]}"}
    return {"returns": found[1].tolist(), "name": found[0]}


FORMAT = 2  # since tasks go by their names


class RunFile:
    """Results that grow by whole lines, and from which an interrupted benchmark goes on.

    A line that was cut off in the middle is dropped. Of two records of the same run the later one
    counts. The file is bound to the package versions and to the evaluation seeds. Several processes
    may work on it, each with a `RunFile` of its own: one writes at a time, and `claim` tells who
    does what.

    Args:
        path: The file; made with its first line if it is not there.
        settings: What all runs share; a file that was begun with other settings is refused.

    Raises:
        ValueError: It was begun with other settings or other package versions.
        FileFormatError: It is no such file.
        FileNotWritableError: It cannot be written.
    """

    @checked
    def __init__(self, path: PathLike, settings: Mapping[str, Any]) -> None:
        self._path = Path(path)
        self._records: dict[Key, Record] = {}
        self._read = 0  # bytes of the file that are known
        header = {
            "format": FORMAT,
            "settings": dict(settings),
            "versions": package_versions(),
            "machine": machine(),
        }
        with self._alone() as file:
            lines = self._new_lines(file)
            if lines and lines[0].get("format") != FORMAT:
                raise self._damaged()
            if not lines:
                self._write(file, [header])
        self.header = lines[0] if lines else header
        _require_same(self._path, self.header, header)
        self._learn(lines[1:])

    def refresh(self) -> None:
        """Read what other processes have added meanwhile.

        Raises:
            FileFormatError: It is damaged.
        """
        with self._alone() as file:
            self._learn(self._new_lines(file))

    @checked
    def claim(self, key: Key) -> Claim:
        """Return what only one process at a time can take: the right to do a run."""
        name = hashlib.sha256(repr(key).encode()).hexdigest()[:16]
        return Claim(self._path.with_name(f".{self._path.stem}-{name}.claim"))

    @checked
    def record(self, key: Key) -> Record | None:
        """Return what is known about one run."""
        return self._records.get(key)

    def records(self) -> dict[Key, Record]:
        """Return what is known, in the order of the keys."""
        return dict(sorted(self._records.items()))

    @checked
    def add(self, records: Iterable[Record]) -> None:
        """Append records in one write and wait until they are on the disk.

        Raises:
            ValueError: A record does not say which run it is of.
        """
        lines = [plain(record) for record in records]
        try:
            keys = [_key(line) for line in lines]
        except (KeyError, TypeError, ValueError) as error:
            raise ValueError(
                f"records holds one without a right {error}; expected task, subject, condition and "
                "seed in each"
            ) from None
        with self._alone() as file:
            self._learn(self._new_lines(file))
            self._write(file, lines)
            self._records |= dict(zip(keys, lines, strict=True))

    @contextmanager
    def _alone(self) -> Iterator[BinaryIO]:
        """Open the file while no other process does."""
        try:
            with shared(self._path) as file:
                yield file
        except OSError as error:
            raise FileNotWritableError(
                f"cannot write {self._path}: {error.strerror or error}; make room, or choose "
                "another folder"
            ) from error

    def _write(self, file: BinaryIO, lines: list[dict[str, Any]]) -> None:
        text = "".join(json.dumps(line, allow_nan=False) + "\n" for line in lines)
        self._read += file.write(text.encode())
        file.flush()
        os.fsync(file.fileno())

    def _new_lines(self, file: BinaryIO) -> list[dict[str, Any]]:
        """Read complete lines from where reading ended before; cut off what a kill left behind."""
        file.seek(self._read)
        data = file.read()
        whole = data[: data.rfind(b"\n") + 1]
        if len(whole) < len(data):
            file.truncate(self._read + len(whole))
        try:
            lines: list[dict[str, Any]] = [json.loads(line) for line in whole.splitlines()]
            [_key(line) for line in (lines if self._read else lines[1:])]
        except (ValueError, KeyError, TypeError) as error:
            raise self._damaged() from error
        self._read += len(whole)
        return lines

    def _learn(self, records: list[Record]) -> None:
        self._records |= {_key(record): record for record in records}

    def _damaged(self) -> FileFormatError:
        return FileFormatError(
            f"{self._path} is no file of benchmark results of format {FORMAT}, or it is damaged; "
            "choose another folder"
        )


def machine() -> dict[str, Any]:
    """Describe what step times depend on."""
    return {
        "system": platform.platform(),
        "processor": _processor(),
        "cores": os.cpu_count(),
    }


def _processor() -> str:
    info = Path("/proc/cpuinfo")
    if info.is_file():  # where platform.processor() is empty
        for line in info.read_text("utf-8").splitlines():
            if line.startswith("model name"):
                return line.partition(":")[2].strip()
    return platform.processor()


def _require_same(path: Path, old: dict[str, Any], new: dict[str, Any]) -> None:
    for part in ("settings", "versions"):
        if old[part] != new[part]:
            names = sorted({*old[part], *new[part]})
            changed = [
                f"{name} {old[part].get(name)} (now {new[part].get(name)})"
                for name in names
                if old[part].get(name) != new[part].get(name)
            ]
            raise ValueError(
                f"{path} was begun with {', '.join(changed)}; results of both cannot be mixed: "
                "choose another folder, or restore what it was begun with"
            )


def _key(record: Record) -> Key:
    return Key(record["task"], record["subject"], record["condition"], int(record["seed"]))


RUNS = "control.jsonl"  # one line per run, in the folder of results

PATIENCE = 1.0  # s, after which it is seen again what other processes have done, or left

OnRecord = Callable[[Record], None]


@checked
def open_runs(folder: PathLike, plan: Plan) -> RunFile:
    """Open the file of results of a folder, made if need be."""
    settings = {"episodes": plan.episodes, "first_seed": plan.first_seed}
    return RunFile(ensure_writable_folder(folder) / RUNS, settings)


@checked
def missing(plan: Plan, runs: RunFile) -> list[Key]:
    """Return the runs of a plan that are still to be done, in the order of the plan.

    A record does not count if it holds an error, or if the task has been changed since.
    """
    known = runs.records()
    current = {name: fingerprint(task) for name, task in plan.tasks.items()}
    return [key for key in plan.keys() if not _counts(known.get(key), current[key.task])]


def _counts(record: Record | None, settings: str) -> bool:
    return record is not None and "error" not in record and record.get("settings") == settings


@checked
def run_benchmark(
    plan: Plan, runs: RunFile, jobs: int = 2, on_record: OnRecord = lambda record: None
) -> None:
    """Do all runs of a plan that are missing; each is on the disk as soon as it is done.

    What is found does not depend on the number of processes, except for times. They are of this
    machine, or of what joblib is told outside (`joblib.parallel_config("dask")`, or
    `koopman_control.common.cluster`). A run whose process ends is run again; one that ends its
    process every time is recorded as failed.

    Several calls at a time, in several processes, share the work on one folder: each does what no
    other is doing, and returns when all is done. What a process leaves undone when it ends is done
    by the others.

    Args:
        plan: What to run.
        runs: Where to.
        jobs: Number of processes, each with one thread of linear algebra; a cluster has its own.
        on_record: Called with the record of every run that was done, from this process.

    Raises:
        ValueError: If `jobs` is below 1, or a worker of the cluster has other versions.
        ConnectionError: If the cluster is gone. What was done before is on the disk.
    """
    at_most = positive_int("jobs", jobs)
    runs.refresh()
    ours = _Share(runs, missing(plan, runs))
    try:
        while todo := plan.jobs(ours.left()):
            claimed = ours.claimed(todo)
            first = next(claimed, None)
            if first is None:
                time.sleep(PATIENCE)
                continue
            # Taken, that is claimed, when there is a process for it.
            work = partial(run_job, seeds=plan.evaluation_seeds)
            for job, found in in_processes(work, chain([first], claimed), min(at_most, len(todo))):
                records = _failed(job, found) if isinstance(found, WorkerLostError) else found
                runs.add(records)
                ours.release()
                for record in records:
                    on_record(record)
    finally:
        ours.release(all_of_them=True)


class _Share:
    """What this process does of the runs that were missing when it began."""

    def __init__(self, runs: RunFile, keys: Iterable[Key]) -> None:
        self._runs = runs
        self._before = {key: runs.record(key) for key in keys}
        self._claims: dict[Key, Claim] = {}

    def left(self) -> list[Key]:
        """Return the runs that nobody has done since."""
        self._runs.refresh()
        return [key for key in self._before if self._is_left(key)]

    def claimed(self, jobs: list[Job]) -> Iterator[Job]:
        """Return one job after the other, without the runs that another process does or did."""
        for job in jobs:
            if parts := tuple(part for part in job.parts if self._take(part.key)):
                yield replace(job, parts=parts)

    def release(self, all_of_them: bool = False) -> None:
        """Let go of the runs that are done, or of all."""
        for key in list(self._claims):
            if all_of_them or not self._is_left(key):
                self._claims.pop(key).release()

    def _is_left(self, key: Key) -> bool:
        return self._runs.record(key) is self._before[key]

    def _take(self, key: Key) -> bool:
        claim = self._runs.claim(key)
        if not claim.take():
            return False
        self._runs.refresh()  # it may have been done just before
        if not self._is_left(key):
            claim.release()
            return False
        self._claims[key] = claim
        return True
