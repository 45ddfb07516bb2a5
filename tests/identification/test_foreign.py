from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from koopman_control.common.arrays import Array
from koopman_control.features import Coordinates, PolynomialFeatures, SampledFeatures
from koopman_control.identification import EDMDc, LiftedModel, Rollout, from_control
from koopman_control.mpc import KoopmanMPC
from koopman_control.trajectories import Trajectory

RNG = np.random.default_rng(0)
A = 0.2 * RNG.normal(size=(5, 5))
B = 0.5 * RNG.normal(size=(5, 2))
C = 0.3 * RNG.normal(size=(2, 5))
N = 0.1 * RNG.normal(size=(2, 5, 5))
U = RNG.uniform(-1.0, 1.0, (12, 2))


def lift(X: Array) -> Array:
    x, y = X.T
    return np.stack([x, y, x * y, np.sin(x), np.ones(len(X))], axis=1)


def lift_jacobian(X: Array) -> Array:
    x, y = X.T
    J = np.zeros((len(X), 5, 2))
    J[:, 0, 0], J[:, 1, 1], J[:, 2, 0], J[:, 2, 1], J[:, 3, 0] = 1.0, 1.0, y, x, np.cos(x)
    return J


@pytest.mark.parametrize("couplings", [None, N])
@pytest.mark.parametrize("rollout", ["lifted", "relifted"])
def test_all_roll_outs_are_those_of_the_given_matrices(couplings: Any, rollout: str) -> None:
    model = LiftedModel.from_arrays(A, B, C, lift, N=couplings)
    x, expected = np.array([0.3, -0.2]), []
    z = lift(x[None])[0]
    for u in U:
        z = A @ z + B @ u + (0.0 if couplings is None else np.tensordot(u, N @ z, 1))
        expected.append(C @ z)
        z = lift(expected[-1][None])[0] if rollout == "relifted" else z
    which: Rollout = "linear" if couplings is None else "bilinear"
    predicted = model.predict(x, U, which if rollout == "lifted" else "relifted")
    np.testing.assert_allclose(predicted, expected, rtol=1e-12, atol=1e-12)


@pytest.mark.parametrize("jacobian", [None, lift_jacobian])
def test_sensitivities_follow_the_lift(jacobian: Any) -> None:
    model = LiftedModel.from_arrays(A, B, C, lift, N=N, jacobian=jacobian)
    Y, Gamma = model.linearize([0.3, -0.2], U)
    dU = 1e-6 * RNG.normal(size=U.shape)
    moved = model.predict([0.3, -0.2], U + dU) - model.predict([0.3, -0.2], U - dU)
    np.testing.assert_allclose(Gamma @ dU.ravel(), moved.ravel() / 2.0, atol=1e-10)
    np.testing.assert_array_equal(Y, model.predict([0.3, -0.2], U))


def test_the_spectrum_gains_a_one_and_zeros() -> None:
    values = LiftedModel.from_arrays(A, B, C, lift).eigenvalues
    expected = np.concatenate([np.linalg.eigvals(A), [1.0, 0.0, 0.0]])
    np.testing.assert_allclose(np.sort_complex(values), np.sort_complex(expected), atol=1e-7)


def test_without_a_lift_the_state_is_read_back_from_the_outputs() -> None:
    C_square = RNG.normal(size=(5, 5))
    model = LiftedModel.from_arrays(A, B, C_square, dt=0.1, state_names=list("abcde"))
    z, expected = np.ones(5), []
    for u in U:
        z = A @ z + B @ u
        expected.append(C_square @ z)
    for rollout in ("linear", "relifted"):
        predicted = model.predict(C_square @ np.ones(5), U, rollout)
        np.testing.assert_allclose(predicted, expected, atol=1e-10)
    assert (model.dt, model.state_names) == (0.1, tuple("abcde"))
    with pytest.raises(ValueError, match=r"C has shape \(2, 5\).*give lift"):
        LiftedModel.from_arrays(A, B, C)


