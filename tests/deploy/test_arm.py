"""Exported controllers on emulated ARM processors; Debian has what is needed (see the reasons)."""

import shutil
import subprocess
from pathlib import Path

import pytest

from koopman_control.deploy import export_c
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
