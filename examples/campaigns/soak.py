"""A million control steps while sensors and solvers fail at one step in a hundred.

    OMP_NUM_THREADS=1 python -m examples.campaigns.soak koopman_envs/BilinearMotor-v0 1000000

Learns the task's controller, runs it on its environment, and injects the faults of `faults.py`.
Prints exceptions, actions that were not finite or out of bounds, growth of memory, the time of
`act` on the processor, and how often each rung was used. The exit code tells whether all is well.
"""

from __future__ import annotations

import resource
import sys
from collections import Counter
from collections.abc import Iterator
from contextlib import closing
from dataclasses import dataclass, field
from pathlib import Path
from time import process_time
from typing import Annotated, Any

import numpy as np
import typer
from rich.progress import track
from threadpoolctl import threadpool_limits

from examples.campaigns.faults import FAULTS, SENSOR, Unreliable, made_unreliable
from koopman_control.common.arrays import Array
from koopman_control.evaluation import action_bounds
from koopman_control.identification import LiftedModel
from koopman_control.mpc import KoopmanMPC
from koopman_control.tasks import TASKS
from koopman_control.trajectories.environments import Environment

SHARE = 0.01  # of the steps that go wrong
ALLOWED_GROWTH = 1.0  # MiB
WARM_UP = 2_000  # steps after which memory is first looked at, or a tenth of all


@dataclass
class Soak:
    """What happened in n steps."""

    seconds: Array
    exceptions: list[str] = field(default_factory=list)
    broken: int = 0
    rungs: Counter[str] = field(default_factory=Counter)
    faults: Counter[str] = field(default_factory=Counter)
    episodes: int = 1
    growth: float = 0.0

    @property
    def sound(self) -> bool:
        """Whether nothing is wrong."""
        return not self.exceptions and not self.broken and self.growth <= ALLOWED_GROWTH

    def __str__(self) -> str:
        """Tell all of it."""
        levels = np.quantile(1e6 * self.seconds, [0.5, 0.99, 0.999, 1.0])
        times = ", ".join(
            f"{name} {t:.0f}"
            for name, t in zip(("p50", "p99", "p99.9", "max"), levels, strict=True)
        )
        return (
            f"{len(self.seconds):,} steps in {self.episodes} episodes\n"
            f"exceptions: {len(self.exceptions)} {self.exceptions[:3]}\n"
            f"actions not finite or out of bounds: {self.broken}\n"
            f"growth of memory: {self.growth:.2f} MiB\n"
            f"microseconds per act: {times}\n"
            f"rungs: {dict(self.rungs)}\n"
            f"faults: {dict(self.faults)}"
        )


def soaked(mpc: KoopmanMPC, env: Environment, n_steps: int, seed: int) -> Soak:
    """Run a controller for n steps or until Ctrl+C, over as many episodes as they fill."""
    soak, begun = Soak(np.full(n_steps, np.nan)), 0.0
    try:
        for k in track(_steps(mpc, env, soak, seed), "steps", total=n_steps):
            if k == min(WARM_UP, n_steps // 10):
                begun = memory()
    except KeyboardInterrupt:
        soak.seconds = soak.seconds[: soak.rungs.total()]
    soak.growth = memory() - begun
    return soak


def _steps(mpc: KoopmanMPC, env: Environment, soak: Soak, seed: int) -> Iterator[int]:
    """Step after step, some of them with a fault, noted in a soak."""
    rng, solvers = np.random.default_rng(seed), made_unreliable(mpc)
    low, high = action_bounds(env)
    y = before = _begun(mpc, env, seed)
    for k in range(len(soak.seconds)):
        fault = str(rng.choice(FAULTS)) if before is not y and rng.random() < SHARE else ""
        soak.faults[fault or "none"] += 1
        given = SENSOR[fault](y, before, rng) if fault in SENSOR else y
        u = _acted(mpc, given, fault, solvers, soak, k)
        soak.broken += not ((low <= u) & (u <= high)).all()  # NaN is out of bounds too
        after, _, terminated, truncated, _ = env.step(u.astype(env.action_space.dtype))
        y, before = np.asarray(after, dtype=np.float64), y
        if terminated or truncated:
            soak.episodes += 1
            y = before = _begun(mpc, env, seed + soak.episodes)
        yield k


def _begun(mpc: KoopmanMPC, env: Environment, seed: int) -> Array:
    mpc.reset()
    return np.asarray(env.reset(seed=seed)[0], dtype=np.float64)


def _acted(
    mpc: KoopmanMPC, given: Any, fault: str, solvers: list[Unreliable], soak: Soak, k: int
) -> Array:
    """Act under a fault, and note how it went."""
    for solver in solvers:
        solver.fault = "" if fault in SENSOR else fault
    start = process_time()
    try:
        u = mpc.act(given)
    except Exception as error:
        soak.exceptions.append(f"step {k}, {fault or 'no fault'}: {error!r}")
        u = np.zeros(mpc.model.n_inputs)
    soak.seconds[k] = process_time() - start
    if mpc.last is not None:
        soak.rungs[mpc.last.rung] += 1
    return u


def memory() -> float:
    """Memory of this process in MiB: now, or where the system does not tell, at most so far."""
    pages = Path("/proc/self/statm")
    if pages.exists():
        return int(pages.read_text().split()[1]) * resource.getpagesize() / 2**20
    most = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return most / (2**20 if sys.platform == "darwin" else 2**10)


def main(
    task: Annotated[str, typer.Argument(help="One of `koopman-control tasks`.")],
    n_steps: Annotated[int, typer.Argument(min=1)] = 1_000_000,
    seed: int = 0,
    model: Annotated[Path | None, typer.Option(help="Fitted before; learned if not given.")] = None,
) -> None:
    """Soak the controller of a task; Ctrl+C ends it early."""
    chosen = TASKS[task]
    fitted = LiftedModel.load(model) if model else chosen.learn(seed).model
    with (
        closing(chosen.environment()) as env,
        threadpool_limits(limits=1),
        np.errstate(all="ignore"),
    ):
        soak = soaked(chosen.controller(fitted), env, n_steps, seed)
    print(f"{task}\n{soak}")
    raise typer.Exit(code=0 if soak.sound else 1)


if __name__ == "__main__":
    typer.run(main)
