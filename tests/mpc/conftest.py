"""Plants whose lifted models are written down rather than fitted, so that answers are exact."""

from collections.abc import Callable, Sequence
from typing import Any

import cvxpy as cp
import numpy as np
import pytest
from numpy.typing import ArrayLike

from koopman_control.common.arrays import Array
from koopman_control.features import Coordinates, SampledFeatures
from koopman_control.identification import LiftedModel, Signals
from koopman_control.mpc import compile_qp

N_FEATURES = 4


@pytest.fixture
def linear_model() -> Callable[..., LiftedModel]:
    """Make an exact model of x+ = F x + G u + sum_i u_i M_i x, with features that do nothing."""
    return exact_model


@pytest.fixture
def angle_model() -> Callable[..., LiftedModel]:
    """Make an exact model of angle+ = angle + speed / 10, speed+ = speed + u / 10."""
    return integrator_of_an_angle


@pytest.fixture
def nonlinear_model() -> Callable[..., LiftedModel]:
    """Make a model of two states in which features matter, linear or bilinear in the inputs."""
    return random_nonlinear_model


@pytest.fixture
def agrees() -> Callable[..., None]:
    """Compare a compiled problem with CVXPY and Clarabel at random parameters."""
    return agree_with_clarabel


def agree_with_clarabel(problem: cp.Problem, unique: Sequence[str], draws: int = 4) -> None:
    qp = compile_qp(problem, problem.parameters())
    tight = {"tol_gap_abs": 1e-11, "tol_gap_rel": 1e-11, "tol_feas": 1e-11}
    rng = np.random.default_rng(2)
    for _ in range(draws):
        for parameter in problem.parameters():
            drawn = rng.normal(size=parameter.shape)
            signed = np.abs(drawn) if parameter.is_nonneg() else drawn
            parameter.value = -np.abs(drawn) if parameter.is_nonpos() else signed
        problem.solve(solver="CLARABEL", **tight)  # type: ignore[no-untyped-call]
        cost, status = problem.value, problem.status
        stated = {v.name(): np.array(v.value, dtype=float) for v in problem.variables()}
        answer = qp.solve({p.name(): np.asarray(p.value) for p in problem.parameters()})
        assert answer.status == status
        if status != "optimal":
            continue
        assert answer.objective == pytest.approx(cost, rel=1e-6, abs=1e-7)
        for name in unique:
            np.testing.assert_allclose(answer.values[name], stated[name], atol=1e-5)
        for variable in problem.variables():  # eliminated ones as well
            variable.value = answer.values[variable.name()]
        assert problem.objective.value == pytest.approx(answer.objective, rel=1e-9, abs=1e-9)
        violations: list[Any] = [c.violation() for c in problem.constraints]  # type: ignore[no-untyped-call]
        assert max((np.max(v) for v in violations), default=0.0) < 1e-8


def exact_model(
    F: ArrayLike,
    G: ArrayLike,
    couplings: ArrayLike | None = None,
    action_bounds: ArrayLike | None = None,
) -> LiftedModel:
    rng = np.random.default_rng(0)
    F, G = np.asarray(F, dtype=float), np.asarray(G, dtype=float)
    d = len(G)
    n = 1 + d + N_FEATURES
    center, scale = rng.normal(size=d), rng.uniform(0.5, 2.0, d)
    C = np.zeros((d, n))
    C[:, 0], C[:, 1 : 1 + d] = center, np.diag(scale)
    lift = np.zeros((n, d))  # from a change of x to that of z, where x is known to z
    lift[1 : 1 + d] = np.diag(1.0 / scale)
    A = lift @ F @ C
    A[1 : 1 + d, 0] -= center / scale
    A[0, 0] = 1.0
    A[1 + d :] = 0.1 * rng.normal(size=(N_FEATURES, n))  # nobody reads these
    N = None if couplings is None else np.array([lift @ M @ C for M in np.asarray(couplings)])
    return LiftedModel(
        A=A,
        B=lift @ G,
        C=C,
        N=N,
        signals=Signals(
            coordinates=Coordinates.of(d),
            center=center,
            scale=scale,
            limits=np.tile([[-np.inf], [np.inf]], d),
            saturating=np.zeros(d, dtype=bool),
            action_bounds=None if action_bounds is None else np.asarray(action_bounds, dtype=float),
        ),
        features=SampledFeatures(N_FEATURES, random_state=0).fit(rng.normal(size=(40, d))),
    )


def integrator_of_an_angle(couplings: bool = False) -> LiftedModel:
    rng = np.random.default_rng(0)
    coordinates = Coordinates.of(3, angles=[(0, 1)])
    n, speed = 1 + 3 + N_FEATURES + 1, 1 + coordinates.embedded.index((1, "id"))
    A, B, C = np.zeros((n, n)), np.zeros((n, 1)), np.zeros((2, n))
    A[0, 0] = A[speed, speed] = A[-1, -1] = 1.0
    A[-1, speed], B[speed, 0] = 0.1, 0.1
    C[0, -1] = C[1, speed] = 1.0
    return LiftedModel(
        A=A,
        B=B,
        C=C,
        N=np.zeros((1, n, n)) if couplings else None,
        signals=Signals(
            coordinates=coordinates,
            center=np.zeros(3),
            scale=np.ones(3),
            limits=np.tile([[-np.inf], [np.inf]], 2),
            saturating=np.zeros(2, dtype=bool),
            action_bounds=np.array([[-1.0], [1.0]]),
        ),
        features=SampledFeatures(N_FEATURES, random_state=0).fit(rng.normal(size=(40, 3))),
    )


def random_nonlinear_model(bilinear: bool, n_inputs: int = 1, seed: int = 3) -> LiftedModel:
    rng = np.random.default_rng(seed)
    n = 3 + N_FEATURES
    A = 0.3 * rng.normal(size=(n, n)) / np.sqrt(n)
    A[1:3, 1:3] += np.array([[0.95, 0.1], [-0.1, 0.95]])
    A[0] = np.eye(n)[0]
    B = rng.normal(size=(n, n_inputs)) * (np.arange(n) > 0)[:, None]
    return LiftedModel(
        A=A,
        B=0.3 * B,
        C=np.eye(n)[1:3],
        N=0.2 * rng.normal(size=(n_inputs, n, n)) * spread_rows(n) if bilinear else None,
        signals=Signals(
            coordinates=Coordinates.of(2),
            center=np.zeros(2),
            scale=np.ones(2),
            limits=np.tile([[-np.inf], [np.inf]], 2),
            saturating=np.zeros(2, dtype=bool),
            action_bounds=np.tile([[-1.0], [1.0]], n_inputs),
        ),
        features=SampledFeatures(N_FEATURES, random_state=0).fit(rng.normal(size=(40, 2))),
    )


def spread_rows(n: int) -> Array:
    """Leave the constant's row alone."""
    return (np.arange(n) > 0)[:, None].astype(float)
