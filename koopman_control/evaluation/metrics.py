"""The metrics of a run as plain data: strict JSON, and the versions that produced them."""

import json
import math
import platform
from collections.abc import Mapping
from importlib.metadata import PackageNotFoundError, version
from typing import Any

import numpy as np

from koopman_control.common.border import checked

_PACKAGES = (
    "koopman-control",
    "numpy",
    "scipy",
    "cvxpy",
    "clarabel",
    "osqp",
    "daqp",
    "scikit-learn",
    "numba",
    "gymnasium",
    "mujoco",
)


def package_versions() -> dict[str, str]:
    """Return the versions of Python and of the packages a result depends on, where installed."""
    versions = {"python": platform.python_version()}
    for package in _PACKAGES:
        try:
            versions[package] = version(package)
        except PackageNotFoundError:
            continue
    return versions


def plain(value: Any) -> Any:
    """Turn a value into what JSON knows: NumPy to Python, NaN and infinity to None.

    Anything else that JSON lacks (a dataclass, a path, a type) becomes its text, so that settings
    can be stored as they are.
    """
    if value is None or isinstance(value, bool | str | int):
        return value
    if isinstance(value, Mapping):
        return {str(key): plain(item) for key, item in value.items()}
    if isinstance(value, list | tuple | range | set | frozenset):
        return [plain(item) for item in value]
    if isinstance(value, np.ndarray | np.generic):
        return plain(value.tolist())
    if isinstance(value, float):
        return value if math.isfinite(value) else None
    return str(value)


@checked
def metrics_json(metrics: Mapping[str, Any]) -> str:
    """Return the metrics as strict JSON text: no NaN, keys in the order given."""
    return json.dumps(plain(metrics), indent=2, ensure_ascii=False, allow_nan=False) + "\n"
