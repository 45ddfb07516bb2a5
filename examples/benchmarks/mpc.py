"""How long a step of the controller takes: tables over sizes, parametrisations and roll-outs.

    OMP_NUM_THREADS=1 python -m examples.benchmarks.mpc          # --quick for a few steps only
    pip install "koopman-control[fast]"                          # compiled roll-outs

Times are those of whole `act()` calls, in microseconds: lift, prediction, filling in, solving and
checking. They are the processor's time for the one thread that does it all, so that other programs
on the machine do not count; the parts are by the clock. "floor" is the time of one product of the
constant matrix that any condensed program needs with the lifted state. "slowest" are the solver's
iterations in the slowest 1 % of the steps. Plants and references are those of `mpc_subjects.py`.
"""

from __future__ import annotations

import time
import timeit
from collections.abc import Callable
from dataclasses import dataclass
from typing import Annotated, Any

import numpy as np
import typer
from threadpoolctl import threadpool_limits

from examples.benchmarks.mpc_generated_peers import GENERATED
from examples.benchmarks.mpc_peers import PEERS
from examples.benchmarks.mpc_subjects import LiftedPlant, Oscillator, PlantCopies, oscillator_model
from koopman_control.common.arrays import Array
from koopman_control.evaluation import package_versions
from koopman_control.mpc import Blocks, Inputs, Knots, KoopmanMPC
from koopman_control.mpc.solvers import available_solvers

SIZES = ((50, 1, 3, 10), (200, 1, 3, 30), (200, 4, 3, 30), (200, 4, 12, 30), (500, 4, 12, 50))
RELIFTED = ((100, 30), (200, 60))
HEAD = "set-up s | first | p50 | p99 | p99.9 | predict | update | solve | iterations p50/p99"


