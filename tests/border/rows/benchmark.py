"""The benchmark."""

from pathlib import Path
from typing import Any

import koopman_control.benchmark as bench
from koopman_control.common.protocols import Controller
from koopman_control.evaluation import ZeroPolicy
from koopman_control.tasks import Task
from tests.border import parts
from tests.border.rows.row import Row, fields

KEY = bench.Key(parts.ENV, "zero", "nominal", 0)


def nothing(task: Task, seed: int) -> bench.Trained:
    return bench.Trained(ZeroPolicy(parts.BOX))


def same(task: Task) -> Task:
    return task


def contents() -> dict[str, Any]:
    """What a plan of a single run holds."""
    return {
        "tasks": {parts.ENV: parts.task(Q=(1.0, 0.1, 0.1), env_arguments={"max_episode_steps": 3})},
        "subjects": {"zero": bench.Subject("does nothing", nothing, learns=False)},
        "conditions": {"nominal": bench.Condition("as it is")},
        "seeds": range(1),
        "episodes": 1,
        "first_seed": 1000,
    }


def plan() -> bench.Plan:
    return bench.Plan(**contents())


def runs() -> bench.RunFile:
    return bench.open_runs(Path("results"), plan())


def record() -> dict[str, Any]:
    return {"task": parts.ENV, "subject": "zero", "condition": "nominal", "seed": 0}


def controller() -> Controller:
    return ZeroPolicy(parts.BOX)


ROWS = [
    Row("Condition.applied", bench.CONDITIONS["nominal"].applied, lambda: {"task": parts.task()}),
    Row(
        "beside_published",
        bench.beside_published,
        lambda: dict(suite=bench.SUITES["dm_control"], means={"cartpole-balance": 990.0}),
    ),
    Row("Condition", bench.Condition, fields(summary="as it is", learning=same, judging=same)),
    Row(
        "Subject",
        bench.Subject,
        fields(
            summary="zero", train=nothing, learns=False, needs=None, shares_data=False, effort=1.0
        ),
    ),
    Row("Variation", bench.Variation, fields(changes={"n_draws": 1})),
    Row("Variation.task", bench.Variation({"n_draws": 1}).task, lambda: {"task": parts.task()}),
    Row(
        "Variation.__call__",
        bench.Variation({"n_draws": 1}).__call__,
        lambda: {"task": parts.task(Q=(1.0, 0.1, 0.1)), "seed": 0},
    ),
    Row(
        "Trained",
        bench.Trained,
        lambda: dict(controller=controller(), data_steps=1, seconds=0.1, rounds=[]),
    ),
    Row("Key", bench.Key, fields(task=parts.ENV, subject="zero", condition="nominal", seed=0)),
    Row("Plan", bench.Plan, contents),
    Row("Plan.jobs", lambda **k: plan().jobs(**k), lambda: {"keys": [KEY]}),
    Row(
        "RunFile", bench.RunFile, lambda: {"path": Path("runs.jsonl"), "settings": {"episodes": 1}}
    ),
    Row("RunFile.claim", lambda **k: runs().claim(**k), lambda: {"key": KEY}),
    Row("RunFile.record", lambda **k: runs().record(**k), lambda: {"key": KEY}),
    Row("RunFile.add", lambda **k: runs().add(**k), lambda: {"records": [record()]}),
    Row("open_runs", bench.open_runs, lambda: {"folder": Path("results"), "plan": plan()}),
    Row("missing", bench.missing, lambda: {"plan": plan(), "runs": runs()}),
    Row(
        "run_benchmark",
        bench.run_benchmark,
        lambda: {"plan": plan(), "runs": runs(), "jobs": 1, "on_record": lambda record: None},
    ),
    Row(
        "write_results",
        bench.write_results,
        lambda: {"folder": Path("results"), "plan": plan(), "runs": runs()},
    ),
]
