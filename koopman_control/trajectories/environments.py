"""Opening and running an environment, refusing early what continuous control cannot use."""

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from importlib import import_module
from importlib.metadata import PackageNotFoundError, version
from importlib.util import find_spec
from math import isfinite
from types import MappingProxyType
from typing import Any

import gymnasium as gym
import numpy as np

import koopman_envs
from koopman_control.common import Array
from koopman_control.common.arrays import as_array
from koopman_control.common.border import checked, shown

gym.register_envs(koopman_envs)  # the import registered them; this only says that it is used

Environment = gym.Env[Any, Any]
VectorEnvironment = gym.vector.VectorEnv[Any, Any, Any]

# Some environments write the largest float32 where they mean "no bound".
UNBOUNDED = 1e37


class EnvironmentFault(Exception):  # it is no mistake of ours
    """The environment raised, or returned what cannot be used; says where, and what it was."""


@contextmanager
def faults_as_value_errors() -> Iterator[None]:
    """Turn faults of an environment into the errors that a public function promises."""
    try:
        yield
    except EnvironmentFault as fault:
        raise ValueError(str(fault)) from fault.__cause__


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
        if env.startswith("dm_control/") and find_spec("dm_control") is None:
            raise _suite_is_broken(error) from error
        raise ValueError(f"env is {env!r}, which Gymnasium does not know: {error}") from error
    except Exception as error:
        if env.startswith("dm_control/"):
            raise _suite_is_broken(error) from error
        raise


@checked
def imported(module: str) -> None:
    """Import a module that registers environments, shimmy for instance.

    Raises:
        ImportError: It cannot be imported; the message says why, and what to do.
    """
    try:
        import_module(module)
    except (ImportError, ValueError, TypeError) as error:  # an empty or a relative name
        ours = module.partition(".")[0] in ("shimmy", "dm_control")
        remedy = "pip install 'koopman-control[suites]'" if ours else "install what it needs"
        raise ImportError(f"module {module!r} cannot be imported: {error}; {remedy}") from error


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


def _suite_is_broken(error: Exception) -> ImportError:
    """Say which version of MuJoCo the DeepMind Control Suite needs."""
    found = ", ".join(f"{name} {_version(name)}" for name in ("dm-control", "mujoco"))
    return ImportError(
        f"the DeepMind Control Suite cannot be used here ({found}): {type(error).__name__}: {error}"
        "; dm-control 1.0.50 needs mujoco 3.17 and does not work with mujoco 4.0: pip install "
        "'koopman-control[suites]' in an environment of its own, and import shimmy first "
        "(--import shimmy)"
    )


def _version(package: str) -> str:
    try:
        return version(package)
    except PackageNotFoundError:
        return "missing"


def begun(env: Environment | VectorEnvironment, seed: Any, shape: tuple[int, ...]) -> Array:
    """Reset an environment and return a copy of its first observation.

    Args:
        env: The environment.
        seed: Its seed; one for each copy in a vector environment.
        shape: Shape of the observation that its space promises.

    Raises:
        EnvironmentFault: It raised, or returned something else than an observation and an info.
    """
    place = f"at the reset with seed {seed}"
    try:
        answer: Any = env.reset(seed=seed)  # whatever the declaration says
    except Exception as error:
        raise _raised(env, place, error) from error
    if not isinstance(answer, tuple) or len(answer) != 2:
        raise EnvironmentFault(
            f"{env} gave {shown(answer)} {place}; expected the pair (observation, info): wrap an "
            "environment of the old Gym interface, for example with shimmy.GymV21CompatibilityV0"
        )
    return numbers(env, "observation", answer[0], shape, place)


