"""How long a step of an exported controller takes: in C, from Python, and in Python itself.

    OMP_NUM_THREADS=1 python -m examples.benchmarks.deploy       # --quick for a few steps only

It needs gcc. The plant is a random stable lifted model (spectral radius 0.98) whose features see
its outputs; the controller tracks a reference that steps every 40 samples, within a box, rates and
soft bounds of all outputs a tenth inside the reference, so these are often active. Python runs the
loop; what it observed is then replayed by the compiled controller and by programs in C, so all
solve the same programs. Times are the processor's for the one thread that does it all, in
microseconds, each step's the least of five replays, which do the same to the last bit: what other
processes disturb is not ours to measure. Python's loop runs once. Bytes are those of the object
file's code and constants, and of the struct; for a Cortex-M4F where arm-none-eabi-gcc is installed.
The last but one plant is learned: the Lorenz system's outputs with a force, whose lifted states are
as alike as those of real plants, where those of a random one are not.
"""

from __future__ import annotations

import subprocess
import tempfile
import time
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Annotated

import numpy as np
import typer
from threadpoolctl import threadpool_limits

from examples.benchmarks.mpc_subjects import Oscillator, oscillator_model
from koopman_control.common.arrays import Array
from koopman_control.deploy import CompiledMPC, closed_loop_loss, compiled, export_c
from koopman_control.deploy.certification import certified
from koopman_control.deploy.sources import CODE, Facts, rendered, whole_context
from koopman_control.evaluation import package_versions
from koopman_control.features import Coordinates, SampledFeatures
from koopman_control.identification import EDMDc, LiftedModel, Signals
from koopman_control.mpc import Bounds, Cost, Inputs, Knots, KoopmanMPC
from koopman_control.tasks import TASKS
from koopman_control.trajectories import HeldUniform, collect

REPEATS = 5
RELIFTED = ((100, 30),)
SIZES = ((50, 1, 3, 10), (200, 1, 3, 30), (200, 4, 3, 30))
BUILDS = {
    "-O3 -march=native": ("double", ["-O3", "-march=native", "-ffp-contract=fast"]),
    "-O2": ("double", ["-O2"]),
    "float, -O3 -march=native": ("float", ["-O3", "-march=native", "-ffp-contract=fast"]),
}
TIMER = """
#define _POSIX_C_SOURCE 200809L
#include "koopman_mpc.h"
#include <stdio.h>
#include <stdlib.h>
#include <time.h>

static koopman_mpc controller;

int main(int count, char **words)
{
    const int steps = count > 2 ? atoi(words[2]) : 0;
    FILE *file = fopen(words[1], "rb");
    int step, i;
    koopman_mpc_reset(&controller, NULL);
    for (step = 0; step < steps; step++) {
        double read[KOOPMAN_MPC_OBSERVATIONS];
        koopman_mpc_real y[KOOPMAN_MPC_OBSERVATIONS], u[KOOPMAN_MPC_INPUTS];
        struct timespec before, after;
        if (!fread(read, sizeof(read), 1, file))
            return 1;
        for (i = 0; i < KOOPMAN_MPC_OBSERVATIONS; i++)
            y[i] = (koopman_mpc_real)read[i];
        clock_gettime(CLOCK_THREAD_CPUTIME_ID, &before);
        koopman_mpc_step(&controller, y, NULL, NULL, NULL, u);
        clock_gettime(CLOCK_THREAD_CPUTIME_ID, &after);
        printf("%.17g %d %d", (double)(after.tv_sec - before.tv_sec)
                + 1e-9 * (double)(after.tv_nsec - before.tv_nsec),
            controller.iterations, (int)sizeof(controller));
        for (i = 0; i < KOOPMAN_MPC_INPUTS; i++)
            printf(" %.17g", (double)u[i]);
        printf("\\n");
    }
    return 0;
}
"""


