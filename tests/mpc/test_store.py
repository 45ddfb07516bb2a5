"""A controller that is saved and loaded acts as before, to the last bit, whatever it is made of."""

import json
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import cvxpy as cp
import numpy as np
import pytest
from cvxpy.atoms.affine.sum import sum as total
from cvxpy.atoms.elementwise.abs import abs as absolute
from cvxpy.atoms.elementwise.huber import huber
from cvxpy.atoms.norm import norm

from examples.campaigns.hostile_files import packed, signed, unpacked
from koopman_control import (
    Bounds,
    Cost,
    EDMDc,
    Inputs,
    KalmanObserver,
    KoopmanMPC,
    LiftedModel,
    OffsetFree,
    PolynomialFeatures,
    SampledFeatures,
    Search,
    Trajectory,
)
from koopman_control.common.arrays import Array
from koopman_control.common.files import FileFormatError
from koopman_control.identification import bootstrap_models
from koopman_control.mpc import (
    Blocks,
    Knots,
    MovingHorizonEstimator,
    Observed,
    SolverSettings,
    available_solvers,
    tube_margins,
)
from koopman_control.mpc.state import Rung
from tests.mpc.conftest import exact_model, integrator_of_an_angle, random_nonlinear_model

F, G = [[1.0, 0.1], [-0.1, 0.95]], [[0.0], [0.1]]
LINEAR = exact_model(F, G, action_bounds=[[-1.0], [1.0]])
TWO_INPUTS = exact_model(F, [[0.0, 0.05], [0.1, 0.1]], action_bounds=[[-1.0, -1.0], [1.0, 1.0]])
FEATURES, BILINEAR = random_nonlinear_model(False), random_nonlinear_model(True)
BOX = Bounds(rates=0.3, outputs=(-0.8, 0.8))
N = 8


def runs() -> list[Trajectory]:
    rng, found = np.random.default_rng(0), []
    for _ in range(4):
        U, X = rng.uniform(-1.0, 1.0, (60, 1)), [rng.normal(size=2)]
        for u in U:
            X.append(np.asarray(F) @ X[-1] + np.asarray(G) @ u - 0.01 * X[-1] ** 3)
        found.append(Trajectory(np.array(X), U, dt=0.1, action_bounds=np.array([[-1.0], [1.0]])))
    return found


ESTIMATOR = EDMDc(SampledFeatures(6, random_state=0), horizon=5, n_folds=2)
FITTED = ESTIMATOR.fit(runs()).model_
REMEMBERS = (
    EDMDc(SampledFeatures(6, random_state=0), states=[0], memory=2, horizon=5, n_folds=2)
    .fit(runs())
    .model_
)
SEVERAL = bootstrap_models(ESTIMATOR, runs(), 2, seed=0)
MATRIX = LiftedModel.from_arrays(F, G, action_bounds=[[-1.0], [1.0]])
SQUARES = PolynomialFeatures(2).fit(np.random.default_rng(0).normal(size=(30, 2)))
LIFTED = LiftedModel.from_arrays(
    np.eye(SQUARES.transform(np.zeros((1, 2))).shape[1]) * 0.9,
    np.ones((SQUARES.transform(np.zeros((1, 2))).shape[1], 1)) * 0.1,
    np.eye(2, SQUARES.transform(np.zeros((1, 2))).shape[1]),
    SQUARES,
    action_bounds=[[-1.0], [1.0]],
)
RAMP = np.linspace(0.0, 0.6, 25)[:, None] * np.ones(2)


def terms(mpc: KoopmanMPC) -> KoopmanMPC:
    """Add what a user may say in CVXPY, with parameters and further variables."""
    return (
        mpc.constrain(lambda y, u, p: [absolute(y[:, 0]) <= p.top, total(u) <= 3.0], top=0.7)
        .penalize(lambda y, u, p: p.price @ absolute(u[:, 0]), price=price())
        .penalize(lambda y, u, p: huber(y[-1, 1] - p.goal), goal=0.1)
    )


