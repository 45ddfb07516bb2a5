"""Other draws of the same random features."""

from __future__ import annotations

from sklearn.base import clone
from sklearn.utils import check_random_state

from koopman_control.features.base import FeatureMap

DISTANCE = 100_003  # between the seeds of successive draws


def seed_names(features: FeatureMap) -> list[str]:
    """Name the settings that seed a feature map, also those of the maps it is made of."""
    names = features.get_params(deep=True)
    return sorted(name for name in names if name.split("__")[-1] == "random_state")


def redrawn(features: FeatureMap, k: int) -> FeatureMap:
    """Return an unfitted copy with other seeds, the same for the same k.

    Raises:
        ValueError: If nothing about the features is random.
    """
    names, settings = seed_names(features), features.get_params(deep=True)
    if not names:
        raise ValueError(
            f"features holds {features!r}, which draws nothing at random, so no two draws differ; "
            "expected features with a random_state for n_draws > 1"
        )
    copy: FeatureMap = clone(features)
    copy.set_params(**{name: _seed(settings[name]) + DISTANCE * k for name in names})
    return copy


def _seed(given: object) -> int:
    """Return the seed meant by a `random_state`; None counts as 0."""
    if given is None or isinstance(given, int):
        return given or 0
    return int(check_random_state(clone(given, safe=False)).randint(2**31 - 1))
