"""Solvers tell what they can do, take options, and come from other packages, too."""

import math
import pickle
import subprocess
import sys
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
import pytest

from koopman_control import KoopmanMPC, LiftedModel, Search
from koopman_control.mpc import SolverSettings, available_solvers, register_solver
from koopman_control.mpc.solvers import (
    DaqpSolver,
    DenseQP,
    Solution,
    SolverBase,
    base,
    make_solver,
    solver_kind,
)


def model() -> LiftedModel:
    return LiftedModel.from_arrays([[0.9]], [[1.0]], action_bounds=[[-1.0], [1.0]])


class Twice(SolverBase):
    """DAQP from scratch, every time."""

    name: ClassVar[str] = "twice"
    keeps_time_limit: ClassVar[bool] = False

    def solve(self, qp: DenseQP, matrices_changed: bool, seconds: float = math.inf) -> Solution:
        return DaqpSolver().solve(qp, matrices_changed)


@pytest.fixture
def known(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(base, "_KINDS", dict(base._KINDS))


@pytest.mark.usefixtures("known")
def test_a_registered_solver_serves_by_its_name() -> None:
    register_solver(Twice)
    register_solver(Twice)  # once is enough, twice does no harm
    assert "twice" in available_solvers()
    own, other = (KoopmanMPC(model(), 5, reference=5.0, solver=name) for name in ("twice", "daqp"))
    np.testing.assert_allclose(own.act([1.0]), other.act([1.0]), atol=1e-9)
    assert own.explain().solver == "twice"
    with pytest.raises(ValueError, match="solver 'twice' knows no time limit"):
        KoopmanMPC(model(), 5, solver="twice", search=Search(deadline=100.0))


@pytest.mark.usefixtures("known")
def test_two_solvers_cannot_have_one_name() -> None:
    register_solver(Twice)

    class Other(Twice):
        """Another one of that name."""

    with pytest.raises(ValueError, match=r"kind has the name 'twice', .* choose another"):
        register_solver(Other)


def test_another_package_brings_a_solver_along(tmp_path: Path) -> None:
    (tmp_path / "foreign.py").write_text(
        "from koopman_control.mpc.solvers import DaqpSolver\n\n\n"
        "class Foreign(DaqpSolver):\n    name = 'foreign'\n"
    )
    metadata = tmp_path / "foreign-1.0.dist-info"
    metadata.mkdir()
    (metadata / "METADATA").write_text("Metadata-Version: 2.1\nName: foreign\nVersion: 1.0\n")
    (metadata / "entry_points.txt").write_text(
        "[koopman_control.solvers]\nforeign = foreign:Foreign\n"
    )
    script = (
        f"import sys; sys.path.insert(0, {str(tmp_path)!r})\n"
        "from koopman_control import KoopmanMPC, LiftedModel\n"
        "from koopman_control.mpc import available_solvers\n"
        "mpc = KoopmanMPC(LiftedModel.from_arrays([[0.9]], [[1.0]]), 3, solver='foreign')\n"
        "mpc.act([1.0])\n"
        "print(mpc.last.rung, 'foreign' in available_solvers())\n"
    )
    run = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    assert run.stdout.split() == ["solved", "True"]


@pytest.mark.parametrize("name", available_solvers())
def test_abilities_are_those_of_the_class(name: str) -> None:
    kind = solver_kind(name)
    assert kind.name == name
    assert 0.0 < kind.accuracy <= 1e-5
    assert kind.keeps_time_limit == (name != "piqp")


def test_what_is_not_installed_is_not_available(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(base, "find_spec", lambda name: None)
    assert "piqp" not in available_solvers()
    assert "daqp" in available_solvers()


OPTIONS: dict[str, dict[str, Any]] = {
    "daqp": {"iter_limit": 1},
    "osqp": {"max_iter": 1},
    "clarabel": {"max_iter": 1},
}


@pytest.mark.parametrize(("name", "options"), OPTIONS.items())
def test_options_reach_the_solver(name: str, options: dict[str, Any]) -> None:
    mpc = KoopmanMPC(model(), 8, reference=5.0, solver=SolverSettings(name, options))
    mpc.act([1.0])
    assert mpc.last is not None
    assert mpc.last.status == "iteration limit"
    copy: Any = pickle.loads(pickle.dumps(make_solver(SolverSettings(name, options), False)))
    assert copy._settings.items() >= options.items()


@pytest.mark.parametrize(
    ("name", "options", "message"),
    [
        ("osqp", {"max_iterations": 5}, r"solver 'osqp' got the options \['max_iterations'\]; exp"),
        ("clarabel", {"max_iter": "few"}, "solver 'clarabel' does not take the options"),
        ("auto", {"max_iter": 5}, "solver 'auto' got the options"),
        ("cvxpy", {"max_iter": 5}, "solver is 'cvxpy'; expected one of"),
    ],
)
def test_options_that_do_not_exist_are_refused(
    name: str, options: dict[str, Any], message: str
) -> None:
    with pytest.raises(ValueError, match=message):
        KoopmanMPC(model(), 3, solver=SolverSettings(name, options))


def test_without_options_a_solver_is_as_it_was() -> None:
    plain: Any = make_solver(SolverSettings("daqp"), equilibrated=False)
    assert plain._settings == DaqpSolver.SETTINGS
