"""One job: learn once, judge under each condition, and say what was found as plain data."""

from __future__ import annotations

import time
from collections.abc import Sequence
from contextlib import closing
from dataclasses import asdict
from importlib.metadata import version
from typing import Any

from threadpoolctl import threadpool_limits

from koopman_control.benchmark.conditions import Condition
from koopman_control.benchmark.fingerprints import fingerprint
from koopman_control.benchmark.plan import Job, Part
from koopman_control.benchmark.trained import Trained
from koopman_control.evaluation import evaluate
from koopman_control.tasks import Task, reference_returns

Record = dict[str, Any]  # one run: a line of the file of results


def carry_out(job: Job, seeds: Sequence[int]) -> list[Record]:
    """Learn and judge.

    A run that fails gives a record with its `error` instead of figures.

    Args:
        job: What to do.
        seeds: Reset seeds of the evaluation.

    Returns:
        One record per run of the job. What depends on the clock is under `times`.
    """
    records: list[Record] = []
    trained: dict[str, Trained] = {}  # by subject
    with threadpool_limits(limits=1):
        for part in job.parts:
            try:
                found = _found(job.task, part, seeds, trained)
            except Exception as error:  # no controller's mistake may end the benchmark
                found = {"error": f"{type(error).__name__}: {error}"}
            records.append(_named(job.task, part) | found)
    return records


def _named(task: Task, part: Part) -> Record:
    """Begin a record with what it belongs to, and the version of a peer."""
    record = asdict(part.key) | {"settings": fingerprint(task)}
    if part.subject.needs is not None:
        package = part.subject.needs[0]
        record["peer"] = f"{package} {version(package.replace('_', '-'))}"
    return record


def _found(task: Task, part: Part, seeds: Sequence[int], trained: dict[str, Trained]) -> Record:
    """Judge one run; what a subject has learned is kept for its other conditions."""
    key, subject, condition = part
    if subject.train is None:
        return _stored(task, seeds)
    if key.subject not in trained:
        trained[key.subject] = subject.train(condition.learning(task), key.seed)
    return _judged(task, trained[key.subject], condition, seeds)


def _judged(task: Task, trained: Trained, condition: Condition, seeds: Sequence[int]) -> Record:
    started = time.perf_counter()
    with closing(condition.judging(task).environment()) as env:
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


def _stored(task: Task, seeds: Sequence[int]) -> Record:
    found = reference_returns(task.env_id, seeds)
    if found is None:
        return {"error": f"no reference is stored for all of the seeds {seeds[0]} ... {seeds[-1]}"}
    return {"returns": found[1].tolist(), "name": found[0]}
