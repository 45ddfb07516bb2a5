"""Copies of an environment for other processes, which have to behave as it does itself.

What an environment is made of beside its `spec` (the statistics of a wrapper, a changed mass) is
lost where it is made anew. So all of its attributes travel, if they can; whether a copy is like the
environment is seen by the first steps of one episode, or many of them where not all travels.
"""

from __future__ import annotations

import copyreg
import io
from collections.abc import Callable
from contextlib import closing
from dataclasses import dataclass
from functools import partial
from typing import Any

import cloudpickle
import gymnasium as gym
import numpy as np
from gymnasium.utils import EzPickle
from threadpoolctl import threadpool_limits

from koopman_control.common.arrays import Array
from koopman_control.common.workers import WorkerLostError, in_processes
from koopman_control.trajectories.environments import (
    Environment,
    advanced,
    begun,
    faults_as_value_errors,
    require_continuous,
)

# Steps in which the environment is compared with a copy of all of it, and with another.
STEPS, MANY = 3, 200
SHARE = 0.75  # of the action box, from low to high: where it acts, and not in the middle
ALIKE = 1e-9  # relative difference up to which they are


@dataclass(frozen=True)
class Recipe:
    """How another process makes a copy: from these bytes, or else from the spec."""

    pickled: bytes | None = None
    spec: Any = None

    def environment(self) -> Environment:
        """Make the copy."""
        if self.pickled is not None:
            copy: Environment = cloudpickle.loads(self.pickled)
            return copy
        return gym.make(self.spec, disable_env_checker=True)


def recipe_for(env: Environment, seed: int, workers: int) -> Recipe:
    """Find out how an environment can be copied, and see in another process that it was.

    It is reset for that, and does a few steps.

    Args:
        env: The environment.
        seed: Of the episode that is compared.
        workers: Number of processes that will be used.

    Raises:
        ValueError: There is no way to copy it, or what it does depends on more than the seed.
    """
    ways: list[tuple[str, int, Callable[[], Recipe]]] = [
        ("copied whole", STEPS, lambda: Recipe(pickled=_whole(env))),
        ("copied in its own way", MANY, lambda: Recipe(pickled=cloudpickle.dumps(env))),
    ]
    if env.spec is not None:
        ways.append(("made anew from its spec", MANY, lambda: Recipe(spec=env.spec)))
    recipes, reasons = [], []
    for how, steps, make in ways:
        try:
            recipes.append((how, steps, make()))
        except Exception as error:
            reasons.append(f"it cannot be {how}: {error}")
    if not _alike(_beginning(env, seed, STEPS), _beginning(env, seed, STEPS)):
        raise ValueError(
            f"{env} begins otherwise when it is reset with seed {seed} once more, so several "
            "workers would not find what one finds; freeze what it keeps between episodes (for a "
            "NormalizeObservation: env.update_running_mean = False), draw random numbers from "
            "its np_random only, or use workers=1"
        )
    for how, steps, recipe in recipes:
        ask = partial(_beginning_of_copy, seed=seed, steps=steps)
        ((_, answer),) = in_processes(ask, [recipe], workers)
        if isinstance(answer, WorkerLostError):
            answer = str(answer)
        if not isinstance(answer, str) and _alike(_beginning(env, seed, steps), answer):
            return recipe
        trouble = answer if isinstance(answer, str) else "it behaves otherwise"
        reasons.append(f"where it is {how}, {trouble}")
    raise ValueError(
        f"{env} cannot be given to other processes as it is: {'; '.join(reasons)}. Use workers=1, "
        "or register an environment that is made with all its settings, and pass its id"
    )


class _Pickler(cloudpickle.CloudPickler):  # type: ignore[misc]
    """Keeps the attributes of environments that would say what they were made with only."""

    def reducer_override(self, item: Any) -> Any:
        if isinstance(item, gym.Env) and isinstance(item, EzPickle):
            kind = type(item)
            return copyreg.__newobj__, (kind,), dict(vars(item)), None, None, _filled  # type: ignore[attr-defined]
        return super().reducer_override(item)


def _filled(item: Any, attributes: dict[str, Any]) -> None:
    vars(item).update(attributes)


def _whole(env: Environment) -> bytes:
    buffer = io.BytesIO()
    _Pickler(buffer).dump(env)
    return buffer.getvalue()


@faults_as_value_errors()
def _beginning(env: Environment, seed: int, steps: int) -> list[Array]:
    """Return the first observations and rewards of an episode under a constant action."""
    observable, (low, high) = require_continuous(env)
    shape = observable.shape[1:]
    seen = [begun(env, seed, shape)]
    for step in range(steps):
        action = (low + SHARE * (high - low)).astype(env.action_space.dtype)
        place = f"in step {step} of the episode with seed {seed}, where copies are compared"
        observation, reward, terminated, truncated, _ = advanced(env, action, shape, place)
        seen += [observation, np.array([reward, terminated, truncated])]
        if terminated or truncated:
            break
    return seen


def _beginning_of_copy(recipe: Recipe, seed: int, steps: int) -> list[Array] | str:
    """Return the same of a copy, or what is wrong with it; in another process."""
    try:
        with threadpool_limits(limits=1), closing(recipe.environment()) as env:
            return _beginning(env, seed, steps)
    except Exception as error:
        return f"it fails with {type(error).__name__}: {error}"


def _alike(one: list[Array], other: list[Array]) -> bool:
    return len(one) == len(other) and all(
        np.allclose(a, b, rtol=ALIKE, atol=0.0) for a, b in zip(one, other, strict=True)
    )
