"""One job: learn once, judge under each condition, and say what was found as plain data."""

from __future__ import annotations

import time
from collections.abc import Sequence
from contextlib import closing
from dataclasses import asdict
from typing import Any

from threadpoolctl import threadpool_limits

from koopman_control.benchmark.conditions import Condition
from koopman_control.benchmark.plan import Job, Key, fingerprint
from koopman_control.benchmark.subjects import Trained
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
    (first, condition), records = job.runs[0], []
    try:
        with threadpool_limits(limits=1):
            if job.subject.train is None:
                return [_named(job.task, first) | _stored(job.task, seeds)]
            trained = job.subject.train(condition.learning(job.task), first.seed)
            for key, condition in job.runs:
                records.append(_named(job.task, key) | _judged(job.task, trained, condition, seeds))
    except Exception as error:  # whatever a controller does wrong must not end the benchmark
        message = f"{type(error).__name__}: {error}"
        for key, _ in job.runs[len(records) :]:
            records.append(_named(job.task, key) | {"error": message})
    return records


def _named(task: Task, key: Key) -> Record:
    return asdict(key) | {"settings": fingerprint(task)}


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
