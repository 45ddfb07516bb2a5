"""Running a reference controller over the evaluation seeds, and storing what it reached.

After each episode a partial result is written, so that an interrupted run goes on where it was.
"""

from __future__ import annotations

import json
import shlex
import sys
from collections.abc import Iterable
from importlib.metadata import version
from pathlib import Path
from typing import Any

import numpy as np

from koopman_control.common import write_text_atomically
from koopman_control.common.protocols import Controller
from koopman_control.evaluation.episode import run_episode
from koopman_control.trajectories.environments import Environment

STORE = Path(__file__).parents[2] / "koopman_control" / "tasks" / "references.json"
PARTIAL = Path("runs") / "references"
SEEDS = range(1000, 1100)
Outcomes = dict[str, dict[str, float | None]]


def outcomes(
    env: Environment, controller: Controller, name: str, seeds: Iterable[int] = SEEDS
) -> Outcomes:
    """Run one episode a seed, but for those in the partial result of this name.

    Returns:
        "return" and "violation" (None where the environment reports none) for each seed.
    """
    assert env.spec is not None
    file = PARTIAL / f"{env.spec.id.replace('/', '-')}-{name.replace(' ', '-')}.json"
    file.parent.mkdir(parents=True, exist_ok=True)
    found: Outcomes = json.loads(file.read_text("utf-8")) if file.exists() else {}
    for seed in map(str, seeds):
        if seed not in found:
            episode = run_episode(controller, env, int(seed))
            found[seed] = {"return": episode.episode_return, "violation": episode.violation}
            write_text_atomically(file, json.dumps(found))
            print(f"{env.spec.id} {name}, seed {seed}: {found[seed]}", flush=True)
    chosen = {str(seed): found[str(seed)] for seed in seeds}
    values = np.array([outcome["return"] for outcome in chosen.values()])
    total = sum(outcome["violation"] or 0.0 for outcome in chosen.values())
    print(f"{env.spec.id} {name}: mean {values.mean():.6g}, violations {total:.3g} in all")
    return chosen


def store(
    env_id: str, kind: str, name: str, how: str, found: Outcomes, packages: Iterable[str] = ()
) -> None:
    """Write outcomes over the evaluation seeds into the package's references.json.

    Args:
        env_id: Gymnasium id.
        kind: "reference", "random" or "zero".
        name: What the controller is called in reports.
        how: What it does, in a sentence.
        found: From :func:`outcomes`.
        packages: What the numbers depend on besides Gymnasium and NumPy.
    """
    if list(found) != [str(seed) for seed in SEEDS]:
        raise ValueError(f"only all of the seeds {SEEDS[0]} ... {SEEDS[-1]} are stored")
    table: dict[str, Any] = json.loads(STORE.read_text("utf-8"))
    table.setdefault(env_id, {})[kind] = entry(name, how, found, packages)
    write_text_atomically(STORE, text(table) + "\n")


def entry(name: str, how: str, found: Outcomes, packages: Iterable[str]) -> dict[str, Any]:
    """Describe a controller and what it reached."""
    returns = {seed: round(float(o["return"] or 0.0), 6) for seed, o in found.items()}
    values = np.array(list(returns.values()))
    reported = all(outcome["violation"] is not None for outcome in found.values())
    violations = {seed: round(float(o["violation"] or 0.0), 6) for seed, o in found.items()}
    return {
        "name": name,
        "how": how,
        "command": shlex.join(["python", "-m", _module(), *sys.argv[1:]]),
        "versions": {p: version(p) for p in ("gymnasium", "numpy", *packages)},
        "mean": round(float(values.mean()), 6),
        "standard_error": round(float(values.std(ddof=1) / np.sqrt(len(values))), 6),
        "returns": returns,
        "violations": violations if reported else None,
    }


def text(value: Any, indent: str = "") -> str:
    """Write JSON with one line for each dictionary that holds no other."""
    if not isinstance(value, dict) or not any(isinstance(v, dict) for v in value.values()):
        return json.dumps(value, ensure_ascii=False)
    inner = indent + "  "
    rows = [f"{inner}{json.dumps(k)}: {text(v, inner)}" for k, v in value.items()]
    return "{\n" + ",\n".join(rows) + f"\n{indent}}}"


def _module() -> str:
    return f"examples.references.{Path(sys.argv[0]).stem}"
