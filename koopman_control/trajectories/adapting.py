"""Environments as continuous control wants them: a vector of observations, a bounded box of inputs.

Dicts and tuples are flattened and keep their names, an input without bounds gets some, and episodes
without an end get one. Pictures and discrete actions are refused: there is nothing to adapt.
"""

from __future__ import annotations

import warnings
from collections.abc import Iterator, Sequence
from itertools import product
from typing import Any

import gymnasium as gym
import numpy as np
from gymnasium.spaces.utils import flatten, flatten_space, unflatten
from gymnasium.wrappers import TimeLimit, TransformAction

from koopman_control.common import positive_int
from koopman_control.common.border import checked
from koopman_control.trajectories.environments import UNBOUNDED, Environment, open_environment

LARGEST = 2000  # numbers in an observation; more are a picture, or as hopeless as one
SYMBOLS = (gym.spaces.Discrete, gym.spaces.MultiDiscrete, gym.spaces.MultiBinary)
ASSUMED = 1.0  # bound of an input that has none, in its own units


class FlatObservation(
    gym.ObservationWrapper[Any, Any, Any], gym.utils.RecordConstructorArgs
):  # the second lets its spec make it anew
    """Observations as one vector, with a name for each number of a dict or a tuple.

    Args:
        env: The environment.

    Attributes:
        observation_names: One name per number, such as "velocity[1]".
    """

    def __init__(self, env: Environment) -> None:
        gym.utils.RecordConstructorArgs.__init__(self)
        super().__init__(env)
        space = flatten_space(env.observation_space)
        assert isinstance(space, gym.spaces.Box)
        self.observation_space = gym.spaces.Box(
            space.low.astype(np.float64), space.high.astype(np.float64), dtype=np.float64
        )
        self.observation_names = tuple(_names(env.observation_space))

    def observation(self, observation: Any) -> Any:
        """Flatten one observation."""
        return np.asarray(flatten(self.env.observation_space, observation), dtype=np.float64)


@checked
def adapted(env: Environment | str, max_episode_steps: int | None = None) -> Environment:
    """Return an environment with a vector of observations and a bounded vector of inputs.

    What is as it should be already is returned as it is.

    Args:
        env: A Gymnasium environment or its id; "module:Name-v0" imports the module first.
        max_episode_steps: Where to cut episodes; None leaves that to the environment.

    Returns:
        The environment, with as few wrappers as it takes. Observations of a dict or a tuple have
        their names in the attribute `observation_names`, and so have trajectories collected in it.

    Raises:
        TypeError: Observations are pictures or symbols, or actions are discrete.
        UserWarning: An input has no bounds, so that -1 to 1 are assumed.

    Example:
        >>> adapted("Pendulum-v1", max_episode_steps=50).spec.max_episode_steps
        50
    """
    made = open_environment(env)
    _require_numbers("observation", made.observation_space)
    _require_numbers("action", made.action_space)
    made = _with_bounded_inputs(made)
    space = made.observation_space
    plain = isinstance(space, gym.spaces.Box) and len(space.shape) == 1
    if not plain or space.dtype is None or space.dtype.kind != "f":
        made = FlatObservation(made)
    if max_episode_steps is not None:
        made = TimeLimit(made, positive_int("max_episode_steps", max_episode_steps))
    return made


def observation_names(env: Environment, size: int) -> tuple[str, ...] | None:
    """Return the names that an environment, or a wrapper of it, has for its observation."""
    try:
        names = env.get_wrapper_attr("observation_names")
    except AttributeError:
        return None
    usable = isinstance(names, Sequence) and len(names) == size
    return tuple(str(name) for name in names) if usable else None


def _require_numbers(role: str, space: gym.Space[Any]) -> None:
    """Refuse a space, or a part of one, that no flattening makes a vector of real numbers of."""
    for name, part in _parts(space):
        where = f"its part {name!r}" if name else "it"
        if isinstance(part, SYMBOLS):
            if role == "action" or not name:
                raise TypeError(
                    f"the {role} space is {_short(space)}; expected real numbers, and {where} is "
                    f"discrete: discrete {role}s are not supported, choose the continuous version "
                    "of the environment if it has one"
                )
        elif not isinstance(part, gym.spaces.Box):
            raise TypeError(
                f"the {role} space is {_short(space)}; expected real numbers, and {where} is a "
                f"{type(part).__name__}: turn it into numbers with a wrapper"
            )
        elif len(part.shape) > 2 or part.dtype == np.uint8 or np.prod(part.shape) > LARGEST:
            raise TypeError(
                f"the {role} space is {_short(space)}; expected a vector of measured numbers, and "
                f"{where} is a picture of shape {part.shape}: images are not supported, choose "
                "the version of the environment that tells its state"
            )


def _short(space: gym.Space[Any]) -> str:
    text = " ".join(str(space).split())
    return text if len(text) <= 120 else f"{text[:120]} ..."


def _parts(space: gym.Space[Any], name: str = "") -> Iterator[tuple[str, gym.Space[Any]]]:
    """Go through the plain spaces that a space is made of, in the order of `flatten`."""
    if isinstance(space, gym.spaces.Dict):
        for key, part in space.spaces.items():
            yield from _parts(part, f"{name}.{key}" if name else str(key))
    elif isinstance(space, gym.spaces.Tuple):
        for i, part in enumerate(space.spaces):
            yield from _parts(part, f"{name}.{i}" if name else str(i))
    else:
        yield name, space


def _names(space: gym.Space[Any]) -> Iterator[str]:
    """Name every number of a flattened space: "height", "velocity[1]", "grid[0,1]"."""
    for name, part in _parts(space):
        size = int(np.prod(flatten_space(part).shape or (1,)))
        shape = part.shape if isinstance(part, gym.spaces.Box) else (size,)
        if size == 1 and name:
            yield name
            continue
        for index in product(*(range(n) for n in shape or ())):
            yield f"{name or 'y'}[{','.join(map(str, index))}]"


def _with_bounded_inputs(env: Environment) -> Environment:
    """Flatten the action space if it is no vector, and give it bounds where it has none."""
    nested = env.action_space
    space = flatten_space(nested)
    assert isinstance(space, gym.spaces.Box)
    low, high = space.low.astype(np.float64), space.high.astype(np.float64)
    free_below, free_above = ~(low > -UNBOUNDED), ~(high < UNBOUNDED)
    if (free_below | free_above).any():
        warnings.warn(
            f"the action space {_short(nested)} has inputs without bounds; {-ASSUMED:g} and "
            f"{ASSUMED:g} are assumed where there is none: give it others, for example with "
            "gymnasium.wrappers.TransformAction",
            UserWarning,
            stacklevel=4,
        )
        below = np.minimum(-ASSUMED, np.where(free_above, 0.0, high) - ASSUMED)
        low = np.where(free_below, below, low)
        high = np.where(free_above, np.maximum(ASSUMED, low + ASSUMED), high)
    elif isinstance(nested, gym.spaces.Box) and len(nested.shape) == 1 and nested.dtype.kind == "f":
        return env
    box = gym.spaces.Box(low, high, dtype=np.float64)
    return TransformAction(env, lambda action: unflatten(nested, action), box)