@dataclass
class Run:
    """Seconds, solver iterations and parts of every step of a closed loop, and its mean cost."""

    seconds: Array
    iterations: Array
    parts: Array
    cost: float
    fallbacks: int

    def cells(self, set_up: float) -> str:
        """Format what HEAD announces."""
        us = 1e6 * self.seconds
        levels = " | ".join(f"{np.percentile(us, q):.0f}" for q in (50, 99, 99.9))
        parts = " | ".join(f"{1e6 * t:.0f}" for t in np.median(self.parts, axis=0))
        often, rarely = np.percentile(self.iterations, [50, 99])
        return f"{set_up:.2f} | {us[0]:.0f} | {levels} | {parts} | {often:.0f}/{rarely:.0f}"

    @property
    def slowest(self) -> str:
        """Mean iterations in the slowest 1 % of the steps."""
        slow = np.argsort(self.seconds)[-max(1, len(self.seconds) // 100) :]
        return f"{np.mean(self.iterations[slow]):.0f}"


def main(
    quick: Annotated[bool, typer.Option(help="100 steps instead of 1,000.")] = False,
    peers: Annotated[
        bool, typer.Option(help="Other packages, too; needs cvxpygen and do-mpc.")
    ] = False,
) -> None:
    """Print all tables."""
    steps = 100 if quick else 1000
    print(f"{package_versions()}; seed 0; {steps} closed-loop steps each")
    with threadpool_limits(1):
        linear_table(steps)
        knots_table(steps)
        relifted_table(steps)
        batch_table(10 if quick else 30)
        agreement_table(min(steps, 200))
        if peers:
            peers_table(min(steps, 100))


def closed_loop(
    mpc: KoopmanMPC, observe: Callable[[], Array], step: Callable[[Array], float], steps: int
) -> Run:
    """Run a closed loop and measure every step."""
    seconds, iterations, parts, cost, fallbacks = [], [], [], 0.0, 0
    for _ in range(steps):
        y = observe()
        start = time.thread_time()
        u = mpc.act(y)
        seconds.append(time.thread_time() - start)
        assert mpc.last is not None
        iterations.append(mpc.last.iterations)
        parts.append(mpc.last.times)
        fallbacks += mpc.last.fallback
        cost += step(u) / steps
    return Run(np.array(seconds), np.array(iterations), np.array(parts), cost, fallbacks)


def on_plant(plant: LiftedPlant, **settings: Any) -> tuple[Run, float]:
    """Run a controller on its plant from the start; return the run and the seconds of set-up."""
    plant.restart()
    start = time.thread_time()
    mpc = plant.controller(**settings)
    set_up = time.thread_time() - start
    return closed_loop(mpc, lambda: plant.y, plant.step, plant.steps), set_up


def linear_table(steps: int) -> None:
    """Linear roll-outs over sizes."""
    print(f"\n| (n, m, p, N) | {HEAD} | slowest | floor | fallbacks |\n{'|---' * 13}|")
    for size in SIZES:
        plant = LiftedPlant(*size, steps)
        run, set_up = on_plant(plant)
        floor = floor_of(*size)
        ratio = f"{1e6 * floor:.1f} (×{np.median(run.seconds) / floor:.0f})"
        print(f"| {size} | {run.cells(set_up)} | {run.slowest} | {ratio} | {run.fallbacks} |")


def floor_of(n: int, m: int, p: int, N: int) -> float:
    """Seconds of one product of a matrix (N (m + p), n) with a vector."""
    M, z = np.ones((N * (m + p), n)), np.ones(n)
    return min(timeit.repeat(lambda: M @ z, number=20, repeat=50)) / 20


def knots_table(steps: int) -> None:
    """Plans in knots and blocks against full ones: times, and what they lose in closed loop."""
    print(f"\n| n = 200, N = 30 | inputs | {HEAD} | cost |\n{'|---' * 12}|")
    choices = {"full": None, "Knots(12)": Knots(12), "Knots(8)": Knots(8), "Blocks(8)": Blocks(8)}
    for m in (1, 2, 4):
        for p in (3, 12):
            plant, full = LiftedPlant(200, m, p, 30, steps), np.nan
            for name, inputs in choices.items():
                run, set_up = on_plant(plant, inputs=Inputs(parametrization=inputs))
                full = run.cost if inputs is None else full
                loss = f"{100 * (run.cost / full - 1):+.1f} %"
                print(f"| m = {m}, p = {p} | {name} | {run.cells(set_up)} | {loss} |")


def relifted_table(steps: int) -> None:
    """Re-lifted roll-outs with one re-linearisation per step."""
    print(f"\n| features, N | {HEAD} | slowest | fallbacks |\n{'|---' * 12}|")
    for n_features, N in RELIFTED:
        model, oscillator = oscillator_model(n_features), Oscillator()
        start = time.thread_time()
        mpc = KoopmanMPC(
            model, N, [1.0, 0.1, 0.0], 0.01, rollout="relifted", input_bounds=(-1.0, 1.0)
        )
        set_up = time.thread_time() - start
        run = closed_loop(mpc, lambda o=oscillator: o.x, oscillator.step, steps)  # type: ignore[misc]
        print(f"| {n_features}, {N} | {run.cells(set_up)} | {run.slowest} | {run.fallbacks} |")


def batch_table(steps: int) -> None:
    """Many copies of one plant, hardly disturbed or so that inputs often reach their bounds."""
    head = "copies | disturbance | microseconds per copy p50 | inputs at a bound | solved"
    print(f"\n| n = 200, N = 30, {head} |\n{'|---' * 5}|")
    for copies, disturbance in ((10, 0.01), (1000, 0.01), (1000, 0.1)):
        plants = PlantCopies(copies, LiftedPlant(200, 1, 3, 30, steps), disturbance)
        many, seconds, solved = plants.controllers, [], True
        at_bound, before = [], np.zeros((copies, 1))
        for _ in range(steps):
            start = time.thread_time()
            U = many.act(plants.Y)
            seconds.append(time.thread_time() - start)
            solved &= bool(many.solved.all())
            at_bound.append(np.mean((np.abs(U) > 1 - 1e-9) | (np.abs(U - before) > 0.3 - 1e-9)))
            before = U
            plants.step(U)
        time_each, share = 1e6 * np.median(seconds) / copies, 100 * np.mean(at_bound)
        print(f"| {copies} | {disturbance} | {time_each:.0f} | {share:.0f} % | {solved} |")


def agreement_table(steps: int) -> None:
    """First inputs of all solvers on one trajectory against Clarabel on the CVXPY problem."""
    print("\n| solver | p50 | p99 | largest deviation of the first input |\n|---|---|---|---|")
    for solver in available_solvers():
        plant = LiftedPlant(50, 2, 3, 15, steps)
        mpc, worst, seconds = plant.controller(solver=solver), 0.0, []
        for _ in range(steps):
            wanted = mpc.reference_solution(plant.y, np.zeros((15, 2)))[0][0]
            start = time.thread_time()
            u = mpc.act(plant.y)
            seconds.append(1e6 * (time.thread_time() - start))
            worst = max(worst, float(np.abs(u - wanted).max()))
            plant.step(u)
        p50, p99 = np.percentile(seconds, [50, 99])
        print(f"| {solver} | {p50:.0f} | {p99:.0f} | {worst:.1e} |")


def peers_table(steps: int) -> None:
    """Other packages on the same problem, each from its own warm start, on our trajectory."""
    print("\n| (n, m, p, N) | package | p50 | p99 | largest deviation |\n|---|---|---|---|---|")
    for size, packages in zip(SIZES[:2], (PEERS | GENERATED, PEERS), strict=True):
        plant = LiftedPlant(*size, steps)
        mpc = plant.controller()
        visited = []
        for _ in range(steps):
            previous = mpc.last.inputs[0] if mpc.last else np.zeros(plant.m)
            state, target = plant.z, plant.reference(plant.y)
            visited.append((state, previous, target, mpc.act(plant.y)))
            plant.step(visited[-1][3])
        for name, build in packages.items():
            plant.restart()
            solve, seconds, worst = build(plant), [], 0.0
            for z, previous, target, u in visited:
                start = time.thread_time()
                answer = solve(z, previous, target)
                seconds.append(1e6 * (time.thread_time() - start))
                worst = max(worst, float(np.abs(answer - u).max()))
            p50, p99 = np.percentile(seconds, [50, 99])
            print(f"| {size} | {name} | {p50:.0f} | {p99:.0f} | {worst:.1e} |", flush=True)


if __name__ == "__main__":
    typer.run(main)
