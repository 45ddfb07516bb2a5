"""Packages that only some functions need are missed with the command that installs them."""

import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]  # where `examples` is found
# A None in sys.modules would be shorter, but SciPy takes any entry "torch" for the package.
MISSING = """
import sys
class Missing:
    def find_spec(name, path=None, target=None):
        if name == {!r}:
            raise ImportError(name)
sys.meta_path.insert(0, Missing)
"""
MODEL = "import koopman_control as k; m = k.LiftedModel.from_arrays([[0.5]], [[1.0]]); "
TRAIN = "from koopman_control.benchmark import SUBJECTS as s; "

NEEDS = [
    (
        "control",
        "interop",
        MODEL + "from koopman_control.identification import to_control; to_control(m)",
    ),
    (
        "onnx",
        "interop",
        MODEL + "from koopman_control.identification import to_onnx; to_onnx(m, 'm.onnx')",
    ),
    (
        "numba",
        "fast",
        "from koopman_control.common import optional_package as o; o('numba', 'fast')",
    ),
    (
        "pandas",
        "forecast",
        "from koopman_control.cli import app; "
        "app(['forecast', 'a.csv', '--target', 'y', '--horizon', '3'])",
    ),
    (
        "pygame",
        "render",
        "import gymnasium as g, koopman_envs; "
        "e = g.make('koopman_envs/Duffing-v0', render_mode='rgb_array'); e.reset(); e.render()",
    ),
    (
        "distributed",
        "cluster",
        "from koopman_control.cli import app; "
        "app(['benchmark', 'Pendulum', '--subjects', 'zero', '--cluster', 'local'])",
    ),
    ("optuna", "tuning", "from koopman_control.cli import app; app(['tune', 'Pendulum'])"),
    ("casadi", "benchmarks", "import examples.references.multiple_shooting"),
    (
        "torch",
        "paper",
        "from examples.paper.common.lstm import descended as d; d([], int, int, 0.1, 1.0)",
    ),
    ("piqp", "solvers", "from koopman_control.mpc.solvers import make_solver; make_solver('piqp')"),
    ("sb3_contrib", "rl", TRAIN + "s['tqc'].require()"),
    ("stable_baselines3", "rl", TRAIN + "s['sac'].require()"),
]


@pytest.mark.parametrize(("package", "extra", "use"), NEEDS, ids=[need[0] for need in NEEDS])
def test_a_missing_package_is_named_with_the_command_that_installs_it(
    package: str, extra: str, use: str
) -> None:
    run = [sys.executable, "-c", MISSING.format(package) + use]
    ended = subprocess.run(run, capture_output=True, text=True, cwd=ROOT)
    assert ended.returncode != 0
    said = ended.stderr.strip().splitlines()[-1]
    assert package in said
    assert f"pip install 'koopman-control[{extra}]'" in said


def test_the_package_itself_needs_none_of_them() -> None:
    blocked = [
        *("box2d", "casadi", "control", "deeptime", "minari", "mujoco", "numba", "onnx", "optuna"),
        *(
            "dask",
            "distributed",
            "pandas",
            "piqp",
            "pygame",
            "pykoop",
            "reservoirpy",
            "stable_baselines3",
        ),
    ]
    program = (
        f"import sys; sys.modules.update(dict.fromkeys({blocked})); import koopman_control as k; "
        "import koopman_control.benchmark, koopman_control.cli; "
        "k.collect('koopman_envs/VanDerPol-v0', n_steps=3)"
    )
    subprocess.run([sys.executable, "-c", program], check=True)
