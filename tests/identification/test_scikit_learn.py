import importlib.util
import pickle
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from sklearn.base import clone
from sklearn.model_selection import GridSearchCV, KFold, cross_val_score
from sklearn.utils.validation import check_is_fitted

from koopman_control.features import SampledFeatures
from koopman_control.identification import EDMDc
from koopman_control.trajectories import HeldUniform, Trajectory, collect


def run(seed: int, n_steps: int = 30) -> Trajectory:
    """Simulate a driven pendulum in small steps."""
    rng = np.random.default_rng(seed)
    U, X = rng.uniform(-1.0, 1.0, (n_steps, 1)), [rng.normal(size=2)]
    for u in U:
        x, v = X[-1]
        X.append(np.array([x + 0.1 * v, v - 0.1 * np.sin(x) + 0.1 * u[0]]))
    return Trajectory(np.array(X), U)


DATA = [run(seed, n_steps=20 + seed) for seed in range(9)]


def settings(**changed: Any) -> EDMDc:
    features = SampledFeatures(10, steepness=0.5, random_state=0)
    return EDMDc(features, **({"regularization": 1e-10, "horizon": 10} | changed))


def test_a_clone_has_the_settings_and_not_the_fit() -> None:
    fit = settings().fit(DATA)
    copy = clone(fit)
    assert not hasattr(copy, "model_")
    assert copy.features is not fit.features
    assert repr(copy) == repr(fit)
    np.testing.assert_array_equal(copy.fit(DATA).model_.A, fit.model_.A)


def test_a_fit_leaves_the_settings_alone() -> None:
    given = settings()
    before = repr(given)
    given.fit(DATA)
    check_is_fitted(given)
    assert repr(given) == before
    assert not hasattr(given.features, "weights_")


def test_cross_validation_leaves_out_whole_trajectories() -> None:
    scores = cross_val_score(settings(), DATA, cv=KFold(3))
    assert scores.shape == (3,)
    for score, (train, test) in zip(scores, KFold(3).split(DATA), strict=True):
        fit = settings().fit([DATA[i] for i in train])
        assert score == fit.score([DATA[i] for i in test])


def test_a_grid_search_reaches_into_the_features() -> None:
    grid = {"features__n_features": [1, 20], "regularization": [1e-10, 1.0]}
    search = GridSearchCV(settings(), grid, cv=3).fit(DATA)
    assert search.best_params_ == {"features__n_features": 20, "regularization": 1e-10}
    assert search.best_estimator_.model_.summary["n_features"] == 20
    assert search.score(DATA) == search.best_estimator_.score(DATA)
    assert np.isfinite(search.cv_results_["mean_test_score"]).all()


def test_a_fit_can_be_sent_to_other_processes() -> None:
    fit = settings().fit(DATA)
    assert pickle.loads(pickle.dumps(fit)).score(DATA) == fit.score(DATA)


def test_the_search_example_improves_on_its_first_guess() -> None:
    pytest.importorskip("optuna", reason="needs pip install optuna")
    path = Path(__file__).parents[2] / "examples" / "hyperparameters.py"
    spec = importlib.util.spec_from_file_location("hyperparameters", path)
    assert spec is not None and spec.loader is not None
    example = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(example)
    data = collect("Pendulum-v1", HeldUniform(hold=(1, 10)), n_steps=400, seed=0)
    study = example.search(data, n_trials=12)
    assert len(study.trials) == 12
    assert study.best_value < 0.8 * study.trials[0].value
    again = example.search(data, n_trials=12)
    assert again.best_params == study.best_params