def price() -> cp.Parameter:
    return cp.Parameter(N, nonneg=True, value=np.linspace(0.01, 0.05, N))


def only_inputs(mpc: KoopmanMPC) -> KoopmanMPC:
    return mpc.constrain(lambda y, u, p: u[1:] == u[:-1] + p.slope, slope=np.full((N - 1, 1), 0.01))


CONTROLLERS: dict[str, Callable[[], KoopmanMPC]] = {
    "linear": lambda: KoopmanMPC(LINEAR, N, Q=[1.0, 0.1], R=0.01),
    "box, rates and outputs": lambda: KoopmanMPC(FEATURES, N, R=0.01, bounds=BOX),
    "bounds by step": lambda: KoopmanMPC(
        LINEAR, N, np.ones((N, 2)), input_bounds=np.stack([-np.ones((N, 1)), np.ones((N, 1))])
    ),
    "hard and tightened": lambda: KoopmanMPC(
        LINEAR, N, bounds=Bounds(outputs=(-0.9, 0.9), soft=[True, False], tighten=0.05)
    ),
    "polytope": lambda: KoopmanMPC(
        LINEAR, N, R=0.1, bounds=Bounds(polytope=([[1.0, 1.0]], [[0.5]], [0.6]), slack_weight=50.0)
    ),
    "riccati and invariant set": lambda: KoopmanMPC(
        LINEAR,
        N,
        cost=Cost(R=0.1, terminal="riccati"),
        bounds=Bounds(outputs=(-2.0, 2.0), rates=1.0, terminal_set="invariant"),
    ),
    "terminal polytope and box": lambda: KoopmanMPC(
        LINEAR, N, bounds=Bounds(terminal=(-1.0, 1.0), terminal_set=([[1.0, 1.0]], [0.8]))
    ),
    "changes and prices": lambda: KoopmanMPC(
        LINEAR,
        N,
        cost=Cost(R=0.1, S=0.2, linear_input=0.05, linear_output=[0.0, 0.01], terminal="riccati"),
    ),
    "trust": lambda: KoopmanMPC(FITTED, N, cost=Cost(trust=2.0)),
    "tube": lambda: KoopmanMPC(
        LINEAR,
        N,
        R=0.1,
        bounds=Bounds(outputs=(-1.5, 1.5), soft=False, tighten=tube_margins(LINEAR, N, 0.01)),
    ),
    "knots": lambda: KoopmanMPC(
        LINEAR, N, bounds=BOX, inputs=Inputs(parametrization=Knots([0, 2, 5]))
    ),
    "blocks": lambda: KoopmanMPC(LINEAR, N, bounds=BOX, inputs=Inputs(parametrization=Blocks(3))),
    "delay": lambda: KoopmanMPC(LINEAR, N, bounds=BOX, inputs=Inputs(delay=2, safe=0.1)),
    "measured input": lambda: KoopmanMPC(TWO_INPUTS, N, bounds=BOX, inputs=Inputs(measured=[1])),
    "preview": lambda: KoopmanMPC(LINEAR, N, R=0.01, reference=RAMP),
    "input reference": lambda: KoopmanMPC(
        LINEAR, N, cost=Cost(R=0.1, input_reference=np.linspace(0.0, 0.3, 20)[:, None])
    ),
    "observed targets": lambda: KoopmanMPC(
        LINEAR,
        N,
        cost=Cost(R=0.1, input_reference=Observed([0], gain=0.1)),
        reference=Observed([1, None], offset=[0.0, 0.1]),
    ),
    "memory": lambda: KoopmanMPC(REMEMBERS, N, R=0.01),
    "Kalman": lambda: KoopmanMPC(FEATURES, N, R=0.01, estimator=KalmanObserver(0.05)),
    "offset-free": lambda: KoopmanMPC(
        FEATURES, N, cost=Cost(S=0.1), estimator=OffsetFree([0.05, 0.1]), reference=[0.2, 0.0]
    ),
    "moving horizon": lambda: KoopmanMPC(
        FEATURES, N, estimator=MovingHorizonEstimator(0.05, window=4, noise_bound=3.0)
    ),
    "extended Kalman": lambda: KoopmanMPC(
        BILINEAR, N, R=0.01, rollout="relifted", estimator=KalmanObserver(0.05)
    ),
    "extended offset-free": lambda: KoopmanMPC(
        FEATURES, N, rollout="relifted", estimator=OffsetFree(0.05)
    ),
    "bilinear": lambda: KoopmanMPC(BILINEAR, N, R=0.01, rollout="bilinear", bounds=BOX),
    "relifted with guesses": lambda: KoopmanMPC(
        BILINEAR,
        N,
        R=0.01,
        rollout="relifted",
        bounds=BOX,
        search=Search(iterations=2, guesses=4, first_guesses=16, seed=3),
    ),
    "angle": lambda: KoopmanMPC(integrator_of_an_angle(), N, [1.0, 0.1], reference=[3.0, 0.0]),
    "several models": lambda: KoopmanMPC(
        SEVERAL, N, R=0.01, bounds=BOX, estimator=KalmanObserver(0.05)
    ),
    "given by arrays": lambda: KoopmanMPC(MATRIX, N, R=0.01, bounds=BOX),
    "lifted by features": lambda: KoopmanMPC(LIFTED, N, R=0.01, rollout="relifted"),
    "terms": lambda: terms(KoopmanMPC(LINEAR, N, R=0.01, bounds=BOX)),
    "terms of several models": lambda: terms(KoopmanMPC(SEVERAL, N, R=0.01)),
    "terms, re-lifted": lambda: terms(KoopmanMPC(FEATURES, N, R=0.01, rollout="relifted")),
    "terms on inputs alone": lambda: only_inputs(KoopmanMPC(LINEAR, N, R=0.01)),
    "unstable, held by feedback": lambda: KoopmanMPC(
        exact_model([[2.5, 0.1], [0.0, 0.9]], G, action_bounds=[[-1.0], [1.0]]), 12, R=1.0
    ),
    "own options": lambda: KoopmanMPC(
        LINEAR, N, bounds=BOX, solver=SolverSettings("daqp", {"iter_limit": 500})
    ),
}


