"""Carry a plan out over several processes, going on where an earlier run of it stopped."""

from __future__ import annotations

from collections.abc import Callable

from joblib import Parallel, delayed, parallel_config

from koopman_control.benchmark.execution import Record, carry_out
from koopman_control.benchmark.fingerprints import fingerprint
from koopman_control.benchmark.plan import Key, Plan
from koopman_control.benchmark.store import RunFile
from koopman_control.common import PathLike, ensure_writable_folder, positive_int
from koopman_control.common.border import checked

RUNS = "control.jsonl"  # one line per run, in the folder of results

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
    current = {env_id: fingerprint(task) for env_id, task in plan.tasks.items()}
    return [key for key in plan.keys() if not _counts(known.get(key), current[key.task])]


def _counts(record: Record | None, settings: str) -> bool:
    return record is not None and "error" not in record and record.get("settings") == settings


@checked
def run_benchmark(
    plan: Plan, runs: RunFile, jobs: int = 2, on_record: OnRecord = lambda record: None
) -> None:
    """Do all runs of a plan that are missing; each is on the disk as soon as it is done.

    What is found does not depend on the number of processes, except for times.

    Args:
        plan: What to run.
        runs: Where to.
        jobs: Number of processes, each with one thread of linear algebra.
        on_record: Called with the record of every run that was done, from this process.

    Raises:
        ValueError: If `jobs` is below 1.
    """
    todo = plan.jobs(missing(plan, runs))
    workers = min(positive_int("jobs", jobs), max(1, len(todo)))
    with parallel_config("loky", inner_max_num_threads=1):
        work = Parallel(n_jobs=workers, return_as="generator_unordered", batch_size=1)
        for records in work(delayed(carry_out)(job, plan.evaluation_seeds) for job in todo):
            runs.add(records)
            for record in records:
                on_record(record)
