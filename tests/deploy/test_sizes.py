"""How large exported code is, what a step takes at worst, and packages made of it."""

import importlib
import json
import shutil
import subprocess
import sys
import zipfile
from pathlib import Path

import numpy as np
import pytest
from typer.testing import CliRunner

from koopman_control.cli import app
from koopman_control.deploy import CompiledMPC, build_wheel, closed_loop_loss, export_c
from koopman_control.deploy.certification import deepest
from koopman_control.deploy.compression import columns_of, low_rank, met_states, rows_along
from koopman_control.evaluation import evaluate
from koopman_control.features import PolynomialFeatures
from koopman_control.identification import EDMDc
from koopman_control.mpc import KoopmanMPC
from koopman_control.trajectories import collect
from tests.deploy.compilers import gcc, needs_gcc, run
from tests.deploy.kinds import KINDS, bounded, controller, model


def constants_of(folder: Path) -> int:
    told = (folder / "koopman_mpc.h").read_text().split("Constants take ")[1]
    return int(told.split()[0].replace(",", ""))


def test_few_combinations_of_met_states_tell_what_many_do() -> None:
    rng = np.random.default_rng(0)
    samples = rng.normal(size=(500, 3)) @ rng.normal(size=(3, 40))  # of a three-dimensional room
    M = rng.normal(size=(30, 40))
    factors = low_rank(M, np.ones(30), samples, 1e-9)
    assert factors is not None
    left, right = factors
    assert left.shape == (30, 3)
    np.testing.assert_allclose(samples @ (left @ right).T, samples @ M.T, atol=1e-10)
    assert low_rank(M, np.ones(30), rng.normal(size=(500, 40)), 1e-9) is None


def test_ranks_do_not_depend_on_units() -> None:
    rng = np.random.default_rng(1)
    samples = rng.normal(size=(500, 40)) * 0.3 ** np.arange(40)
    M, unit = rng.normal(size=(60, 40)), 10.0 ** rng.uniform(-6.0, 6.0, 60)
    own, other = (
        low_rank(M * scale[:, None], 1.0 / scale, samples, 1e-5) for scale in (np.ones(60), unit)
    )
    assert own is not None and other is not None
    np.testing.assert_allclose(other[0] / unit[:, None], own[0], atol=1e-9)


def test_met_states_are_lifted_ones() -> None:
    Z = met_states(model())
    assert Z.shape[1] == model().n_lifted
    np.testing.assert_allclose(Z[:, 0], 1.0, atol=1e-6)  # the constant


def test_zeros_before_a_rows_first_entry_are_not_stored() -> None:
    rng, n = np.random.default_rng(2), 5
    M = np.vstack([np.triu(rng.normal(size=(n, n))), np.zeros((1, n)), rng.normal(size=(3, n))])
    order, entries, first = columns_of(M)
    whole = np.zeros_like(M)
    for j, column in enumerate(np.split(entries, first[1:-1])):
        whole[: len(column), j] = column
    np.testing.assert_array_equal(whole, M[order])
    assert sorted(order) == list(range(len(M)))
    lengths = np.diff(first)
    assert np.all(np.diff(lengths) >= 0) and lengths[0] == lengths[1] < lengths[-1] == 8


def test_columns_along_rows_are_found_with_their_factors() -> None:
    rng = np.random.default_rng(3)
    G = rng.normal(size=(12, 4))
    G /= np.linalg.norm(G, axis=1)[:, None]
    rows, gains = np.array([7, 0, 7, 11]), np.array([1e6, -2.0, 0.0, 1e-6])
    found = rows_along(G, G[rows].T * gains)
    assert found is not None
    np.testing.assert_allclose(found[1], gains, rtol=1e-12)
    np.testing.assert_array_equal(found[0][gains != 0.0], rows[gains != 0.0])
    assert rows_along(G, rng.normal(size=(4, 2))) is None


@needs_gcc
def test_a_rank_tolerance_saves_memory_at_a_price_that_is_told(tmp_path: Path) -> None:
    own = bounded("single", reference=[0.3, -3.0, 0.0])
    sizes, losses = [], []
    for tolerance in (0.0, 1e-2, 0.3):
        export_c(own, tmp_path, "float", rank_tolerance=tolerance)
        sizes.append(constants_of(tmp_path))
        losses.append(abs(closed_loop_loss(own, CompiledMPC(tmp_path))))
    assert sizes[0] > sizes[1] > sizes[2]
    assert losses[0] < 1e-3 and losses[0] < losses[2]
    with pytest.raises(ValueError, match="rank_tolerance is -1"):
        export_c(own, tmp_path, rank_tolerance=-1.0)


def test_a_controller_too_large_for_the_flash_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=r"flash is 3,000 bytes, but .* takes about [\d,]+: "):
        export_c(KINDS["tanh features"](), tmp_path, "float", flash=3000)
    assert not list(tmp_path.iterdir())
    export_c(KINDS["tanh features"](), tmp_path, "float", flash=32_000)


@needs_gcc
def test_a_smaller_working_set_is_the_users_choice(tmp_path: Path) -> None:
    export_c(KINDS["soft bounds"](), tmp_path)
    command = "-DKOOPMAN_MPC_MOST_ACTIVE=40", "check.c", "koopman_mpc.c", "-o", "check", "-lm"
    gcc(tmp_path, *command)
    assert "0 wrong rungs" in run(tmp_path / "check")


