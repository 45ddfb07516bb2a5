"""Stored returns of reference controllers that know the true model, one per reset seed."""

from __future__ import annotations

import json
from collections.abc import Sequence
from functools import cache
from importlib import resources
from typing import Any

import numpy as np
from numpy.typing import ArrayLike

from koopman_control.common import Array
from koopman_control.common.border import checked


@cache
def _stored() -> dict[str, Any]:
    text = resources.files("koopman_control.tasks").joinpath("references.json").read_text("utf-8")
    stored: dict[str, Any] = json.loads(text)
    return stored


@checked
def reference_returns(env_id: str, seeds: Sequence[int]) -> tuple[str, Array] | None:
    """Look up the true-model reference on given reset seeds.

    Args:
        env_id: Gymnasium id.
        seeds: Reset seeds.

    Returns:
        The reference's name and its return per seed, or None unless all seeds are stored.
    """
    return _returns(env_id, "reference", seeds)


def random_returns(env_id: str, seeds: Sequence[int]) -> Array | None:
    """Look up what random actions return per reset seed; None unless all seeds are stored."""
    found = _returns(env_id, "random", seeds)
    return None if found is None else found[1]


@checked
def normalised_score(env_id: str, returns: ArrayLike, seeds: Sequence[int]) -> float | None:
    """Place a controller on a scale from random actions (0) to the true-model reference (1).

    Args:
        env_id: Gymnasium id.
        returns: The controller's return on each seed, shape (len(seeds),).
        seeds: Reset seeds.

    Returns:
        (J - J_random) / (J_reference - J_random) with J the mean return over the seeds, or None
        unless reference and random returns are stored for all of them.

    Raises:
        ValueError: There is not one return for each seed.
    """
    own = np.asarray(returns, dtype=np.float64)
    if own.shape != (len(seeds),):
        raise ValueError(
            f"returns has shape {own.shape}; expected one return for each of the {len(seeds)} seeds"
        )
    best, floor = _returns(env_id, "reference", seeds), _returns(env_id, "random", seeds)
    if best is None or floor is None:
        return None
    lowest = floor[1].mean()
    return float((own.mean() - lowest) / (best[1].mean() - lowest))


def _returns(env_id: str, kind: str, seeds: Sequence[int]) -> tuple[str, Array] | None:
    entry = _stored().get(env_id, {}).get(kind)
    if entry is None or not all(str(seed) in entry["returns"] for seed in seeds):
        return None
    return entry["name"], np.array([entry["returns"][str(seed)] for seed in seeds])