def solved_by(name: str) -> Callable[[], KoopmanMPC]:
    return lambda: KoopmanMPC(LINEAR, N, bounds=BOX, solver=name)


CONTROLLERS |= {f"solver {name}": solved_by(name) for name in available_solvers()}


@pytest.mark.parametrize("kind", CONTROLLERS)
def test_a_loaded_controller_acts_the_same_to_the_last_bit(kind: str, tmp_path: Path) -> None:
    original = CONTROLLERS[kind]()
    original.save(tmp_path / "controller.npz")
    loaded = KoopmanMPC.load(tmp_path / "controller.npz")
    loaded.save(tmp_path / "again.npz")
    assert (tmp_path / "again.npz").read_bytes() == (tmp_path / "controller.npz").read_bytes()
    for seed in (0, 1):
        expected, rungs = acted(original, seed)
        given, given_rungs = acted(loaded, seed)
        np.testing.assert_array_equal(given, expected)
        assert given_rungs == rungs


def acted(mpc: KoopmanMPC, seed: int, steps: int = 12) -> tuple[Array, list[Rung]]:
    """Act on a course that does not listen, parameters and disturbances moving."""
    rng, actions = np.random.default_rng(seed), []
    rungs: list[Rung] = []
    size = mpc.model.coordinates.n_observations
    measured = len(mpc.inputs.measured)
    mpc.reset()
    y = rng.uniform(-0.5, 0.5, size)
    for k in range(steps):
        if "top" in mpc.parameters:
            mpc.parameters["top"] = 0.7 - 0.01 * k
        told = rng.uniform(-0.2, 0.2, measured) if measured else None
        actions.append(mpc.act(y, told, applied=[0.05] if k == 5 else None))
        assert mpc.last is not None
        rungs.append(mpc.last.rung)
        y = y + rng.normal(size=size) * 0.05
    return np.array(actions), rungs


