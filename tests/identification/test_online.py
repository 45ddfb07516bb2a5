import numpy as np
import pytest

from koopman_control.features import SampledFeatures
from koopman_control.identification import EDMDc, prediction_error
from koopman_control.identification.online import OnlineModel, adapt
from koopman_control.trajectories import Trajectory

FEW = SampledFeatures(5, random_state=0)


def plant(n_steps: int, seed: int, first: float, last: float) -> Trajectory:
    """Simulate a damped pendulum-like map whose gain drifts from `first` to `last`."""
    rng = np.random.default_rng(seed)
    U = rng.uniform(-1.0, 1.0, (n_steps, 1))
    X = [rng.normal(size=2)]
    for gain, u in zip(np.linspace(first, last, n_steps), U, strict=True):
        x = X[-1]
        X.append(np.array([0.9 * x[0] + 0.2 * x[1], -0.3 * x[0] + 0.8 * x[1] + gain * u[0]]))
    return Trajectory(np.array(X), U, action_bounds=np.array([[-1.0], [1.0]]))


def test_it_follows_a_slowly_drifting_plant() -> None:
    model = EDMDc(FEW).fit([plant(60, seed, 1.0, 1.0) for seed in range(5)]).model_
    adapted = adapt(model, plant(4_000, 7, 1.0, 2.0), forgetting=0.98)
    gain = (adapted.C @ adapted.B)[:, 0]
    np.testing.assert_allclose(gain, [0.0, 2.0], atol=0.03)
    never = adapt(model, plant(4_000, 7, 1.0, 2.0), forgetting=1.0)
    assert abs((never.C @ never.B)[1, 0] - 2.0) > 0.3


def test_data_of_the_same_plant_change_nothing() -> None:
    model = (
        EDMDc(FEW, regularization=0.0).fit([plant(60, seed, 1.0, 1.0) for seed in range(5)]).model_
    )
    adapted = adapt(model, plant(500, 7, 1.0, 1.0), forgetting=0.99)
    held_out = plant(100, 8, 1.0, 1.0)
    assert prediction_error(adapted, held_out, 20).max() < 1e-6
    assert adapted.summary["n_adapted"] == 500


def test_angles_are_followed_across_the_seam() -> None:
    U = np.random.default_rng(0).uniform(-1.0, 1.0, (400, 1))
    theta = np.concatenate([[0.0], np.cumsum(0.3 + 0.1 * U[:, 0])])
    data = Trajectory(np.stack([np.cos(theta), np.sin(theta)], axis=1), U)
    model = EDMDc(FEW, angles=[(0, 1)], regularization=0.0).fit(data).model_
    adapted = adapt(model, data, forgetting=0.99)
    np.testing.assert_allclose(adapted.C @ adapted.B, [[0.1]], atol=1e-6)


def test_steps_that_end_on_a_limit_are_passed_over() -> None:
    bounds = np.array([[-9.0, -9.0], [9.0, 9.0]])
    data = [plant(60, seed, 1.0, 1.0) for seed in range(5)]
    known = [Trajectory(t.observations, t.actions, observation_bounds=bounds) for t in data]
    online = OnlineModel(EDMDc(FEW).fit(known).model_)
    online.update(np.zeros(2), np.zeros(1), np.array([9.0, 0.0]))
    assert online.n_samples == 0


def test_a_bilinear_model_is_refused() -> None:
    data = [plant(60, seed, 1.0, 1.0) for seed in range(5)]
    model = EDMDc(FEW, coupling="bilinear").fit(data).model_
    with pytest.raises(ValueError, match="input couplings"):
        OnlineModel(model)
