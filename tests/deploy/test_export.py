"""What is written compiles without a warning, replays itself, and survives whatever comes."""

import json
import os
import shutil
from pathlib import Path

import cvxpy as cp
import numpy as np
import pytest
from typer.testing import CliRunner

from koopman_control.cli import app
from koopman_control.common.files import FileFormatError, FolderNotWritableError
from koopman_control.deploy import (
    CompiledMPC,
    NoCompilerError,
    NotExportableError,
    compiled,
    export_c,
)
from koopman_control.evaluation import evaluate
from koopman_control.features import PolynomialFeatures
from koopman_control.identification import EDMDc, LiftedModel
from koopman_control.mpc import KoopmanMPC, MovingHorizonEstimator, Search
from koopman_control.trajectories import collect
from tests.deploy.compilers import SANITIZED, gcc, needs_gcc, run
from tests.deploy.kinds import KINDS, bilinear, controller, model

DIFFERENT = (
    "bilinear, lifted inputs",
    "functions as targets",
    "known noise",
    "re-lifted, guesses",
    "re-lifted, relu",
    "re-lifted, two inputs and stops",
    "unstable, hard bounds",
)
# All kinds take half an hour: EVERY_KIND=1 pytest -m slow tests/deploy/test_export.py
STORMED = tuple(KINDS) if os.environ.get("EVERY_KIND") else DIFFERENT
VALGRIND = shutil.which("valgrind")
STORM = """
#include "koopman_mpc.h"
#include <math.h>
#include <stdio.h>

static koopman_mpc controller;
static unsigned long long state = 1;

static double uniform(void)
{
    state = state * 6364136223846793005ULL + 1442695040888963407ULL;
    return (double)(state >> 33) / 2147483648.0;
}

int main(void)
{
    static koopman_mpc_real rows[1000];
    koopman_mpc_real observation[KOOPMAN_MPC_OBSERVATIONS], input[KOOPMAN_MPC_INPUTS];
    long step, rungs[4] = {0, 0, 0, 0};
    int i;
    koopman_mpc_reset(&controller, 0);
    for (step = 0; step < STEPS; step++) {
        const double kind = uniform();
        for (i = 0; i < KOOPMAN_MPC_OBSERVATIONS; i++)
            observation[i] = (koopman_mpc_real)(2.0 * uniform() - 1.0);
        i = (int)(uniform() * KOOPMAN_MPC_OBSERVATIONS);
        if (kind < 0.0025)
            observation[i] = NAN;
        else if (kind < 0.005)
            observation[i] = -INFINITY;
        else if (kind < 0.0075)
            observation[i] = (koopman_mpc_real)1e37;
        else if (kind < 0.01)
            observation[i] = (koopman_mpc_real)(1e6 * uniform());
        rungs[koopman_mpc_step(&controller, observation, rows, rows, rows, input)]++;
        for (i = 0; i < KOOPMAN_MPC_INPUTS; i++)
            if (!(input[i] >= (koopman_mpc_real)-1.0 && input[i] <= (koopman_mpc_real)1.0))
                return 1;
    }
    printf("%ld %ld %ld %ld\\n", rungs[0], rungs[1], rungs[2], rungs[3]);
    return 0;
}
"""


@needs_gcc
@pytest.mark.parametrize("precision", ["double", "float"])
@pytest.mark.parametrize(
    "kind", ["hard bounds", "offset-free", "functions as targets", "memory", "re-lifted, guesses"]
)
def test_recorded_steps_are_replayed_under_sanitizers(
    kind: str, precision: str, tmp_path: Path
) -> None:
    export_c(KINDS[kind](), tmp_path, precision=precision)  # type: ignore[arg-type]
    gcc(tmp_path, *SANITIZED, "check.c", "koopman_mpc.c", "-o", "check", "-lm")
    assert "0 wrong rungs" in run(tmp_path / "check")


