from pathlib import Path

import numpy as np
import pytest

from koopman_control.common.arrays import Array
from koopman_control.features import Coordinates, FeatureUnion, RecurrentFeatures, SampledFeatures
from koopman_control.features.recurrent import Recurrence, samples_of
from koopman_control.identification import EDMDc, LiftedModel
from koopman_control.identification.rollouts import Embedding
from koopman_control.trajectories import Trajectory


def record(n_steps: int = 40, seed: int = 0) -> tuple[Array, Array]:
    """Two positions and an angle, turning on, with two inputs."""
    rng = np.random.default_rng(seed)
    y = rng.normal(size=(n_steps + 1, 3)) * [1.0, 5.0, 0.0]
    y[:, 2] = np.cumsum(rng.uniform(0.0, 1.0, n_steps + 1))
    return y, rng.normal(size=(n_steps, 2))


def matrix_of(features: RecurrentFeatures) -> Array:
    """Write the links out as a matrix W."""
    h, links = features.links_.shape
    W = np.zeros((h, h))
    for i in range(h):
        for k in range(links):
            W[i, features.sources_[i, k]] += features.links_[i, k]
    return W


def test_samples_of_a_state_are_the_past_they_were_made_of() -> None:
    y, u = record()
    coordinates = Coordinates.of(3, angles=[2], memory=4, n_inputs=2)
    read = samples_of(coordinates) @ Embedding(coordinates)(coordinates.along(y, u)[20])
    now = 24
    np.testing.assert_allclose(read[:, :2], y[now - 4 : now + 1, :2], atol=1e-12)
    np.testing.assert_allclose(read[1:, 2], np.diff(y[now - 4 : now + 1, 2]), atol=1e-12)
    np.testing.assert_array_equal(read[1:, 3:5], u[now - 4 : now])
    np.testing.assert_array_equal(read[0, 2:5], 0.0)
    np.testing.assert_allclose(read[:, 5:], [[np.cos(y[now, 2]), np.sin(y[now, 2])]] * 5)


@pytest.mark.parametrize("recurrence", ["cyclic", "sparse"])
def test_the_features_are_the_state_of_a_network_run_along_the_past(recurrence: Recurrence) -> None:
    y, u = record()
    coordinates = Coordinates.of(3, memory=3, n_inputs=2)
    X = coordinates.along(y, u)
    features = RecurrentFeatures(15, recurrence=recurrence, random_state=0)
    features.fit_to_states(X, None, coordinates)
    W, h, now = matrix_of(features), np.zeros(15), 20
    for t in range(now - 3, now + 1):
        before = u[t - 1] if t > now - 3 else np.zeros(2)
        sample = np.concatenate([y[t], before])
        h = np.tanh(W @ h + features.weights_ @ sample + features.biases_)
    np.testing.assert_allclose(features.transform(X)[now - 3], h, atol=1e-12)


@pytest.mark.parametrize("recurrence", ["cyclic", "sparse"])
def test_the_spectral_radius_is_the_one_asked_for(recurrence: Recurrence) -> None:
    features = RecurrentFeatures(
        30, recurrence=recurrence, spectral_radius=0.7, random_state=0
    ).fit(np.random.default_rng(0).normal(size=(50, 2)))
    assert np.abs(np.linalg.eigvals(matrix_of(features))).max() == pytest.approx(0.7, rel=1e-9)


def test_the_jacobian_holds_along_a_whole_memory() -> None:
    y, u = record()
    coordinates = Coordinates.of(3, angles=[2], memory=4, n_inputs=2)
    E = Embedding(coordinates)(coordinates.along(y, u))
    features = RecurrentFeatures(10, random_state=0)
    features.fit_to_states(E, None, coordinates)
    J = features.jacobian(E)
    for j in range(E.shape[1]):
        step = np.zeros(E.shape[1])
        step[j] = 1e-5
        measured = (features.transform(E + step) - features.transform(E - step)) / 2e-5
        np.testing.assert_allclose(J[:, :, j], measured, atol=1e-8)


def runs(n_runs: int) -> list[Trajectory]:
    """Runs of a pendulum; only its angle is observed."""
    rng, data = np.random.default_rng(0), []
    for _ in range(n_runs):
        x, X, U = rng.uniform([-3, -4], [3, 4]), [], rng.uniform(-1, 1, (60, 1))
        for u in U:
            X.append(x[:1])
            speed = x[1] + 0.1 * (-4.0 * np.sin(x[0]) - 0.1 * x[1] + 2.0 * u[0])
            x = np.array([x[0] + 0.1 * speed, speed])
        data.append(Trajectory(np.array([*X, x[:1]]), U, dt=0.1))
    return data


def test_a_model_with_a_memory_tells_them_what_the_columns_are(tmp_path: Path) -> None:
    *seen, unseen = runs(12)
    recurrent = RecurrentFeatures(60, random_state=0)
    both = FeatureUnion([recurrent, SampledFeatures(20, random_state=0)])
    for features in (recurrent, both):
        fit = EDMDc(features, memory=3, angles=[0], coupling="bilinear").fit(seen)
        assert fit.score([unseen]) > -0.02
        model = fit.model_
        inner = model.features.maps_[0] if features is both else model.features
        assert inner.reader_.shape[0] == 4
        model.save(tmp_path / "model.npz")
        x0 = model.state(unseen.observations[:10], unseen.actions[:9])
        expected = model.predict(x0, unseen.actions[9:30])
        loaded = LiftedModel.load(tmp_path / "model.npz").predict(x0, unseen.actions[9:30])
        np.testing.assert_array_equal(loaded, expected)


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"spectral_radius": 1.0}, "spectral_radius is 1.0; expected a number below 1"),
        ({"recurrence": "dense"}, "recurrence is 'dense'; expected one of cyclic, sparse"),
        ({"n_features": 0}, "n_features is 0"),
    ],
)
def test_settings_that_make_no_sense_are_refused(settings: dict[str, object], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        RecurrentFeatures(**settings).fit(np.zeros((5, 2)))  # type: ignore[arg-type]
