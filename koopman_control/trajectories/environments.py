"""Opening an environment, and refusing early what continuous control cannot use."""

from collections.abc import Mapping
from types import MappingProxyType
from typing import Any

import gymnasium as gym
import numpy as np

import koopman_envs
from koopman_control.common import Array
from koopman_control.common.border import checked

gym.register_envs(koopman_envs)  # the import registered them; this only says that it is used

Environment = gym.Env[Any, Any]
VectorEnvironment = gym.vector.VectorEnv[Any, Any, Any]

# Some environments write the largest float32 where they mean "no bound".
_UNBOUNDED = 1e37


@checked
def open_environment(
    env: Environment | str, arguments: Mapping[str, Any] = MappingProxyType({})
) -> Environment:
    """Return env itself, or make the environment of that id.

    Args:
        env: A Gymnasium environment or its id.
        arguments: For `gymnasium.make`, where it is an id.

    Raises:
        ValueError: No environment has this id.
        TypeError: It is neither an id nor a Gymnasium environment.
    """
    if isinstance(env, gym.Env):
        return env
    try:
        return gym.make(env, disable_env_checker=True, **arguments)
    except gym.error.UnregisteredEnv as error:
        raise ValueError(f"env is {env!r}, which Gymnasium does not know: {error}") from error


@checked
def require_continuous(env: Environment | VectorEnvironment) -> tuple[Array, Array]:
    """Check that env, or every copy in it, has flat real observations and a bounded action box.

    Returns:
        Bounds of observations (2, p) and actions (2, m), lows then highs; ±inf where an
        observation is unbounded.

    Raises:
        TypeError: A space is of a kind that is not supported; the message says what helps.
        ValueError: The action box is unbounded.
    """
    if isinstance(env, gym.vector.VectorEnv):
        observation_space, action_space = env.single_observation_space, env.single_action_space
    else:
        observation_space, action_space = env.observation_space, env.action_space
    observations = _flat_box("observation", observation_space)
    actions = _flat_box("action", action_space)
    if not np.isfinite(actions).all():
        raise ValueError(
            f"the action space {action_space} is unbounded; give it bounds, for example with "
            "gymnasium.wrappers.TransformAction"
        )
    return observations, actions


def _flat_box(role: str, space: gym.Space[Any]) -> Array:
    if isinstance(space, gym.spaces.Discrete | gym.spaces.MultiDiscrete | gym.spaces.MultiBinary):
        raise TypeError(
            f"the {role} space is {space}; expected a Box of real numbers: discrete {role}s are "
            "not supported, choose the continuous version of the environment if it has one"
        )
    if not isinstance(space, gym.spaces.Box):
        raise TypeError(
            f"the {role} space is {space}; expected a Box: wrap the environment, for example in "
            "gymnasium.wrappers.FlattenObservation"
        )
    if len(space.shape) != 1:
        raise TypeError(
            f"the {role} space has shape {space.shape}; expected a vector: images are not "
            "supported; flatten a small array, for example with FlattenObservation"
        )
    if space.dtype is None or space.dtype.kind != "f":
        raise TypeError(
            f"the {role} space holds {space.dtype}; expected floating-point numbers: convert them "
            f"with gymnasium.wrappers.Transform{role.capitalize()}"
        )
    bounds = np.array([space.low, space.high], dtype=np.float64)
    bounds[np.abs(bounds) > _UNBOUNDED] *= np.inf
    return bounds