def test_loading_states_and_compiles_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "controller.npz"
    terms(KoopmanMPC(LINEAR, N, R=0.01, bounds=BOX)).save(path)
    monkeypatch.setattr(cp.Problem, "__init__", lambda *_, **__: pytest.fail("a problem is stated"))
    loaded = KoopmanMPC.load(path)
    loaded.reset()
    loaded.act([0.1, 0.2])


def test_a_loaded_controller_can_be_explained_checked_and_added_to(tmp_path: Path) -> None:
    original = terms(KoopmanMPC(LINEAR, N, R=0.01, bounds=BOX))
    original.save(tmp_path / "controller.npz")
    loaded = KoopmanMPC.load(tmp_path / "controller.npz")
    y, guess = [0.6, 0.3], np.zeros((N, 1))
    for mpc in (original, loaded):
        mpc.act(y)
    U, cost = original.reference_solution(y, guess)
    again, same = loaded.reference_solution(y, guess)
    np.testing.assert_allclose(again, U, atol=1e-6)
    assert same == pytest.approx(cost, rel=1e-8)
    of_original, of_loaded = original.explain(), loaded.explain()
    assert (of_loaded.program, of_loaded.solver) == (of_original.program, of_original.solver)
    more = (mpc.constrain(lambda y, u, p: u[0] <= -0.02) for mpc in (original, loaded))
    first, second = (mpc.act(y) for mpc in more)
    np.testing.assert_allclose(second, first, atol=1e-7)
    assert first[0] <= -0.02 + 1e-9


def test_settings_are_read_again(tmp_path: Path) -> None:
    search, estimator = Search(iterations=2, deadline=5e4), KalmanObserver([0.05, 0.1])
    mpc = KoopmanMPC(FEATURES, N, cost=Cost(S=0.5), search=search, estimator=estimator)
    mpc.save(tmp_path / "controller.npz")
    loaded = KoopmanMPC.load(tmp_path / "controller.npz")
    assert (loaded.search, loaded.solver, loaded.horizon) == (search, "auto", N)
    assert (loaded.cost.S, loaded.cost.Q, loaded.rollout) == (0.5, 1.0, "linear")
    assert isinstance(loaded.estimator, KalmanObserver)
    np.testing.assert_array_equal(loaded.estimator.measurement_noise, [0.05, 0.1])


class Believing:
    """An observer of somebody else."""

    def attached(self, model: LiftedModel, rollout: Any) -> Any:
        return KalmanObserver(0.1).attached(model, rollout)


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: KoopmanMPC(LINEAR, N, reference=lambda y: y), "reference is the function"),
        (
            lambda: KoopmanMPC(LINEAR, N, cost=Cost(input_reference=lambda y: y[:1])),
            "input_reference is the function .* files hold no code; give rows of an array",
        ),
        (lambda: KoopmanMPC(LINEAR, N, estimator=Believing()), "estimator is .*Believing"),
        (
            lambda: KoopmanMPC(
                LiftedModel.from_arrays(F, G, np.eye(2), lambda X: X), N, input_bounds=(-1, 1)
            ),
            "GivenLift by .*lambda.* give LiftedModel.from_arrays a fitted feature map",
        ),
    ],
)
def test_code_is_refused_by_name(
    make: Callable[[], KoopmanMPC], message: str, tmp_path: Path
) -> None:
    with pytest.raises(TypeError, match=message):
        make().save(tmp_path / "controller.npz")
    assert not list(tmp_path.iterdir())


