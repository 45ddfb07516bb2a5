from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from koopman_control.features import FeatureUnion, PolynomialFeatures, SampledFeatures
from koopman_control.identification import EDMDc, LiftedModel
from koopman_control.identification.crossvalidation import averaged
from koopman_control.trajectories import Trajectory, collect

ENV = "koopman_envs/VanDerPol-v0"


@pytest.fixture(scope="module")
def data() -> list[Trajectory]:
    return collect(ENV, n_steps=600, seed=0)


def one(data: list[Trajectory], seed: int) -> LiftedModel:
    features = SampledFeatures(10, random_state=seed)
    return EDMDc(features, rollout="linear", states=[0, 1], horizon=30).fit(data).model_


def test_the_linear_roll_out_is_the_mean_of_the_members(data: list[Trajectory]) -> None:
    members = [one(data, seed) for seed in range(3)]
    x0, U = np.array([[0.3, -0.2], [0.5, 0.1]]), data[0].actions[:80].reshape(2, 40, 1)
    mean = np.mean([model.predict(x0, U, "linear") for model in members], axis=0)
    np.testing.assert_allclose(averaged(members).predict(x0, U, "linear"), mean, atol=1e-8)


def test_the_one_step_map_is_the_mean_of_the_members(data: list[Trajectory]) -> None:
    members = [one(data, seed) for seed in range(3)]
    x0, U = np.array([0.3, -0.2]), data[0].actions[:1]
    mean = np.mean([model.predict(x0, U, "relifted") for model in members], axis=0)
    np.testing.assert_allclose(averaged(members).predict(x0, U, "relifted"), mean, atol=1e-10)


def test_an_average_can_be_saved(data: list[Trajectory], tmp_path: Path) -> None:
    model = averaged([one(data, seed) for seed in range(2)])
    model.save(tmp_path / "model.npz")
    x0, U = np.array([0.3, -0.2]), data[0].actions[:20]
    loaded = LiftedModel.load(tmp_path / "model.npz")
    np.testing.assert_array_equal(loaded.predict(x0, U, "linear"), model.predict(x0, U, "linear"))


def test_the_estimator_averages_draws_of_its_features(data: list[Trajectory]) -> None:
    features = SampledFeatures(10, random_state=0)
    settings = {"rollout": "linear", "states": [0, 1], "horizon": 30}
    model = EDMDc(features, n_draws=3, **settings).fit(data).model_  # type: ignore[arg-type]
    again = EDMDc(features, n_draws=3, **settings).fit(data).model_  # type: ignore[arg-type]
    assert model.summary["n_draws"] == 3
    assert model.n_lifted == 3 * 13
    np.testing.assert_array_equal(model.A, again.A)
    np.testing.assert_array_equal(model.A[:13, :13], one(data, 0).A)
    assert not np.array_equal(model.A[13:26, 13:26], model.A[:13, :13])


def test_what_cannot_be_averaged_is_refused(data: list[Trajectory]) -> None:
    plain = one(data, 0)
    bilinear = EDMDc(SampledFeatures(5, random_state=0), coupling="bilinear").fit(data).model_
    other = EDMDc(SampledFeatures(5, random_state=0), rollout="linear").fit(data[:1]).model_
    with pytest.raises(ValueError, match="models is empty"):
        averaged([])
    with pytest.raises(ValueError, match=r"models\[1\] has input couplings"):
        averaged([plain, bilinear])
    with pytest.raises(ValueError, match=r"models\[1\] has other states"):
        averaged([plain, other])
    with pytest.raises(ValueError, match="only linear roll-outs can be averaged"):
        EDMDc(n_draws=2).fit(data)
    with pytest.raises(ValueError, match="partial_fit needs n_draws=1"):
        EDMDc(n_draws=2, rollout="linear").partial_fit(data)
    with pytest.raises(ValueError, match="draws nothing at random"):
        EDMDc(PolynomialFeatures(2), n_draws=2, rollout="linear").fit(data)


def test_draws_of_a_union_are_averaged(data: list[Trajectory]) -> None:
    union = FeatureUnion([SampledFeatures(5, random_state=0), PolynomialFeatures(2)])
    model = EDMDc(union, n_draws=2, rollout="linear", states=[0, 1]).fit(data).model_
    assert model.n_lifted == 2 * (3 + 5 + 3)
