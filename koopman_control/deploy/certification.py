"""What a step of exported code takes at worst: what is proven of it, and what was only sampled."""

from __future__ import annotations

import re
import shutil
import subprocess
import tempfile
import textwrap
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from koopman_control.common.arrays import Array
from koopman_control.deploy.building import NoCompilerError, compiler
from koopman_control.deploy.compiled import CompiledMPC
from koopman_control.deploy.rehearsal import observed
from koopman_control.deploy.sources import Facts
from koopman_control.mpc import KoopmanMPC
from koopman_control.mpc.estimation.base import state_mean, state_scale

STARTS, WALK = 300, 5  # random situations, and steps from each
SEARCHED, TRIES = 5, 60  # worst ones that are searched about, and changes tried of each
WIDTH, CHANGE = 2.0, 0.3  # of situations and changes, in standard deviations of the data
CLOCK = 168e6  # Hz, of an STM32F4
CYCLES = 6.0  # of a Cortex-M4F for a multiplication and addition, with loads and loop
CORTEX_M4F = ("-mcpu=cortex-m4", "-mthumb", "-mfpu=fpv4-sp-d16", "-mfloat-abi=hard")


@dataclass(frozen=True)
class Certificate:
    """What a step takes.

    Args:
        cap: Iterations that the solver never exceeds in a step.
        iterations: The most that sampling and search found; None without a compiler.
        active: The most bounds in a working set that they found.
        steps: Steps taken to find them.
        fixed: Multiplications with additions of a step, but for iterations.
        each: Those of an iteration with `active` bounds.
        most: Those of an iteration with the largest working set there is room for, beside new
            factorisations.
        constants: Bytes of constants, each of which a step reads about once.
        stack: Bytes of the deepest calls; None where the compiler does not tell.
        sizes: Bytes of code and constants, and of the struct; None without a compiler.
        target: What compiled for the last two.
    """

    cap: int
    iterations: int | None
    active: int | None
    steps: int
    fixed: int
    each: int
    most: int
    constants: int
    stack: int | None
    sizes: tuple[int, int] | None
    target: str

    def __str__(self) -> str:
        """Write a paragraph for each kind of knowledge, what is proven first."""
        told = [
            "Worst case of a step.",
            f"Proven: at most {self.cap:,} iterations of the solver (a plan that is not finished "
            f"by then is not applied), {self.constants:,} bytes of constants, nothing allocated, "
            "no recursion.",
            f"Counted: {self.fixed:,} multiply-adds, and at most {self.most:,} an iteration beside "
            "new factorisations.",
        ]
        if self.stack is not None and self.sizes is not None:
            told.append(
                f"Measured by {self.target}: {self.sizes[0]:,} bytes of flash, {self.sizes[1]:,} "
                f"of the struct, {self.stack:,} of stack without the library's functions."
            )
        else:
            told.append("Not measured, for lack of gcc: flash, RAM and stack.")
        if self.iterations is None:
            told.append("Not sampled, for lack of a C compiler: iterations.")
        else:
            work = self.fixed + self.iterations * self.each
            told += [
                f"Sampled, not proven: at most {self.iterations:,} iterations and {self.active} "
                f"active bounds in {self.steps:,} steps, from random states and by a search about "
                "the worst.",
                f"Estimated from that: {work:,} multiply-adds, {1e3 * work * CYCLES / CLOCK:.1f} "
                f"ms at {CLOCK / 1e6:.0f} MHz and {CYCLES:.0f} cycles for each; measure it on the "
                "target.",
            ]
        return "\n".join(textwrap.fill(one, 96, subsequent_indent="  ") for one in told)


def certified(
    mpc: KoopmanMPC, facts: Facts, sources: Mapping[str, str], context: Mapping[str, Any]
) -> Certificate:
    """Count, compile and search.

    Args:
        mpc: The controller.
        facts: Its facts.
        sources: Texts of its C files.
        context: What these were made of.
    """
    found: tuple[int | None, int | None, int] = None, None, 0
    try:
        found = _worst(mpc, CompiledMPC._from_sources(facts, sources, mpc))
    except NoCompilerError:
        pass
    fixed = _fixed(context)
    active = found[1] if found[1] is not None else context["most_active"]
    stack, sizes, target = _measured(facts.name, sources)
    programs = len(context["programs"]) if mpc.rollout == "linear" else _programs_solved(context)
    return Certificate(
        cap=2 * context["most_iterations"] * programs,
        iterations=found[0],
        active=found[1],
        steps=found[2],
        fixed=fixed,
        each=_iteration(context, active),
        most=_iteration(context, context["most_active"]),
        constants=context["flash"],
        stack=stack,
        sizes=sizes,
        target=target,
    )


def _iteration(context: Mapping[str, Any], active: int) -> int:
    """Multiply-adds of an iteration: all rows, a row that enters, two solutions with the factor."""
    r, n = context["most_rows"], context["most_n"]
    return int(r * n + 2 * active * n + 3 * active * active)


def _programs_solved(context: Mapping[str, Any]) -> int:
    rounds = max(sum(context["first_rounds"]), sum(context["later_rounds"]))
    return int(rounds * context["n_programs"])


