"""The versions that a result depends on."""

from __future__ import annotations

import platform
from importlib.metadata import PackageNotFoundError, version

PACKAGES = (
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
    for package in PACKAGES:
        try:
            versions[package] = version(package)
        except PackageNotFoundError:
            continue
    return versions
