"""Exported controllers on emulated ARM processors; Debian has what is needed (see the reasons)."""

import shutil
import subprocess
from pathlib import Path

import numpy as np
import pytest

from examples.benchmarks.deploy import Plant
from koopman_control.deploy import export_c
from koopman_control.mpc import Bounds, Cost, KoopmanMPC
from tests.deploy.compilers import STRICT
from tests.deploy.kinds import KINDS

LINUX, QEMU = shutil.which("arm-linux-gnueabihf-gcc"), shutil.which("qemu-arm")
BARE = shutil.which("arm-none-eabi-gcc")
CORTEX_M4F = ("-mcpu=cortex-m4", "-mthumb", "-mfpu=fpv4-sp-d16", "-mfloat-abi=hard")


@pytest.mark.skipif(
    not (LINUX and QEMU),
    reason="needs apt install gcc-arm-linux-gnueabihf libc6-dev-armhf-cross qemu-user",
)
@pytest.mark.parametrize("precision", ["double", "float"])
@pytest.mark.parametrize("kind", ["hard bounds", "re-lifted, bounds"])
def test_a_32_bit_processor_gives_the_same_answers(
    kind: str, precision: str, tmp_path: Path
) -> None:
    export_c(KINDS[kind](), tmp_path, precision=precision)  # type: ignore[arg-type]
    files = "check.c", "koopman_mpc.c", "-o", "check", "-lm"
    subprocess.run([str(LINUX), *STRICT, "-O2", "-static", *files], cwd=tmp_path, check=True)
    done = subprocess.run(
        [str(QEMU), "./check"], cwd=tmp_path, text=True, capture_output=True, check=False
    )
    assert done.returncode == 0, done.stdout


@pytest.mark.skipif(not BARE, reason="needs apt install gcc-arm-none-eabi libnewlib-arm-none-eabi")
@pytest.mark.parametrize("kind", ["hard bounds", "re-lifted, bounds"])
def test_a_microcontroller_needs_no_allocator_and_no_double_precision(
    kind: str, tmp_path: Path
) -> None:
    export_c(KINDS[kind](), tmp_path, precision="float")
    command = [str(BARE), *STRICT, *CORTEX_M4F, "-O2", "-c", "koopman_mpc.c"]
    subprocess.run(command, cwd=tmp_path, check=True)
    needed = subprocess.check_output(
        ["arm-none-eabi-nm", "-u", "koopman_mpc.o"], cwd=tmp_path, text=True
    )
    names = {line.split()[-1] for line in needed.splitlines()}
    assert names <= {"sqrtf", "memcpy", "memset", "memmove"}


@pytest.mark.skipif(not BARE, reason="needs apt install gcc-arm-none-eabi libnewlib-arm-none-eabi")
def test_two_hundred_features_and_ninety_soft_rows_fit_a_microcontroller(tmp_path: Path) -> None:
    plant = Plant(200, 1, 3, 30, steps=40)  # a random one: no low rank helps
    side = 0.9 * np.abs(plant.targets).max(axis=0)
    bounds = Bounds(rates=0.3, slack_weight=(10.0, 5.0))
    mpc = KoopmanMPC(
        plant.model, 30, 1.0, 0.01, cost=Cost(S=0.1), output_bounds=(-side, side), bounds=bounds
    )
    export_c(mpc, tmp_path, precision="float")
    (tmp_path / "state.c").write_text('#include "koopman_mpc.h"\nkoopman_mpc controller;\n')
    command = [str(BARE), *STRICT, *CORTEX_M4F, "-O2", "-c", "koopman_mpc.c", "state.c"]
    subprocess.run(command, cwd=tmp_path, check=True)
    sizes = ["arm-none-eabi-size", "koopman_mpc.o", "state.o"]
    told = subprocess.check_output(sizes, cwd=tmp_path, text=True)
    code, state = (line.split() for line in told.splitlines()[1:])
    assert int(code[0]) + int(code[1]) <= 100_000
    assert int(state[2]) <= 32 * 1024
