"""Known ground: where the training data lie."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from koopman_control.features import SampledFeatures
from koopman_control.identification import Corrections, EDMDc, LiftedModel
from koopman_control.identification.signals import distances, known_ground
from koopman_control.trajectories import Trajectory


def fitted(n_steps: int = 400, **settings: Any) -> tuple[LiftedModel, Trajectory]:
    rng = np.random.default_rng(0)
    X, U = np.zeros((n_steps + 1, 2)), rng.uniform(-1.0, 1.0, (n_steps, 1))
    for k, u in enumerate(U):
        X[k + 1] = [0.9 * X[k, 0] + 0.1 * X[k, 1], 0.8 * X[k, 1] - 0.1 * np.sin(X[k, 0]) + u[0]]
    data = Trajectory(X, U)
    given = {"regularization": 1e-8, "n_folds": 0, **settings}
    return EDMDc(SampledFeatures(5, random_state=0), **given).fit(data).model_, data


def test_a_box_of_data_has_its_edge_where_the_data_end() -> None:
    E = np.random.default_rng(0).uniform([-1.0, 0.0], [1.0, 10.0], (20_000, 2))
    center, scale = np.array([0.0, 5.0]), np.array([1.0, 10.0])
    G = known_ground(E, center, scale, 2)

    def distance(*e: float) -> float:
        return float(distances(G, (np.array(e) - center) / scale))

    assert distance(1.0, 5.0) == pytest.approx(1.0, abs=2e-3)
    assert distance(0.0, 10.0) == pytest.approx(1.0, abs=2e-3)
    assert distance(0.0, 20.0) == pytest.approx(3.0, abs=0.01)
    assert distance(0.0, 5.0) == pytest.approx(0.0, abs=5e-3)


def test_states_off_the_line_that_data_follow_are_far_though_in_their_box() -> None:
    t = np.random.default_rng(0).uniform(-1.0, 1.0, 5_000)
    E = np.column_stack([t, t + 0.01 * np.cos(40.0 * t)])
    G = known_ground(E, np.zeros(2), np.ones(2), 2)
    assert distances(G, np.array([0.9, 0.9])) < 1.0
    assert distances(G, np.array([0.9, -0.9])) > 50.0


def test_what_never_moved_is_known_at_one_value_only() -> None:
    E = np.column_stack([np.linspace(-1.0, 1.0, 1_000), np.full(1_000, 3.0)])
    G = known_ground(E, np.array([0.0, 3.0]), np.ones(2), 2)
    assert distances(G, np.array([0.5, 0.0])) < 1.0
    assert distances(G, np.array([0.5, 0.1])) > 5.0


def test_one_in_a_thousand_training_states_lies_beyond_the_edge() -> None:
    model, data = fitted(20_000)
    far = model.distance(data.observations) > 1.0
    assert far.mean() == pytest.approx(1e-3, abs=2e-4)
    assert model.distance(np.zeros((3, 4, 2))).shape == (3, 4)
    assert model.distance([100.0, 0.0]) > 10.0


@pytest.mark.parametrize(
    "settings",
    [
        {},
        {"memory": 2},
        {"corrections": Corrections(noise="smooth")},
        {"n_draws": 2, "rollout": "linear"},
    ],
)
def test_every_fit_knows_its_ground_and_files_keep_it(
    settings: dict[str, Any], tmp_path: Path
) -> None:
    model, _ = fitted(**settings)
    assert model.signals.ground is not None
    model.save(tmp_path / "model.npz")
    kept = LiftedModel.load(tmp_path / "model.npz").signals.ground
    assert kept is not None
    np.testing.assert_array_equal(kept, model.signals.ground)


def test_a_model_of_matrices_knows_no_ground() -> None:
    model = LiftedModel.from_arrays([[1.0]], [[1.0]])
    assert model.signals.ground is None
    assert model.distance([1e9]) == 0.0