def test_a_controller_takes_a_foreign_model() -> None:
    A, B = [[1.0, 0.1], [0.0, 1.0]], [[0.0], [0.1]]
    model = LiftedModel.from_arrays(A, B, dt=0.1, action_bounds=[[-1.0], [1.0]])
    mpc = KoopmanMPC(model, 30, Q=[1.0, 0.1], R=0.01, rollout="linear")
    x = np.array([0.5, 0.0])
    for _ in range(80):
        x = np.array(A) @ x + np.array(B) @ mpc.act(x)
    assert np.abs(x).max() < 1e-2


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"A": np.zeros((5, 4))}, r"A has shape \(5, 4\); expected \(5, 5\)"),
        ({"B": np.zeros((4, 2))}, r"B has shape \(4, 2\)"),
        ({"C": np.zeros((2, 4))}, r"C has shape \(2, 4\)"),
        ({"N": np.zeros((1, 5, 5))}, r"N has shape \(1, 5, 5\); expected \(2, 5, 5\)"),
        ({"lift": lambda X: X}, r"lift gave shape \(2, 2\) for 2 states of 2 entries"),
        ({"state_names": ["x"]}, "expected 2 names"),
        ({"coordinates": Coordinates.of(3)}, "expected 2 plain columns"),
        ({"coordinates": Coordinates.of(3, angles=[(0, 1)])}, "expected 2 plain columns"),
        ({"action_bounds": [[0.0], [1.0]]}, "action_bounds has shape"),
    ],
)
def test_parts_that_do_not_fit_are_named(change: Any, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        LiftedModel.from_arrays(**({"A": A, "B": B, "C": C, "lift": lift} | change))


def test_states_may_be_some_columns_of_an_observation() -> None:
    model = LiftedModel.from_arrays(A, B, C, lift, coordinates=Coordinates.of(4, states=[1, 3]))
    np.testing.assert_array_equal(model.state([0.0, 1.0, 2.0, 3.0]), [1.0, 3.0])
    assert model.state_names == ("y1", "y3")


def test_a_lift_by_a_function_cannot_be_saved(tmp_path: Path) -> None:
    with pytest.raises(TypeError, match=r"features is a GivenLift by <function lift .* a function"):
        LiftedModel.from_arrays(A, B, C, lift).save(tmp_path / "model.npz")


def test_a_foreign_model_of_matrices_alone_is_read_as_it_was_saved(tmp_path: Path) -> None:
    turned = np.array([[1.0, 0.5], [0.0, 2.0]])  # z = inv(C) x
    model = LiftedModel.from_arrays([[0.9, 0.1], [0.0, 0.8]], [[0.0], [1.0]], turned, dt=0.1)
    check_saved(model, tmp_path / "model.npz")


def test_a_foreign_model_lifted_by_features_has_their_derivative_and_is_saved(
    tmp_path: Path,
) -> None:
    features = PolynomialFeatures(2).fit(np.random.default_rng(0).normal(size=(50, 2)))
    n = features.transform(np.zeros((1, 2))).shape[1]
    rng = np.random.default_rng(1)
    arrays = 0.3 * rng.normal(size=(n, n)), rng.normal(size=(n, 2)), rng.normal(size=(2, n))
    model = LiftedModel.from_arrays(*arrays, features)
    by_function = LiftedModel.from_arrays(*arrays, features.values, jacobian=features.derivatives)
    np.testing.assert_array_equal(
        model.linearize([0.1, 0.2], U)[1], by_function.linearize([0.1, 0.2], U)[1]
    )
    check_saved(model, tmp_path / "model.npz")
    with pytest.raises(ValueError, match="jacobian is given beside features"):
        LiftedModel.from_arrays(*arrays, features, jacobian=features.derivatives)
    with pytest.raises(ValueError, match="lift takes 2 states; expected 3"):
        LiftedModel.from_arrays(arrays[0], arrays[1], rng.normal(size=(3, n)), features)


def check_saved(model: LiftedModel, path: Path) -> None:
    model.save(path)
    rollouts: tuple[Rollout, ...] = ("linear", "relifted")
    loaded, U = LiftedModel.load(path), np.ones((5, model.n_inputs))
    for rollout in rollouts:
        for given, expected in zip(
            loaded.linearize([0.1, 0.2], U, rollout),
            model.linearize([0.1, 0.2], U, rollout),
            strict=True,
        ):
            np.testing.assert_array_equal(given, expected)


class System:
    """What a control.StateSpace looks like."""

    def __init__(self, **fields: Any) -> None:
        self.A, self.B, self.C, self.D, self.dt = A, B, C, np.zeros((2, 2)), 0.1
        self.output_labels = ["x", "y"]
        vars(self).update(fields)


def test_a_state_space_is_read_by_its_fields() -> None:
    model = from_control(System(), lift, jacobian=lift_jacobian)
    own = LiftedModel.from_arrays(A, B, C, lift)
    np.testing.assert_array_equal(
        model.predict([0.1, 0.2], U, "linear"), own.predict([0.1, 0.2], U, "linear")
    )
    assert (model.dt, model.state_names) == (0.1, ("x", "y"))
    assert from_control(System(dt=True), lift).dt is None


@pytest.mark.parametrize(
    ("system", "error", "message"),
    [
        (System(dt=0), ValueError, "system has dt=0"),
        (System(dt=None), ValueError, "system.sample"),
        (System(D=np.ones((2, 2))), ValueError, "feed-through"),
        (np.eye(2), TypeError, "system is a ndarray; expected a control.StateSpace"),
    ],
)
def test_systems_that_are_no_model_are_refused(
    system: Any, error: type[Exception], message: str
) -> None:
    with pytest.raises(error, match=message):
        from_control(system, lift)


def test_a_lift_of_somebody_else_serves_as_features_of_a_fit() -> None:
    features = LiftedModel.from_arrays(A, B, C, lift).features
    X = [np.array([0.3, -0.2])]
    for u in U:
        x, y = X[-1]
        X.append(np.array([0.9 * x + 0.2 * x * y, 0.8 * y + 0.1 * np.sin(x)]) + 0.3 * u)
    model = EDMDc(features, regularization=1e-14, n_folds=0).fit(Trajectory(np.array(X), U)).model_
    ahead = model.predict(X[0], U[:5], "relifted")
    np.testing.assert_allclose(ahead, X[1:6], atol=1e-6)


def test_a_fitted_model_survives_the_way_through_its_arrays() -> None:
    X = RNG.normal(size=(60, 2))
    run = Trajectory(X, RNG.uniform(-1.0, 1.0, (59, 2)))
    model = EDMDc(SampledFeatures(6, random_state=0)).fit(run).model_
    foreign = LiftedModel.from_arrays(model.A, model.B, model.C, model.lift)
    free = replace(model, signals=replace(model.signals, limits=foreign.limits))
    for rollout in ("linear", "relifted"):
        np.testing.assert_allclose(
            foreign.predict(X[0], U, rollout), free.predict(X[0], U, rollout), atol=1e-12
        )
