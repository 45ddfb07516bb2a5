"""Everything that is written about a benchmark: data, a Markdown table and a page beside runs."""

from __future__ import annotations

from koopman_control.benchmark.cells import cells_of
from koopman_control.benchmark.execution import Record
from koopman_control.benchmark.fingerprints import fingerprint
from koopman_control.benchmark.plan import Key, Plan
from koopman_control.benchmark.store import RunFile
from koopman_control.benchmark.summary import markdown, summarised
from koopman_control.common import PathLike, ensure_writable_folder, write_text_atomically
from koopman_control.common.border import checked
from koopman_control.evaluation import metrics_json
from koopman_control.tasks import TASKS


@checked
def write_results(folder: PathLike, plan: Plan, runs: RunFile) -> str:
    """Summarise all valid runs of a folder, those of earlier plans included.

    Args:
        folder: Where to; made if it is not there.
        plan: The plan; says what was left out, and why.
        runs: The runs.

    Returns:
        The Markdown table.
    """
    cells = cells_of(valid(plan, runs), plan.evaluation_seeds)
    left_out = {" under ".join(names): reason for names, reason in plan.left_out.items()}
    content = runs.header | {"left_out": left_out} | summarised(cells)
    table = markdown(cells)
    results = ensure_writable_folder(folder)
    write_text_atomically(results / "control.json", metrics_json(content))
    write_text_atomically(results / "control.md", table)
    if cells:
        from koopman_control.benchmark.page import write_page

        write_page(results, cells, plan, runs.header)
    return table


def valid(plan: Plan, runs: RunFile) -> dict[Key, Record]:
    """Return the records of tasks that are still what they were then."""
    tasks = TASKS | dict(plan.tasks)
    current = {env_id: fingerprint(task) for env_id, task in tasks.items()}
    return {
        key: record
        for key, record in runs.records().items()
        if record.get("settings") == current.get(key.task, "unknown")
    }