def _fixed(context: Mapping[str, Any]) -> int:
    """Multiply-adds of a step but for iterations."""
    n_z, work = context["n_lifted"], 0
    if context["estimator"] == "filter":
        work += n_z * (n_z + context["m"] + 2 * context["n_present"])
    step = 0
    if context["steps_forward"]:
        d, q, maps = context["d"], context["q"], context["feature_maps"]
        step = sum(one["n_neurons"] * one["n_in"] + one["n_monomials"] for one in maps)
        step += context["n_values"] * d * (1 + q)
        slopes = step + d * (context["n_values"] * (1 + q) + maps[0]["n_neurons"] * maps[0]["n_in"])
        if context["estimator"] == "extended":
            k = context["n_uncertain"]
            work += slopes + 6 * k**3
    if context["rollout"] == "linear":
        others = context["n_known"] - n_z
        work += n_z * (context["n_embedded"] + 1)
        for one in context["programs"]:
            rank, y = one["rank"], one["n_predicted"]
            work += rank * (n_z + y) if rank else n_z * y
            work += one["n"] * (one["n_counting"] + others + one["n_rows"])
        return int(work)
    N, c, n, r = (context[key] for key in ("horizon", "n_inputs", "most_n", "most_rows"))
    d = context["d"]
    if context["rollout"] == "bilinear":
        step = n_z * n_z * (1 + q)
        slopes = n_z * n_z * (1 + q + n)
    else:
        slopes += d * d * n
    trial = N * (step + 3 * d + c)
    program = N * slopes + N * d * n * n // 2 + n**3 // 6 + r * n * n // 2
    rounds = _programs_solved(context)
    guesses = context["most_guesses"] * context["n_programs"]
    return int(work + guesses * trial + rounds * (program + len(context["step_lengths"]) * trial))


def _worst(mpc: KoopmanMPC, fast: CompiledMPC) -> tuple[int, int, int]:
    """Find states from which the solver takes long; returns iterations, active bounds, steps."""
    rng, model = np.random.default_rng(0), mpc.model
    mean, unit, p = state_mean(model), state_scale(model), model.coordinates.n_outputs
    low, high = np.clip(mpc._weights.input_bounds[:, 0], -1e6, 1e6)
    steps, most_active = 0, 0

    def tried(x: Array, previous: Array) -> int:
        nonlocal steps, most_active
        fast.reset(previous)
        most, at = 0, x
        for _ in range(WALK):
            u = fast.act(observed(model, at))
            assert fast.last is not None
            steps += 1
            most, most_active = max(most, fast.last.iterations), max(most_active, fast.active)
            full = np.zeros(model.n_inputs)
            full[mpc._layout.controlled] = u
            moved = model.rolled_out(at, full[None, None], mpc.rollout)[0, 0]
            if not np.isfinite(moved).all():
                break
            at = np.clip(moved, mean - 1e3 * unit, mean + 1e3 * unit)
        return most

    found = []
    for _ in range(STARTS):
        x = mean.copy()
        x[:p] += WIDTH * unit[:p] * rng.normal(size=p)
        previous = rng.uniform(low, high)
        found.append((tried(x, previous), x, previous))
    found.sort(key=lambda one: -one[0])
    worst = found[0][0]
    for most, x, previous in found[:SEARCHED]:
        for _ in range(TRIES):
            near = x.copy()
            near[:p] += CHANGE * unit[:p] * rng.normal(size=p)
            other = np.clip(previous + CHANGE * (high - low) * rng.normal(size=len(low)), low, high)
            count = tried(near, other)
            if count >= most:
                most, x, previous = count, near, other
        worst = max(worst, most)
    return worst, most_active, steps


def _measured(
    name: str, sources: Mapping[str, str]
) -> tuple[int | None, tuple[int, int] | None, str]:
    """Compile for a Cortex-M4F, or for this machine: stack, flash and RAM, and by what."""
    path, flags = shutil.which("arm-none-eabi-gcc"), [*CORTEX_M4F, "-O2"]
    size = shutil.which("arm-none-eabi-size")
    if path is None or size is None:
        try:
            path, size, flags = compiler(), shutil.which("size"), ["-O2"]
        except NoCompilerError:
            return None, None, ""
    version = subprocess.check_output([path, "--version"], text=True)
    if size is None or "Free Software Foundation" not in version:  # gcc, whatever name it goes by
        return None, None, ""
    with tempfile.TemporaryDirectory(prefix="koopman-control-") as folder:
        for file, text in sources.items():
            Path(folder, file).write_text(text, encoding="utf-8")
        Path(folder, "struct.c").write_text(f'#include "{name}.h"\n{name} controller;\n')
        command = [path, "-std=c99", *flags, "-fcallgraph-info=su", "-c", f"{name}.c", "struct.c"]
        done = subprocess.run(command, cwd=folder, capture_output=True, check=False)
        if done.returncode:
            return None, None, ""
        told = subprocess.check_output([size, f"{name}.o", "struct.o"], cwd=folder, text=True)
        _, code, struct = (line.split() for line in told.splitlines())
        graph = Path(folder, f"{name}.ci").read_text(encoding="utf-8")
    flash, ram = int(code[0]) + int(code[1]), int(struct[1]) + int(struct[2])
    return deepest(graph, f"{name}_step"), (flash, ram), f"{Path(path).name} {' '.join(flags)}"


def deepest(graph: str, function: str) -> int:
    """Return the bytes of stack below a function, from gcc's `-fcallgraph-info=su`.

    Functions of the mathematical library, of which it does not tell, count as none.
    """
    sizes = {
        name: int(size)
        for name, size in re.findall(r'node: \{ title: "([^"]+)" label: "[^"]*?(\d+) bytes', graph)
    }
    calls: dict[str, set[str]] = {}
    for caller, callee in re.findall(
        r'edge: \{ sourcename: "([^"]+)" targetname: "([^"]+)"', graph
    ):
        calls.setdefault(caller, set()).add(callee)

    def below(name: str) -> int:
        return sizes.get(name, 0) + max((below(one) for one in calls.get(name, ())), default=0)

    title = next(name for name in sizes if name.split(":")[-1] == function)
    return below(title)