@needs_gcc
@pytest.mark.parametrize(
    "kind", ["hard bounds", "measured input, delay, Kalman", "re-lifted, hard bounds"]
)
def test_no_observation_leads_out_of_bounds(kind: str, tmp_path: Path) -> None:
    export_c(KINDS[kind](), tmp_path)
    (tmp_path / "storm.c").write_text(STORM)
    gcc(tmp_path, *SANITIZED, "-DSTEPS=20000", "storm.c", "koopman_mpc.c", "-o", "storm", "-lm")
    rungs = [int(count) for count in run(tmp_path / "storm").split()]
    assert sum(rungs) == 20000
    if "hard bounds" in kind:  # an observer remembers an observation of 1e37 for long
        assert rungs[0] + rungs[1] > 19000


@needs_gcc
@pytest.mark.slow
@pytest.mark.parametrize("kind", STORMED)
def test_no_observation_leads_any_kind_out_of_bounds(kind: str, tmp_path: Path) -> None:
    export_c(KINDS[kind](), tmp_path)
    (tmp_path / "storm.c").write_text(STORM)
    gcc(tmp_path, *SANITIZED, "-DSTEPS=13000", "storm.c", "koopman_mpc.c", "-o", "storm", "-lm")
    assert sum(map(int, run(tmp_path / "storm").split())) == 13000  # a million of all kinds


@needs_gcc
@pytest.mark.slow
@pytest.mark.skipif(not VALGRIND, reason="needs apt install valgrind")
@pytest.mark.parametrize("kind", STORMED)
def test_no_kind_reads_what_nobody_wrote(kind: str, tmp_path: Path) -> None:
    export_c(KINDS[kind](), tmp_path)
    (tmp_path / "storm.c").write_text(STORM)
    files = "storm.c", "koopman_mpc.c", "-o", "storm", "-lm"
    gcc(tmp_path, "-O1", "-g", "-DSTEPS=500", *files)
    checks = "-q", "--error-exitcode=9", "--track-origins=yes"
    assert sum(map(int, run(Path(str(VALGRIND)), *checks, str(tmp_path / "storm")).split())) == 500


@needs_gcc
@pytest.mark.parametrize("kind", DIFFERENT)
def test_code_compiles_without_a_warning(kind: str, tmp_path: Path) -> None:
    compile_all(kind, tmp_path)


@needs_gcc
@pytest.mark.slow
@pytest.mark.parametrize("kind", sorted(set(KINDS) - set(DIFFERENT)))
def test_code_of_every_kind_compiles_without_a_warning(kind: str, tmp_path: Path) -> None:
    compile_all(kind, tmp_path)


def compile_all(kind: str, tmp_path: Path) -> None:
    export_c(KINDS[kind](), tmp_path, precision="float", name="small")
    for file in ("small.c", "check.c", "main.c", "main_linux.c"):
        gcc(tmp_path, "-c", file, "-o", "unused.o")


@needs_gcc
def test_the_code_needs_nothing_but_mathematics(tmp_path: Path) -> None:
    import subprocess

    export_c(KINDS["offset-free"](), tmp_path)
    gcc(tmp_path, "-O2", "-fno-pie", "-c", "koopman_mpc.c")  # constants with places stay constants
    needed = subprocess.check_output(["nm", "-u", "koopman_mpc.o"], cwd=tmp_path, text=True)
    names = {line.split()[-1] for line in needed.splitlines()}
    assert names <= {"sqrt", "memcpy", "memset", "memmove", "__stack_chk_fail"} | {
        "_GLOBAL_OFFSET_TABLE_"
    }
    kinds = subprocess.check_output(["nm", "koopman_mpc.o"], cwd=tmp_path, text=True)
    assert not [line for line in kinds.splitlines() if line.split()[-2] in "BbDdC"]  # no globals