@dataclass
class Plant:
    """The plant and its controller.

    Args:
        n: Lifted states.
        m: Inputs.
        p: Outputs.
        horizon: Steps of a plan.
        steps: Length of the run.
    """

    n: int
    m: int
    p: int
    horizon: int
    steps: int

    def __post_init__(self) -> None:
        """Draw it."""
        n, m, p = self.n, self.m, self.p
        self._rng = rng = np.random.default_rng(n + m + p)
        inner = rng.normal(size=(n - 1, n - 1)) / np.sqrt(n)
        inner *= 0.98 / np.abs(np.linalg.eigvals(inner)).max()
        A, B = np.eye(n), np.zeros((n, m))
        A[1:, 1:], B[1:] = inner, rng.normal(size=(n - 1, m)) / np.sqrt(n)
        gain = np.linalg.solve(np.eye(n - 1) - inner, B[1:])[:p]
        B /= np.linalg.norm(gain, axis=0)
        self.model = LiftedModel(
            A=A,
            B=B,
            C=np.eye(n)[1 : 1 + p],
            N=None,
            signals=Signals(
                coordinates=Coordinates.of(p),
                center=np.zeros(p),
                scale=np.ones(p),
                limits=np.tile([[-np.inf], [np.inf]], p),
                saturating=np.zeros(p, dtype=bool),
                action_bounds=np.tile([[-1.0], [1.0]], m),
            ),
            features=SampledFeatures(n - p - 1, random_state=0).fit(rng.normal(size=(300, p))),
        )
        levels = rng.uniform(-1.1, 1.1, (self.steps // 40 + 2, m))
        inputs = levels[np.arange(self.steps + self.horizon) // 40 % len(levels)]
        self.targets = inputs @ (gain / np.linalg.norm(gain, axis=0)).T

    def controller(self, inputs: Inputs | None = None) -> KoopmanMPC:
        """Track within bounds."""
        bound = 0.9 * np.abs(self.targets).max(axis=0)
        return KoopmanMPC(
            self.model,
            self.horizon,
            1.0,
            0.01,
            reference=self.targets,
            output_bounds=np.stack([-bound, bound]),
            cost=Cost(S=0.1),
            bounds=Bounds(rates=0.3, slack_weight=(10.0, 5.0)),
            inputs=inputs,
        )

    def run(
        self, mpc: KoopmanMPC, act: Callable[[Array], Array] | None = None
    ) -> tuple[Array, Array, Array, Array]:
        """Close the loop, through `act` if it is given; see `closed_loop`."""
        rng, model, y = np.random.default_rng(1), self.model, np.zeros(self.p)

        def step(u: Array) -> Array:
            moved = model.C @ (model.A @ model.lift(y) + model.B @ u)
            y[:] = moved + 0.01 * rng.normal(size=self.p)
            return y.copy()

        return closed_loop(mpc, y.copy(), step, self.steps, act)


def closed_loop(
    mpc: KoopmanMPC,
    y: Array,
    step: Callable[[Array], Array],
    steps: int,
    act: Callable[[Array], Array] | None = None,
) -> tuple[Array, Array, Array, Array]:
    """Run a controller; returns observations, inputs, seconds and iterations of every step."""
    kept = []
    for _ in range(steps):
        start = time.thread_time()
        u = (act or mpc.act)(y)
        seconds = time.thread_time() - start
        assert mpc.last is not None
        kept.append((y, u, seconds, mpc.last.iterations))
        y = step(u)
    observations, inputs, times, iterations = zip(*kept, strict=True)
    return np.array(observations), np.array(inputs), np.array(times), np.array(iterations)


def replayed(fast: CompiledMPC, observations: Array) -> tuple[Array, Array]:
    """Let a compiled controller answer from Python; returns inputs and seconds of every step."""
    runs = []
    for _ in range(REPEATS):
        fast.reset()
        inputs, seconds = [], []
        for y in observations:
            start = time.thread_time()
            inputs.append(fast.act(y))
            seconds.append(time.thread_time() - start)
        runs.append(seconds)
    return np.array(inputs), np.min(runs, axis=0)


def in_c(mpc: KoopmanMPC, build: str, observations: Array) -> tuple[Array, int, int]:
    """Let C answer alone; returns rows of [seconds, iterations, inputs], flash and RAM in bytes."""
    precision, flags = BUILDS[build]
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        export_c(mpc, folder, precision=precision)  # type: ignore[arg-type]
        (folder / "timer.c").write_text(TIMER)
        observations.tofile(folder / "observations")
        command = ["gcc", "-std=c99", *flags, "-c", "koopman_mpc.c"]
        subprocess.run(command, cwd=folder, check=True)
        link = ["gcc", "-std=c99", *flags, "timer.c", "koopman_mpc.o", "-o", "timer", "-lm"]
        subprocess.run(link, cwd=folder, check=True)
        size = subprocess.check_output(["size", "koopman_mpc.o"], cwd=folder, text=True)
        steps = str(len(observations))
        timer = ["./timer", "observations", steps]
        runs = [subprocess.check_output(timer, cwd=folder, text=True) for _ in range(REPEATS)]
    read = [[[float(word) for word in line.split()] for line in run.splitlines()] for run in runs]
    rows = np.array(read[0])
    rows[:, 0] = np.min([np.array(run)[:, 0] for run in read], axis=0)
    return np.delete(rows, 2, axis=1), int(size.splitlines()[1].split()[0]), int(rows[0, 2])


def on_a_microcontroller(name: str, mpc: KoopmanMPC, tolerance: float) -> None:
    """Print what a controller with a constant target takes in single precision, and at worst."""
    facts = Facts.of(mpc, "float", "koopman_mpc")
    context = whole_context(mpc, facts, tolerance)
    found = certified(mpc, facts, rendered(CODE, context), context)
    with tempfile.TemporaryDirectory() as folder:
        export_c(mpc, folder, "float", rank_tolerance=tolerance)
        loss = closed_loop_loss(mpc, CompiledMPC(folder))
    flash, ram = found.sizes or (0, 0)
    sizes = f"{flash:,} | {ram:,} | {found.stack}"
    print(f"| {name} | {sizes} | {found.iterations} | {found.active} | {loss:+.1e} |", flush=True)


def line(name: str, seconds: Array, iterations: Array | None, off: float, rest: str) -> None:
    """Print a line of the table."""
    us = " | ".join(f"{1e6 * np.percentile(seconds, q):.1f}" for q in (50, 99, 100))
    often = "" if iterations is None else f"{np.median(iterations):.0f}/{iterations.max():.0f}"
    print(f"| {name} | {us} | {often} | {off:.0e} | {rest} |")


def main(
    quick: Annotated[bool, typer.Option(help="200 steps instead of 3,000.")] = False,
) -> None:
    """Print all tables."""
    steps = 200 if quick else 3000
    gcc = subprocess.check_output(["gcc", "--version"], text=True).splitlines()[0]
    print(f"{package_versions()}; {gcc}; seed 0; {steps} closed-loop steps each")
    with threadpool_limits(1):
        for size in SIZES:
            for form in (None, Knots(8)) if size[-1] > 8 else (None,):
                plant = Plant(*size, steps)
                mpc = plant.controller(Inputs(parametrization=form))
                title = f"(n, m, p, N) = {size}, inputs: {form or 'every step'}"
                table(title, mpc, plant.run(mpc))
        for n_features, N in RELIFTED:
            title = f"re-lifted, {n_features} bilinear features, N = {N}"
            table(title, *oscillation(n_features, N, steps))
        microcontrollers()


def microcontrollers() -> None:
    """Print a table of controllers with constant targets on a Cortex-M4F."""
    print("\nOn a Cortex-M4F, single precision; iterations and active bounds: worst of a search\n")
    head = "controller | flash | RAM | stack | iterations | active bounds | closed-loop cost"
    print(f"| {head} |\n{'|---' * 7}|")
    plant = Plant(*SIZES[1], 40)
    random = plant.model, 0.9 * np.abs(plant.targets).max(axis=0)
    for title, (model, side) in (("random", random), ("Lorenz", learned())):
        for form in (None, Knots(8)):
            mpc = KoopmanMPC(
                model,
                30,
                1.0,
                0.01,
                input_bounds=(-1.0, 1.0),
                output_bounds=np.multiply([[-1.0], [1.0]], side),
                cost=Cost(S=0.1),
                bounds=Bounds(rates=0.3, slack_weight=(10.0, 5.0)),
                inputs=Inputs(parametrization=form),
            )
            name = f"{title} (200, 1, 3, 30), {form or 'every step'}"
            on_a_microcontroller(name, mpc, 1e-7)
            if title == "Lorenz":
                on_a_microcontroller(f"{name}, rank tolerance 1e-4", mpc, 1e-4)
    for name, N, form, n in (("VanDerPol", 100, Knots(8), 20), ("BilinearMotor", 22, Knots(5), 8)):
        task = TASKS[name]
        small = replace(
            task,
            horizon=N,
            n_features=(n,),
            steepness=(0.25,),
            n_steps=task.first_steps,
            n_rounds=0,
            reference=np.zeros(len(task.Q)),
            mpc={**task.mpc, "inputs": Inputs(parametrization=form)},
        )
        own = small.learn(20).controller
        assert isinstance(own, KoopmanMPC)
        on_a_microcontroller(f"{name}, {n} features, N = {N}, {form}", own, 1e-4)


def learned() -> tuple[LiftedModel, Array]:
    """Learn 200 lifted states of the Lorenz system from 2,000 steps, for a linear roll-out.

    Returns:
        The model, and the largest values of its states in the data.
    """
    data = collect("koopman_envs/Lorenz-v0", HeldUniform(hold=(1, 10)), n_steps=2000, seed=20)
    features = SampledFeatures(196, steepness=0.5, random_state=0)
    fit = EDMDc(features, rollout="linear", states=[0, 1, 2], regularization=1e-6, n_folds=0)
    largest = np.max([np.abs(run.observations[:, :3]).max(axis=0) for run in data], axis=0)
    return fit.fit(data).model_, largest


def oscillation(
    n_features: int, horizon: int, steps: int
) -> tuple[KoopmanMPC, tuple[Array, Array, Array, Array]]:
    """Hold a pendulum upright by a filtered torque, re-lifted."""
    oscillator, model = Oscillator(), oscillator_model(n_features)
    mpc = KoopmanMPC(
        model, horizon, [1.0, 0.1, 0.0], 0.01, rollout="relifted", input_bounds=(-1, 1)
    )

    def step(u: Array) -> Array:
        oscillator.step(u)
        return oscillator.x

    return mpc, closed_loop(mpc, oscillator.x, step, steps)


def table(title: str, mpc: KoopmanMPC, run: tuple[Array, Array, Array, Array]) -> None:
    """Print the table of one controller."""
    print(f"\n{title}\n")
    head = "step | p50 | p99 | max | iterations p50/max | largest difference | bytes"
    print(f"| {head} |\n{'|---' * 7}|")
    observations, inputs, seconds, iterations = run
    line("Python `act`", seconds, iterations, 0.0, "")
    fast = compiled(mpc)
    assert isinstance(fast, CompiledMPC)
    same, times = replayed(fast, observations)
    line("`compiled` from Python", times, None, float(np.abs(same - inputs).max()), "")
    for build in BUILDS:
        rows, flash, ram = in_c(mpc, build, observations)
        off = float(np.abs(rows[:, 2:] - inputs).max())
        line(f"C, {build}", rows[:, 0], rows[:, 1], off, f"{flash:,} flash, {ram:,} RAM")


if __name__ == "__main__":
    typer.run(main)
