"""What is public: the names in `__all__` of every room, registered environments, and methods."""

import importlib
import inspect
import pkgutil
from collections.abc import Callable, Iterator
from typing import Any

import gymnasium as gym

import koopman_control
import koopman_envs

gym.register_envs(koopman_envs)  # the import registered them; this only says that it is used

OURS = ("koopman_control", "koopman_envs")
SPELT_AS_SIGNS = ("__call__", "__getitem__", "__setitem__")
SEVERAL = (inspect.Parameter.VAR_POSITIONAL, inspect.Parameter.VAR_KEYWORD)


def public_names() -> dict[str, Any]:
    """Everything that a room or the registry of Gymnasium names, by its own name."""
    rooms = [m.name for m in pkgutil.iter_modules(koopman_control.__path__) if m.ispkg]
    modules = [*OURS, *(f"koopman_control.{room}" for room in rooms)]
    named = [(m, name) for m in modules for name in importlib.import_module(m).__all__]
    named += [entry for spec in environments() for entry in entry_points(spec)]
    return {name: getattr(importlib.import_module(module), name) for module, name in named}


def environments() -> list[gym.envs.registration.EnvSpec]:
    return [s for name, s in sorted(gym.registry.items()) if name.startswith("koopman_envs/")]


def entry_points(spec: gym.envs.registration.EnvSpec) -> list[tuple[str, str]]:
    """Module and name of the environment's class and of its vector version."""
    points = [str(spec.entry_point), str(spec.vector_entry_point)]
    return [(module, name) for module, _, name in (point.partition(":") for point in points)]


def public_callables() -> dict[str, Callable[..., Any]]:
    """Functions, classes and methods that take an argument, each by the first name found."""
    found: dict[Any, str] = {}
    for name, thing in public_names().items():
        raised = inspect.isclass(thing) and issubclass(thing, BaseException)
        if (inspect.isclass(thing) or inspect.isfunction(thing)) and not raised:
            for what, called in ((name, thing), *methods(name, thing)):
                if arguments(called):
                    found.setdefault(itself(called), what)
    return {name: called for called, name in found.items()}


def methods(name: str, kind: Any) -> Iterator[tuple[str, Any]]:
    """Public methods of a class that are written here, those it inherits included."""
    for method, called in inspect.getmembers(kind, callable) if inspect.isclass(kind) else ():
        owner = next((base for base in kind.__mro__ if method in vars(base)), object)
        ours = owner.__module__.partition(".")[0] in OURS
        # scikit-learn makes methods that call themselves by these names.
        made = method.startswith("set_") and method.endswith("_request")
        field = method in getattr(kind, "__dataclass_fields__", {})
        named = (not method.startswith("_") and not field) or method in SPELT_AS_SIGNS
        if ours and named and not made:
            yield f"{name}.{method}", called


def arguments(called: Any) -> set[str]:
    parameters = inspect.signature(called).parameters.values()
    return {p.name for p in parameters if p.kind not in SEVERAL} - {"self"}


def itself(called: Any) -> Any:
    """Return the function behind a bound method, so that what is inherited is met once."""
    return getattr(called, "__func__", called)