@needs_gcc
def test_several_controllers_live_in_one_program(tmp_path: Path) -> None:
    export_c(KINDS["tanh features"](), tmp_path, name="first")
    export_c(KINDS["Kalman"](), tmp_path, name="second")
    (tmp_path / "both.c").write_text(
        """
#include "first.h"
#include "second.h"
static first a, b;
static second c;
int main(void)
{
    const double y[3] = {0.5, 0.2, -0.1}, other[3] = {-0.5, 0.1, 0.3};
    double u[2], v[2], w[2];
    first_reset(&a, 0);
    first_reset(&b, 0);
    second_reset(&c, 0);
    first_step(&a, other, 0, 0, 0, u);
    first_step(&b, y, 0, 0, 0, u);
    second_step(&c, y, 0, 0, 0, w);
    first_reset(&a, 0);
    first_step(&a, y, 0, 0, 0, v);
    return u[0] != v[0] || u[1] != v[1];
}
"""
    )
    gcc(tmp_path, "both.c", "first.c", "second.c", "-o", "both", "-lm")
    run(tmp_path / "both")


@needs_gcc
def test_an_export_is_judged_like_any_controller(tmp_path: Path) -> None:
    runs = collect("Pendulum-v1", n_steps=300, seed=20)
    fit = EDMDc(PolynomialFeatures(2), rollout="linear", angles=[(0, 1)], n_folds=0)
    fitted = fit.set_params(regularization=1e-6).fit(runs).model_
    mpc = KoopmanMPC(fitted, 10, [1.0, 0.1], 0.001)
    export_c(mpc, tmp_path)
    ours, theirs = (
        evaluate(one, "Pendulum-v1", seeds=[1000, 1001]) for one in (CompiledMPC(tmp_path), mpc)
    )
    np.testing.assert_allclose(ours.returns, theirs.returns, rtol=1e-6)
    assert ours.rungs == theirs.rungs


def test_a_changed_or_missing_export_is_refused(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError, match="export_c"):
        CompiledMPC(tmp_path)
    export_c(KINDS["free"](), tmp_path)
    source = tmp_path / "koopman_mpc.c"
    source.write_text(source.read_text() + "\n")
    with pytest.raises(FileFormatError, match="was changed"):
        CompiledMPC(tmp_path)
    told = json.loads((tmp_path / "koopman_mpc.json").read_text())
    (tmp_path / "koopman_mpc.json").write_text(json.dumps({**told, "format": 99}))
    with pytest.raises(FileFormatError, match="format 99"):
        CompiledMPC(tmp_path)
    (tmp_path / "koopman_mpc.json").write_text("{}")
    with pytest.raises(FileFormatError, match="no export"):
        CompiledMPC(tmp_path)


@needs_gcc
def test_functions_as_targets_are_asked_for(tmp_path: Path) -> None:
    export_c(KINDS["functions as targets"](), tmp_path)
    with pytest.raises(ValueError, match="reference is None; expected a function"):
        CompiledMPC(tmp_path)
    export_c(KINDS["free"](), tmp_path, name="other")
    with pytest.raises(ValueError, match="expected None"):
        CompiledMPC(tmp_path, "other", reference=lambda y: [0.0, 0.0, 0.0])


@needs_gcc
def test_a_function_that_fails_lets_the_controller_continue_its_plan() -> None:
    def picky(y: np.ndarray) -> list[float]:
        if y[0] > 1.0:
            raise RuntimeError("too far")
        return [0.1, 0.0, 0.0]

    fast = compiled(controller(model(), reference=picky))
    assert isinstance(fast, CompiledMPC)
    rungs = []
    for level in (0.0, 2.0, 0.0):
        fast.act([level, 0.0, 0.0])
        assert fast.last is not None
        rungs.append(fast.last.rung)
    assert rungs == ["solved", "shifted", "solved"]