def advanced(
    env: Environment, action: Any, shape: tuple[int, ...], place: str
) -> tuple[Array, float, bool, bool, Mapping[str, Any]]:
    """Let an environment do one step, and return what it says as plain numbers and copies.

    Args:
        env: The environment.
        action: The action as it takes it; it may change it, so nobody else should hold it.
        shape: Shape of the observation that its space promises.
        place: When this happens, for a message.

    Returns:
        Observation, reward, terminated, truncated and info.

    Raises:
        EnvironmentFault: It raised, or returned what is none of these.
    """
    observation, reward, terminated, truncated, info = taken(env, action, place)
    return (
        numbers(env, "observation", observation, shape, place),
        reward if type(reward) is float and isfinite(reward) else _single(env, reward, place),
        _flag(env, "terminated", terminated, place),
        _flag(env, "truncated", truncated, place),
        info,
    )


def taken(env: Environment | VectorEnvironment, action: Any, place: str) -> tuple[Any, ...]:
    """Let an environment do one step, and return its five answers, the info as a mapping."""
    try:
        answer: Any = env.step(action)
    except Exception as error:
        raise _raised(env, place, error) from error
    if not isinstance(answer, tuple) or len(answer) != 5:
        what = f"{len(answer)} values" if isinstance(answer, tuple) else shown(answer)
        raise EnvironmentFault(
            f"{env} gave {what} {place}; expected the five of Gymnasium: observation, reward, "
            "terminated, truncated, info"
        )
    info = {} if answer[4] is None else answer[4]
    if not isinstance(info, Mapping):
        raise EnvironmentFault(f"{env} gave the info {shown(info)} {place}; expected a dict")
    return (*answer[:4], info)


def numbers(
    env: Environment | VectorEnvironment,
    what: str,
    value: Any,
    shape: tuple[int, ...],
    place: str,
) -> Array:
    """Return a copy of an environment's observation, or of many rewards, as float64.

    Entries of an observation may be NaN, not measured, where `env.metadata["missing"]` says so.

    Raises:
        EnvironmentFault: They are no finite real numbers of this shape.
    """
    try:
        raw = as_array(value)
    except Exception:  # rows of unequal length, a tensor on another device, ...
        raw = np.empty(0, dtype=object)
    if raw.dtype.kind not in "fiub":
        raise EnvironmentFault(
            f"{env} gave the {what} {shown(value)} {place}; expected real numbers of shape {shape}:"
            " wrap a dict or a tuple in gymnasium.wrappers.FlattenObservation"
        )
    if raw.shape != shape:
        same = raw.size == np.prod(shape, dtype=int)
        raise EnvironmentFault(
            f"{env} gave the {what} {shown(value)} of shape {raw.shape} {place}; expected shape "
            f"{shape}, as its spaces say: "
            + ("flatten it, for example by np.ravel" if same else "correct the one or the other")
        )
    copy = np.array(raw, dtype=np.float64)
    if not np.isfinite(copy).all():
        missing = what == "observation" and (env.metadata or {}).get("missing", False)
        if not missing or np.isinf(copy).any():
            raise EnvironmentFault(
                f"{env} gave the {what} {copy.tolist()} {place}; expected finite numbers"
            )
    return copy


def _single(env: Environment, value: Any, place: str) -> float:
    """Return a reward, which may come as an array that holds one number."""
    try:
        raw = np.asarray(value)
    except Exception:
        raw = np.empty(0)
    if raw.size != 1 or raw.dtype.kind not in "fiub" or not np.isfinite(raw).all():
        raise EnvironmentFault(
            f"{env} gave the reward {shown(value)} {place}; expected one finite number"
        )
    return float(raw.item())


def _flag(env: Environment, what: str, value: Any, place: str) -> bool:
    if type(value) is bool:
        return value
    raw = np.asarray(value)
    if raw.size != 1 or raw.dtype.kind not in "biu":
        raise EnvironmentFault(f"{env} gave {what} {shown(value)} {place}; expected True or False")
    return bool(raw.item())


def _raised(env: Environment | VectorEnvironment, place: str, error: Exception) -> EnvironmentFault:
    return EnvironmentFault(f"{env} raised {type(error).__name__} {place}: {error}")


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
    bounds[np.abs(bounds) > UNBOUNDED] *= np.inf
    return bounds
