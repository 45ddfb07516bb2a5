"""What importing costs, and that it works where nothing can be written."""

import os
import re
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


@pytest.mark.slow
def test_compiled_loops_of_an_older_version_are_made_anew(tmp_path: Path) -> None:
    for package in (koopman_control, koopman_envs):
        source = Path(next(iter(package.__path__)))
        ignore = shutil.ignore_patterns("__pycache__")
        shutil.copytree(source, tmp_path / source.name, ignore=ignore)
    program = (
        "import numpy as np; from koopman_control import EDMDc, SampledFeatures, collect; "
        "m = EDMDc(SampledFeatures(5, random_state=0), n_folds=0, regularization=1e-9).fit("
        "collect('Pendulum-v1', n_steps=50, seed=0)).model_; "
        "from koopman_control.identification import compiled_roll_out as c; "
        "print(c(m.one_step).predicted(np.ones(3), np.zeros((1, 2, 1))).ravel()[-1])"
    )
    run = [sys.executable, "-c", program]
    here = {"cwd": tmp_path, "env": {**os.environ, "PYTHONPATH": str(tmp_path)}}
    before = subprocess.run(run, check=True, capture_output=True, text=True, **here)  # type: ignore[call-overload]
    for path in (tmp_path / "koopman_control").rglob("*.py"):  # another version of the package
        path.write_text(re.sub(r"\bRegulator\b", "Feedback", path.read_text()))
    for path in (tmp_path / "koopman_control").rglob("*.pyi"):
        path.write_text(re.sub(r"\bRegulator\b", "Feedback", path.read_text()))
    after = subprocess.run(run, check=True, capture_output=True, text=True, **here)  # type: ignore[call-overload]
    assert after.stdout == before.stdout
