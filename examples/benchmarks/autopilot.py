"""The autopilot on environments it is told nothing of, and without each of its levers.

    python -m examples.benchmarks.autopilot --seeds 1 --episodes 20 --out runs/autopilot
    python -m examples.benchmarks.autopilot --levers --out runs/autopilot
    python -m examples.benchmarks.autopilot --speed

One set of settings for all. Every learning seed's row is written once it is there, so that a run
that was stopped goes on; the tables are printed of whatever rows there are. dm_control's
environments need `dm-control==1.0.50`, `shimmy` and `mujoco==3.17` (4.0 breaks it), in an
environment of their own; without them they are left out, and the table says so.

Scores of the ready tasks' environments are those of `koopman-control benchmark`: 0 is what random
inputs return, 1 what a reference that knows the true model does, on the same seeds. Beside
dm_control's stand the returns of BRO after 100,000 steps.
"""

from __future__ import annotations

import json
import os
import platform
import time
from importlib.util import find_spec
from pathlib import Path
from typing import Annotated, Any

import numpy as np
import typer

from koopman_control.autopilot import Autopilot, Levers
from koopman_control.autopilot.pace import Exploration
from koopman_control.autopilot.search import Effort, Objective, PlanSearch
from koopman_control.autopilot.surface import fitted_surface
from koopman_control.common import Array, Controller
from koopman_control.common.files import write_text_atomically
from koopman_control.evaluation import RandomPolicy, action_bounds, evaluate, package_versions
from koopman_control.features import SampledFeatures
from koopman_control.identification import EDMDc
from koopman_control.tasks import TASKS
from koopman_control.tasks.references import normalised_score
from koopman_control.trajectories import collect
from koopman_control.trajectories.adapting import adapted
from koopman_control.trajectories.environments import Environment

# Budget in environment steps: twice the ready task's own, at most 10,000.
BUDGETS = {task.env_id: min(2 * task.n_steps, 10_000) for task in TASKS.values()} | {
    "dm_control/cartpole-swingup-v0": 5000,
    "dm_control/cartpole-balance-v0": 5000,
    "dm_control/pendulum-swingup-v0": 5000,
    "dm_control/point_mass-easy-v0": 5000,
    "dm_control/reacher-hard-v0": 5000,
    "dm_control/ball_in_cup-catch-v0": 5000,
    "dm_control/acrobot-swingup-v0": 5000,
    "dm_control/cartpole-swingup_sparse-v0": 10_000,
    "dm_control/cheetah-run-v0": 20_000,
}
# Returns of BRO after 100,000 steps (from its authors' result files), beside which ours stand.
BRO = {"cartpole-swingup": 872, "cartpole-balance": 995, "pendulum-swingup": 819}
BRO |= {"reacher-hard": 889, "ball_in_cup-catch": 977, "acrobot-swingup": 107}
BRO |= {"cartpole-swingup_sparse": 797}
ABLATED = (
    "Pendulum-v1",
    "MountainCarContinuous-v0",
    "koopman_envs/CartPoleSwingUp-v0",
    "dm_control/cartpole-swingup-v0",
)
LEVERS = ("trim", "value", "search", "structure", "refine", "quadratic")
LONGEST = 1000  # steps of an episode of an environment that has no time limit


def environment(env_id: str) -> Environment:
    """Make an environment; those of dm_control have no time limit of their own."""
    if not env_id.startswith("dm_control/"):
        return adapted(env_id)
    return adapted(f"shimmy:{env_id}", max_episode_steps=LONGEST)


class Clocked:
    """A controller, and the processor time that each of its steps takes.

    Args:
        controller: The controller.
    """

    def __init__(self, controller: Controller) -> None:
        self._controller = controller
        self.seconds: list[float] = []

    def reset(self) -> None:
        """Begin an episode."""
        self._controller.reset()

    def act(self, observation: Array) -> Array:
        """Return the action for an observation."""
        started = time.process_time()
        action = self._controller.act(observation)
        self.seconds.append(time.process_time() - started)
        return action


def measured(env_id: str, budget: int, seed: int, episodes: int, without: str) -> dict[str, Any]:
    """Learn from one seed and evaluate; returns a row."""
    env = environment(env_id)
    levers = Levers(**{without: False}) if without else None
    load = os.getloadavg()[0]
    started, used = time.perf_counter(), time.process_time()
    learned = Autopilot(budget, seed, levers=levers).learn(env)
    seconds, used = time.perf_counter() - started, time.process_time() - used
    first = 20_000 if seed >= 20 else 1000  # tuning and reporting use different seeds
    seeds = range(first, first + episodes)
    controller = Clocked(learned.controller)
    result = evaluate(controller, env, seeds)
    random = float(np.mean(evaluate(RandomPolicy(action_bounds(env)), env, seeds).returns))
    return {
        "env_id": env_id,
        "without": without,
        "budget": budget,
        "steps": sum(len(t) for t in learned.data),
        "seed": seed,
        "first_evaluation_seed": first,
        "returns": result.returns.tolist(),
        "random": random,
        "score": normalised_score(env_id, result.returns, seeds),
        "learn_seconds": seconds,
        "learn_cpu_seconds": used,
        "fit_seconds": learned.fit_seconds,
        "step_cpu_ms": [1e3 * float(np.quantile(controller.seconds, q)) for q in (0.5, 0.99)],
        "hold": learned.hold,
        "notes": list(learned.notes),
        "load": [load, os.getloadavg()[0]],
        "versions": {**package_versions(), "python": platform.python_version()},
    }


