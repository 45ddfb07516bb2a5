"""What importing costs, and that it works where nothing can be written."""

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

import koopman_control
import koopman_envs

HEAVY = ("cvxpy", "sklearn", "scipy", "matplotlib", "gymnasium", "numba", "pandas", "numpy")


@pytest.mark.parametrize(
    ("program", "allowed"),
    [
        ("import koopman_control", ()),
        ("import koopman_control.common", ("numpy",)),
        ("from koopman_control.cli import app; app(['--help'], standalone_mode=False)", ("numpy",)),
        ("from koopman_control.cli import app; app(['tasks'], standalone_mode=False)", ("numpy",)),
    ],
)
def test_nothing_heavy_is_imported_before_it_is_used(
    program: str, allowed: tuple[str, ...]
) -> None:
    found = f"{program}\nimport sys; print(*sorted({set(HEAVY)} & set(sys.modules)))"
    run = subprocess.run([sys.executable, "-c", found], capture_output=True, text=True, check=True)
    assert set(run.stdout.splitlines()[-1].split()) <= set(allowed)


def test_common_registers_no_environments() -> None:
    program = (
        "import gymnasium as g, koopman_control.common, koopman_control.common.border; "
        "assert not [name for name in g.registry if name.startswith('koopman_envs')]"
    )
    subprocess.run([sys.executable, "-c", program], check=True)


def test_every_exported_name_is_there() -> None:
    for name in koopman_control.__all__:
        assert getattr(koopman_control, name) is not None
    with pytest.raises(AttributeError, match="nothing_of_this_name"):
        _ = koopman_control.nothing_of_this_name  # type: ignore[attr-defined]


def test_compiled_loops_work_where_they_cannot_be_kept(tmp_path: Path) -> None:
    for package in (koopman_control, koopman_envs):
        source = Path(next(iter(package.__path__)))
        ignore = shutil.ignore_patterns("__pycache__")
        shutil.copytree(source, tmp_path / source.name, ignore=ignore)
    # A file in the place of the folder: not even root can write there.
    (tmp_path / "koopman_control" / "identification" / "__pycache__").write_text("")
    nowhere = {"HOME": os.devnull, "XDG_CACHE_HOME": os.devnull, "PYTHONPATH": str(tmp_path)}
    program = (
        "import numpy as np, koopman_control; "
        "from koopman_control.identification.kernels import tanh_in_place as tanh; "
        "a = np.array([0.0, 0.5]); tanh(a); assert np.allclose(a, np.tanh([0.0, 0.5])); "
        "print(koopman_control.__file__)"
    )
    run = subprocess.run(
        [sys.executable, "-B", "-c", program],
        env={**os.environ, **nowhere},
        cwd=tmp_path,
        capture_output=True,
        text=True,
    )
    assert run.returncode == 0, run.stderr
    assert run.stdout.strip().startswith(str(tmp_path))
