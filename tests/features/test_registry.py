"""Families of feature maps that other packages add: they are saved, tested and compiled or not."""

import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from koopman_control.features import FeatureMap, SampledFeatures, families, registry
from koopman_control.features import store as feature_store
from koopman_control.identification import EDMDc, LiftedModel, compiled_roll_out
from koopman_control.trajectories import Trajectory

# Everything that it takes to add a family: this file, and an entry point.
PACKAGE = '''
import numpy as np
from koopman_control.features import FeatureMap, Neurons, register_features
from koopman_control.features.base import spread


class Steps(FeatureMap):
    """Random steps, tanh(w x + b)."""

    def __init__(self, n_features=8, random_state=0):
        self.n_features, self.random_state = n_features, random_state

    @property
    def _n_features_out(self):
        return len(self.biases_)

    def _fit(self, X, y):
        rng = np.random.default_rng(self.random_state)
        self.weights_ = rng.normal(size=(self.n_features, X.shape[1])) / spread(X)
        self.biases_ = rng.normal(size=self.n_features) - self.weights_ @ X.mean(axis=0)

    def values(self, X):
        return np.tanh(X @ self.weights_.T + self.biases_)

    def derivatives(self, X):
        return (1.0 - self.values(X) ** 2)[..., None] * self.weights_

    def compiled_form(self):
        return [Neurons(self.weights_, self.biases_, "tanh")]


register_features(Steps, [Steps(), Steps(3, 1)], compiled=True)
'''
ENTRY_POINTS = "[koopman_control.features]\nsteps = their_steps\n"


@pytest.fixture
def package(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """Install a package with a family of its own, and forget it afterwards."""
    known = dict(families())  # without the package
    (tmp_path / "their_steps.py").write_text(PACKAGE)
    facts = tmp_path / "their_steps-1.0.dist-info"
    facts.mkdir()
    (facts / "METADATA").write_text("Metadata-Version: 2.1\nName: their-steps\nVersion: 1.0\n")
    (facts / "entry_points.txt").write_text(ENTRY_POINTS)
    monkeypatch.syspath_prepend(str(tmp_path))
    monkeypatch.setattr(registry, "_known", known)
    registry._load.cache_clear()
    yield tmp_path
    sys.modules.pop("their_steps", None)


def runs() -> list[Trajectory]:
    """Runs of a damped pendulum."""
    rng, data = np.random.default_rng(0), []
    for _ in range(4):
        x, X, U = rng.uniform([-3, -6], [3, 6]), [], rng.uniform(-1, 1, (100, 1))
        for u in U:
            X.append(x)
            x = x + 0.05 * np.array([x[1], -4.0 * np.sin(x[0]) - 0.2 * x[1] + 2.0 * u[0]])
        data.append(Trajectory(np.array([*X, x]), U, dt=0.05))
    return data


def test_a_family_of_another_package_is_found_saved_and_compiled(package: Path) -> None:
    family = families()["Steps"]
    assert (family.compiled, family.saved, len(family.examples)) == (True, True, 2)
    model = EDMDc(family.examples[0], regularization=1e-6, n_folds=0).fit(runs()).model_
    model.save(package / "model.npz")
    loaded = LiftedModel.load(package / "model.npz")
    assert type(loaded.features).__module__ == "their_steps"
    x0, U = np.array([0.5, 0.1]), 0.3 * np.ones((20, 1))
    np.testing.assert_array_equal(loaded.predict(x0, U), model.predict(x0, U))
    pytest.importorskip("numba", reason="compiled roll-outs need the extra 'fast'")
    fast = compiled_roll_out(loaded.one_step)
    assert fast is not None
    np.testing.assert_allclose(fast.predicted(x0, U[None])[0], model.predict(x0, U), atol=1e-12)


def test_a_file_of_a_package_that_is_missing_says_so(
    package: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    features = families()["Steps"].examples[0].fit(np.eye(3))
    settings, arrays = feature_store.describe_features(features)
    monkeypatch.setattr(registry, "_known", {"SampledFeatures": families()["SampledFeatures"]})
    with pytest.raises(ValueError, match=r"class 'Steps'; expected \['SampledFeatures'\].*install"):
        feature_store.rebuild_features(settings, arrays)


def test_a_package_that_cannot_be_imported_is_left_out(package: Path) -> None:
    (package / "their_steps.py").write_text("import no_such_package\n")
    with pytest.warns(UserWarning, match="features 'steps' of their_steps cannot be imported"):
        known = families()
    assert "Steps" not in known
    assert "SampledFeatures" in known


class Unknown(SampledFeatures):
    """A class that nobody registers."""


def impostor() -> type[FeatureMap]:
    """Return another class of a name that is taken."""

    class FourierFeatures(SampledFeatures):
        pass

    return FourierFeatures


class Wavy(FeatureMap):
    """A class without a compiled form."""


ABSTRACT: Any = Wavy
WAVY: Any = object.__new__(ABSTRACT)


@pytest.mark.parametrize(
    ("kind", "examples", "error", "message"),
    [
        (Unknown, [], ValueError, "examples of Unknown is empty"),
        (Unknown, [SampledFeatures(3)], TypeError, "examples of Unknown hold SampledFeatures"),
        (impostor(), [impostor()()], ValueError, "FourierFeatures are known already"),
        (ABSTRACT, [WAVY], ValueError, "Wavy defines no compiled_form"),
    ],
)
@pytest.mark.usefixtures("package")
def test_what_is_no_family_is_refused(
    kind: Any, examples: Any, error: type[Exception], message: str
) -> None:
    families()
    with pytest.raises(error, match=message):
        registry.register_features(kind, examples, compiled=True)
    assert "Unknown" not in families()