@pytest.mark.filterwarnings("ignore:each step is solved through CVXPY")
def test_a_term_that_is_no_quadratic_program_is_refused_by_its_number(tmp_path: Path) -> None:
    mpc = KoopmanMPC(LINEAR, N).penalize(lambda y, u, p: total(u))
    mpc = mpc.constrain(lambda y, u, p: norm(y[-1]) <= 1.0)
    with pytest.raises(TypeError, match=r"term 1, of constrain, cannot be saved .* quadratic"):
        mpc.save(tmp_path / "controller.npz")


def forge(path: Path, change: Callable[[Any, dict[str, bytes]], None]) -> None:
    """Change a file's settings and sign anew."""
    members = unpacked(path.read_bytes())
    facts = json.loads(members["header.json"])
    change(facts, members)
    members["header.json"] = json.dumps(facts).encode()
    path.write_bytes(packed(signed(members, facts)))


def places_out_of_range(facts: Any, members: dict[str, bytes]) -> None:
    """Let a sparse matrix point beyond its columns, where scipy would read any memory."""
    parts = facts["settings"]["qp"]["fields"]["upper"]["fields"]["matrix"]["parts"]
    name = parts["indices"]["array"]
    body = bytearray(members[f"{name}.npy"])
    body[-4:] = (2**30).to_bytes(4, "little")
    members[f"{name}.npy"] = bytes(body)


def turned_bytes(facts: Any, members: dict[str, bytes]) -> None:
    """Call the places of a sparse matrix numbers of another byte order."""
    parts = facts["settings"]["qp"]["fields"]["upper"]["fields"]["matrix"]["parts"]
    form = facts["arrays"][parts["indices"]["array"]]
    form["type"] = form["type"].replace("<", ">")


def other_kind(facts: Any, members: dict[str, bytes]) -> None:
    facts["settings"]["settings"]["cost"]["kind"] = "os.system"


def long_horizon(facts: Any, members: dict[str, bytes]) -> None:
    facts["settings"]["settings"]["horizon"] = 10**12


def long_delay(facts: Any, members: dict[str, bytes]) -> None:
    facts["settings"]["settings"]["inputs"]["fields"]["delay"] = 10**12


def no_estimator(facts: Any, members: dict[str, bytes]) -> None:
    facts["settings"]["estimators"] = []


def swapped_rows(facts: Any, members: dict[str, bytes]) -> None:
    fields = facts["settings"]["qp"]["fields"]
    fields["P"], fields["A"] = fields["A"], fields["P"]


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (places_out_of_range, "entries beyond its columns"),
        (turned_bytes, "an array holds >i"),
        (other_kind, "os.system"),
        (long_horizon, "horizon is 1000000000000 beside 8 weights"),
        (long_delay, "delay is 1000000000000"),
        (no_estimator, "there are 0 estimators for 1 models"),
        (swapped_rows, "expected|fit together"),
    ],
)
def test_forged_files_are_refused_in_words(
    change: Callable[[Any, dict[str, bytes]], None], message: str, tmp_path: Path
) -> None:
    path = tmp_path / "controller.npz"
    KoopmanMPC(LINEAR, N, bounds=BOX, estimator=KalmanObserver(0.1)).save(path)
    forge(path, change)
    with pytest.raises(FileFormatError, match="does not hold a whole controller") as told:
        KoopmanMPC.load(path)
    assert re.search(message, str(told.value))


def test_files_of_other_kinds_are_refused(tmp_path: Path) -> None:
    LINEAR.save(tmp_path / "model.npz")
    with pytest.raises(FileFormatError, match="holds 'lifted-model'; expected 'controller'"):
        KoopmanMPC.load(tmp_path / "model.npz")
    KoopmanMPC(LINEAR, N).save(tmp_path / "controller.npz")
    with pytest.raises(FileFormatError, match="holds 'controller'; expected 'lifted-model'"):
        LiftedModel.load(tmp_path / "controller.npz")
