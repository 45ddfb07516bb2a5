"""Controllers and models in other processes (CVXPY #532, #537, #2366; joblib #767)."""

import copy
import multiprocessing
import pickle
import threading
from collections.abc import Callable
from operator import methodcaller
from pathlib import Path
from typing import Any

import cvxpy as cp
import joblib
import numpy as np
import pytest
from cvxpy.atoms.norm import norm
from cvxpy.atoms.sum_squares import sum_squares

from koopman_control import (
    Cost,
    EDMDc,
    KoopmanMPC,
    LiftedModel,
    PolynomialFeatures,
    Trajectory,
    evaluate,
)
from koopman_control.benchmark.wrappers import Hidden, Noise
from koopman_control.common.arrays import Array
from koopman_control.evaluation import ZeroPolicy, action_bounds
from koopman_control.features import FunctionFeatures
from koopman_control.trajectories import open_environment

A, B = np.array([[1.0, 0.1], [-0.2, 0.95]]), np.array([[0.01], [0.1]])
START = np.array([1.0, -0.5])


def from_arrays() -> KoopmanMPC:
    return KoopmanMPC(LiftedModel.from_arrays(A, B, dt=0.1), 12, Q=[1.0, 0.1], R=0.01)


def own_lift() -> KoopmanMPC:
    model = LiftedModel.from_arrays(A, B, dt=0.1, lift=lambda X: X, jacobian=None)
    return KoopmanMPC(model, 12, Q=[1.0, 0.1], R=0.01, rollout="relifted")


def own_features() -> KoopmanMPC:
    rng = np.random.default_rng(0)
    X, U = [START], rng.uniform(-1.0, 1.0, (200, 1))
    for u in U:
        X.append(A @ X[-1] + B @ u)
    features = FunctionFeatures(lambda x: np.tanh(x), derivative=None)
    settings = EDMDc(features, n_folds=0, regularization=1e-6)
    return KoopmanMPC(settings.fit([Trajectory(np.array(X), U, dt=0.1)]).model_, 12, R=0.01)


def own_terms() -> KoopmanMPC:
    cap = 2.0  # what a lambda holds on to travels, too
    mpc = from_arrays().constrain(lambda y, u, p: u.sum() <= p.share * cap, share=0.4)
    return mpc.penalize(lambda y, u, p: 0.1 * sum_squares(u[1:] - u[:-1]))


def own_cone() -> KoopmanMPC:
    return from_arrays().constrain(lambda y, u, p: norm(u) <= 1.0)


def own_reference() -> KoopmanMPC:
    target = np.array([0.4, 0.0])
    model = LiftedModel.from_arrays(A, B, dt=0.1)
    return KoopmanMPC(
        model,
        12,
        R=0.01,
        reference=lambda y: -target * np.sign(y[0]),
        cost=Cost(input_reference=lambda y: -0.1),
    )


MAKERS: list[Callable[[], KoopmanMPC]] = [
    from_arrays,
    own_lift,
    own_features,
    own_terms,
    own_reference,
]
slow_solver = pytest.mark.filterwarnings("ignore:each step is solved through CVXPY")


def actions(mpc: KoopmanMPC) -> Array:
    mpc.reset()
    return np.array([mpc.act(START * 0.9**k) for k in range(6)])


@slow_solver
@pytest.mark.parametrize("make", [*MAKERS, own_cone])
def test_a_copy_acts_alike_and_keeps_the_whole_problem(make: Callable[[], KoopmanMPC]) -> None:
    mpc = make()
    exact = 1e-8 if make is own_cone else 0.0  # CVXPY's solver goes on from its last answer
    for other in (pickle.loads(pickle.dumps(mpc)), copy.deepcopy(mpc), copy.copy(mpc)):
        np.testing.assert_allclose(actions(other), actions(mpc), rtol=0.0, atol=exact)
        assert str(other.problem) == str(mpc.problem)
        more, same = (each.constrain(lambda y, u, p: u >= -0.01) for each in (other, mpc))
        np.testing.assert_allclose(actions(more), actions(same), rtol=0.0, atol=exact)
        assert np.abs(actions(more) - actions(mpc)).max() > 0.01


@pytest.mark.parametrize("make", MAKERS)
def test_joblib_keeps_it_in_a_file(make: Callable[[], KoopmanMPC], tmp_path: Path) -> None:
    mpc = make()
    joblib.dump(mpc, tmp_path / "controller.joblib")
    np.testing.assert_array_equal(
        actions(joblib.load(tmp_path / "controller.joblib")), actions(mpc)
    )


def test_spawned_processes_act_alike() -> None:
    made = [make() for make in MAKERS]
    with multiprocessing.get_context("spawn").Pool(1) as pool:
        there = pool.map(methodcaller("act", START), made)
    for action, mpc in zip(there, made, strict=True):
        np.testing.assert_allclose(action, mpc.act(START), rtol=1e-12)


def test_parameters_set_after_the_journey_count() -> None:
    other = pickle.loads(pickle.dumps(own_terms()))
    other.parameters["share"] = -0.2
    assert other.act(START)[0] < own_terms().act(START)[0] - 1e-3


def test_models_and_features_travel_with_functions_of_their_own() -> None:
    X = np.random.default_rng(0).uniform(-1.0, 1.0, (5, 2))
    for mpc in (own_lift(), own_features()):
        model = pickle.loads(pickle.dumps(mpc.model))
        np.testing.assert_array_equal(model.features.values(X), mpc.model.features.values(X))
        np.testing.assert_array_equal(
            model.features.derivatives(X), mpc.model.features.derivatives(X)
        )
    features = own_features().model.features
    assert isinstance(features, FunctionFeatures)
    assert copy.deepcopy(features).function is features.function


def test_a_function_that_cannot_travel_is_named_with_what_to_do() -> None:
    lock = threading.Lock()

    def guarded(y: cp.Expression, u: cp.Expression, p: Any) -> Any:
        with lock:
            return u <= 1.0

    mpc = from_arrays().constrain(guarded)
    with pytest.raises(pickle.PicklingError, match=r"guarded.*lock.*the top level of a module"):
        pickle.dumps(mpc)
    assert np.isfinite(copy.deepcopy(mpc).act(START)).all()  # it stays in this process


def test_workers_take_controllers_with_functions_of_their_own() -> None:
    env = open_environment("koopman_envs/Duffing-v0", {"max_episode_steps": 15})
    model = LiftedModel.from_arrays(np.eye(3), np.ones((3, 1)), dt=0.1)
    mpc = KoopmanMPC(model, 5, R=0.1).constrain(lambda y, u, p: u <= p.cap, cap=0.3)
    one, two = (evaluate(mpc, env, range(3), workers=n).returns for n in (1, 2))
    np.testing.assert_array_equal(one, two)


@pytest.mark.parametrize("wrap", [Noise(0.01), Hidden((2,))])
def test_wrappers_of_the_benchmark_can_be_pickled(wrap: Any) -> None:
    env = wrap(open_environment("Pendulum-v1"))
    policy = ZeroPolicy(action_bounds(env))
    other = pickle.loads(pickle.dumps(env))
    one, two = (evaluate(policy, each, range(2)).episodes for each in (env, other))
    np.testing.assert_array_equal(one[1].observations, two[1].observations)


def test_plain_settings_stay_what_they_were() -> None:
    features = PolynomialFeatures(2).fit(np.random.default_rng(0).normal(size=(9, 2)))
    assert pickle.loads(pickle.dumps(features)).get_params() == features.get_params()