@needs_gcc
def test_the_machine_s_own_compiler_measures_where_there_is_none_for_the_target(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    which = shutil.which
    monkeypatch.setattr(shutil, "which", lambda name: None if "arm" in name else which(name))
    export_c(KINDS["hard bounds"](), tmp_path, certify=True)
    assert "cc -O2: " in (tmp_path / "koopman_mpc.h").read_text()


@needs_gcc
@pytest.mark.parametrize(
    "kind", ["hard bounds", pytest.param("re-lifted, bounds", marks=pytest.mark.slow)]
)
def test_the_worst_case_is_told_in_the_header(kind: str, tmp_path: Path) -> None:
    own = KINDS[kind]()
    export_c(own, tmp_path, certify=True)
    header = (tmp_path / "koopman_mpc.h").read_text()
    told = json.loads((tmp_path / "koopman_mpc.json").read_text())["certificate"]
    for word in ("Proven:", "Counted:", "Measured by", "Sampled, not proven:", "Estimated"):
        assert word in told and word in header
    most = int(told.split("not proven: at most ")[1].split()[0].replace(",", ""))
    fast, rng, seen = CompiledMPC(tmp_path), np.random.default_rng(7), 0
    for _ in range(100):
        fast.reset()
        fast.act(rng.normal(size=3))
        assert fast.last is not None
        seen = max(seen, fast.last.iterations)
    assert 1 <= seen <= most


def test_stacks_of_calls_add_up() -> None:
    graph = """
node: { title: "a.c:leaf" label: "leaf\\na.c:1:1\\n40 bytes (static)" }
node: { title: "a.c:middle" label: "middle\\na.c:2:1\\n16 bytes (static)" }
node: { title: "x_step" label: "x_step\\na.c:3:1\\n8 bytes (static)" }
edge: { sourcename: "x_step" targetname: "a.c:middle" }
edge: { sourcename: "x_step" targetname: "a.c:leaf" }
edge: { sourcename: "a.c:middle" targetname: "a.c:leaf" }
edge: { sourcename: "a.c:leaf" targetname: "sqrt" }
"""
    assert deepest(graph, "x_step") == 64


@needs_gcc
def test_a_wheel_acts_like_its_controller(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    pytest.importorskip("cffi")
    pytest.importorskip("setuptools")
    runs = collect("Pendulum-v1", n_steps=300, seed=20)
    fit = EDMDc(PolynomialFeatures(2), rollout="linear", angles=[(0, 1)], n_folds=0)
    mpc = KoopmanMPC(fit.set_params(regularization=1e-6).fit(runs).model_, 10, [1.0, 0.1], 0.001)
    wheel = build_wheel(export_c(mpc, tmp_path, name="balancer"), "balancer")
    with zipfile.ZipFile(wheel) as archive:
        archive.extractall(tmp_path / "site")
    monkeypatch.syspath_prepend(tmp_path / "site")
    theirs = importlib.import_module("balancer").Controller()
    seeds = [1000, 1001]
    ours = evaluate(mpc, "Pendulum-v1", seeds=seeds)
    np.testing.assert_allclose(
        evaluate(theirs, "Pendulum-v1", seeds=seeds).returns, ours.returns, rtol=1e-6
    )
    with pytest.raises(ValueError, match="observation has shape"):
        theirs.act([1.0])


@needs_gcc
def test_parameters_and_targets_reach_a_wheel(tmp_path: Path) -> None:
    pytest.importorskip("cffi")
    own = controller(model(), horizon=4, reference=lambda y: [0.1, 0.0, 0.0]).constrain(
        lambda y, u, p: [u[:, 0] <= p.top], top=0.7
    )
    with zipfile.ZipFile(build_wheel(export_c(own, tmp_path, name="limited"), "limited")) as wheel:
        wheel.extractall(tmp_path / "site")
    script = """
import limited
c = limited.Controller(reference=lambda y: [0.1, 0.0, 0.0])
c.parameters["top"][...] = -0.3
c.reset()
print(c.act([1.0, 0.5, -0.2])[0], c.last.rung)
"""
    done = subprocess.run(
        [sys.executable, "-c", script],
        cwd=tmp_path / "site",
        text=True,
        capture_output=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    u, rung = done.stdout.split()
    own.parameters["top"] = -0.3
    own.reset()
    assert rung == "solved"
    np.testing.assert_allclose(float(u), own.act([1.0, 0.5, -0.2])[0], atol=1e-9)


@needs_gcc
def test_the_command_tells_sizes_and_costs(tmp_path: Path) -> None:
    own = KINDS["first degree features"]()
    own.save(tmp_path / "controller.npz")
    asked = ["export", str(tmp_path / "controller.npz"), "--to", str(tmp_path / "build")]
    done = CliRunner().invoke(app, [*asked, "--precision", "float", "--certify"])
    assert done.exit_code == 0, done.output
    assert "Closed-loop cost" in done.output and "Proven: at most" in done.output
    done = CliRunner().invoke(app, [*asked, "--flash", "1000"])
    assert done.exit_code == 1 and "flash is 1,000 bytes" in done.output