def test_what_has_no_code_is_named(tmp_path: Path) -> None:
    with pytest.raises(NotExportableError, match="deadline is 500"):
        export_c(controller(model(), search=Search(deadline=500.0)), tmp_path)
    with pytest.raises(NotExportableError, match="MovingHorizon"):
        export_c(controller(model(), estimator=MovingHorizonEstimator(0.1)), tmp_path)
    with pytest.raises(NotExportableError, match=r"RadialFeatures.* has no C code where"):
        export_c(controller(bilinear("gaussian"), rollout="bilinear"), tmp_path)
    with pytest.raises(NotExportableError, match="2 models"):
        export_c(KoopmanMPC([model(), model()], 3, R=0.1), tmp_path)
    with pytest.warns(UserWarning, match="through CVXPY"):
        conic = controller(model()).penalize(lambda y, u, p: cp.norm(u[0]))  # type: ignore[attr-defined]
    with pytest.raises(NotExportableError, match="no quadratic program"):
        export_c(conic, tmp_path)
    with pytest.raises(NotExportableError, match="variables beside the inputs"):
        export_c(
            controller(model()).penalize(
                lambda y, u, p: cp.abs(u[0, 0])  # type: ignore[attr-defined]
            ),
            tmp_path,
        )
    with pytest.raises(NotExportableError, match="price"):
        export_c(KoopmanMPC(model(), 3, [1.0, 0.0, 0.0]), tmp_path)
    foreign = LiftedModel.from_arrays(0.5 * np.eye(2), np.ones((2, 1)), lift=np.sin, C=np.eye(2))
    with pytest.raises(NotExportableError, match="GivenLift"):
        export_c(KoopmanMPC(foreign, 3, R=0.1), tmp_path)
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("name", ["", "2nd", "a-b", "while", "ä", "x" * 40])
def test_names_are_c_identifiers(name: str, tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="C identifier"):
        export_c(KINDS["free"](), tmp_path, name=name)


def test_a_folder_that_cannot_be_made_is_said(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(FolderNotWritableError):
        export_c(KINDS["free"](), tmp_path / "file" / "build")


def test_without_a_compiler_the_controller_stays_in_python(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv("PATH", "")
    monkeypatch.delenv("CC", raising=False)
    mpc = controller(model("relu"), horizon=3)
    with pytest.warns(UserWarning, match="no C compiler.*stays in Python"):
        assert compiled(mpc) is mpc
    export_c(mpc, tmp_path)
    with pytest.raises(NoCompilerError, match="apt install gcc"):
        CompiledMPC(tmp_path)


@needs_gcc
def test_a_compiler_that_fails_is_said(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    broken = tmp_path / "cc"
    broken.write_text("#!/bin/sh\necho disk full >&2\nexit 1\n")
    broken.chmod(0o755)
    monkeypatch.setenv("CC", str(broken))
    export_c(controller(model("sine"), horizon=3), tmp_path / "build")
    with pytest.raises(NoCompilerError, match="disk full"):
        CompiledMPC(tmp_path / "build")


@needs_gcc
def test_a_saved_controller_is_exported_from_the_command_line(tmp_path: Path) -> None:
    mpc = KINDS["tanh features"]()
    mpc.save(tmp_path / "controller.npz")
    asked = ["export", str(tmp_path / "controller.npz"), "--to", str(tmp_path / "build")]
    done = CliRunner().invoke(app, [*asked, "--precision", "float", "--name", "robot"])
    assert done.exit_code == 0, done.output
    assert "robot.c" in done.output
    gcc(tmp_path / "build", "check.c", "robot.c", "-o", "check", "-lm")
    run(tmp_path / "build" / "check")
    wrong = CliRunner().invoke(app, [*asked, "--name", "2nd"])
    assert wrong.exit_code == 1 and "C identifier" in wrong.output


@needs_gcc
def test_loops_to_start_from_run(tmp_path: Path) -> None:
    export_c(KINDS["function as target"](), tmp_path)
    gcc(tmp_path, "main.c", "koopman_mpc.c", "-o", "main", "-lm")
    run(tmp_path / "main")
    gcc(tmp_path, "main_linux.c", "koopman_mpc.c", "-o", "main_linux", "-lm")
    assert "3 steps" in run(tmp_path / "main_linux", "3")