def pricing() -> float:
    """Return the milliseconds of one core that 500 plans of 50 steps take to price, the least.

    On a model of Pendulum-v1 with 100 neurons and a reward with as many.
    """
    data = collect("Pendulum-v1", Exploration(), n_steps=1000, seed=20)
    features = SampledFeatures(100, steepness=0.25, random_state=0)
    settings = EDMDc(features, coupling="bilinear", angles=[(0, 1)])
    model = settings.fit(data).model_
    X = np.concatenate([model.state(t.observations[:-1]) for t in data])
    U = np.concatenate([t.actions for t in data])
    r = np.concatenate([t.rewards for t in data if t.rewards is not None])
    Z = np.hstack([model.signals.embedding(X), U])
    reward = fitted_surface(Z, r[:, None], [SampledFeatures(100, random_state=0)])
    box = np.array([[-2.0], [2.0]])
    anywhere = np.tile([[-np.inf], [np.inf]], 2)
    search = PlanSearch([model], Objective(reward, False, None, anywhere), box, Effort(50))
    plans = np.random.default_rng(0).uniform(-2.0, 2.0, (500, 50, 1))
    seconds = []
    for _ in range(200):
        started = time.process_time()
        search.worth(X[0], plans)
        seconds.append(time.process_time() - started)
    return 1e3 * min(seconds)


def table(rows: list[dict[str, Any]]) -> str:
    """Lay rows out, one line per environment and lever left out."""
    lines = [
        "| environment | without | steps | seeds | mean return | worst episode | random "
        "| score | learn s / CPU s | step CPU ms, median / p99 |",
        "|---|---|---|---|---|---|---|---|---|---|",
    ]
    for env_id, without in dict.fromkeys((r["env_id"], r["without"]) for r in rows):
        own = [r for r in rows if (r["env_id"], r["without"]) == (env_id, without)]
        returns = np.concatenate([r["returns"] for r in own])
        short, low = env_id.rpartition("/")[2].removesuffix("-v0"), [r["random"] for r in own]
        scores = [r["score"] for r in own if r["score"] is not None]
        score = f"{np.mean(scores):.3f}" if scores else ""
        if short in BRO:
            score = f"BRO: {BRO[short]}"
        ms = np.mean([r["step_cpu_ms"] for r in own], axis=0)
        learning = np.mean([[r["learn_seconds"], r["learn_cpu_seconds"]] for r in own], axis=0)
        lines.append(
            f"| {env_id} | {without or '-'} | {own[0]['steps']:,} | "
            f"{', '.join(str(r['seed']) for r in own)} | {returns.mean():.4g} | "
            f"{returns.min():.4g} | {np.mean(low):.4g} | {score} | "
            f"{learning[0]:.0f} / {learning[1]:.0f} | {ms[0]:.1f} / {ms[1]:.1f} |"
        )
    return "\n".join(lines)


def main(
    out: Annotated[Path, typer.Option(help="Folder of the rows")] = Path("runs/autopilot"),
    seeds: Annotated[int, typer.Option(help="Learning seeds")] = 1,
    first_seed: Annotated[int, typer.Option(help="The first of them; tune on 20 or more")] = 0,
    episodes: Annotated[int, typer.Option(help="Evaluation episodes per learning seed")] = 20,
    only: Annotated[str, typer.Option(help="Part of an id; other environments are left out")] = "",
    levers: Annotated[bool, typer.Option(help="Leave out one lever after the other")] = False,
    speed: Annotated[bool, typer.Option(help="Only time the pricing of plans")] = False,
) -> None:
    """Run what has no row yet, and print the table of all rows."""
    if speed:
        print(f"500 plans of 50 steps: {pricing():.1f} ms of one core")
        return
    out.mkdir(parents=True, exist_ok=True)
    ids = [env_id for env_id in (ABLATED if levers else BUDGETS) if only in env_id]
    if find_spec("shimmy") is None or find_spec("dm_control") is None:
        left_out = [env_id for env_id in ids if env_id.startswith("dm_control/")]
        ids = [env_id for env_id in ids if env_id not in left_out]
        print(f"left out, as dm_control or shimmy is not installed: {left_out}", flush=True)
    for seed in range(first_seed, first_seed + seeds):
        for env_id in ids:
            for without in LEVERS if levers else ("",):
                name = f"{env_id.replace('/', '_')}-{without or 'all'}-{seed}.json"
                if not (out / name).exists():
                    row = measured(env_id, BUDGETS[env_id], seed, episodes, without)
                    write_text_atomically(out / name, json.dumps(row, indent=1) + "\n")
                    print(f"{name}: {np.mean(row['returns']):.4g}", flush=True)
    rows = [json.loads(path.read_text()) for path in sorted(out.glob("*.json"))]
    print(table(rows))


if __name__ == "__main__":
    typer.run(main)
