"""The one layer that checks what comes in: arguments against the annotations of what they go to.

The environments are checked by it, too, and import nothing else from here. `@checked` reads the
annotations that mypy reads, so a public function states what it takes once. It refuses wrong kinds;
ranges and shapes are checked by `arrays` where they are known.
"""

from __future__ import annotations

import difflib
import inspect
from collections.abc import Callable, Iterable, Mapping
from dataclasses import is_dataclass
from functools import cache, wraps
from importlib import import_module
from math import inf
from typing import Any, ParamSpec, TypeVar, get_type_hints

from koopman_control.common.kinds import Check, checker, fits, has_choices, in_words, is_nan

P = ParamSpec("P")
R = TypeVar("R")
LONGEST = 80  # characters of a value that a message repeats


def checked(function: Callable[P, R]) -> Callable[P, R]:
    """Let a function refuse arguments that are not what its annotations say.

    Raises:
        TypeError | ValueError: On a call: an argument is of another kind, or a text that is none
            of the choices; the message says which and what was expected.

    Example:
        >>> @checked
        ... def twice(n: int) -> int:
        ...     return 2 * n
        >>> twice("2")
        Traceback (most recent call last):
        ...
        TypeError: n is '2'; expected an integer
    """
    signature = inspect.signature(function)

    @wraps(function)
    def wrapper(*args: P.args, **kwargs: P.kwargs) -> R:
        try:
            given = signature.bind(*args, **kwargs).arguments
        except TypeError as error:
            name = function.__qualname__.removesuffix(".__init__")
            taken = ", ".join(str(p) for p in signature.parameters if p != "self")
            raise TypeError(f"{name}: {error}; it takes {taken}") from None
        _check(given, function)
        return function(*args, **kwargs)

    return wrapper


def check_fields(instance: Any, fields: Iterable[str] | None = None) -> None:
    """Check the fields of a dataclass, or the settings of an estimator, against its annotations.

    Args:
        instance: It has an attribute for each argument of its `__init__`.
        fields: Which of them; None for all.

    Raises:
        TypeError: One is of another kind; the message says which and what was expected.
    """
    kind = type(instance)
    called = kind if is_dataclass(kind) else kind.__init__
    names = _checkers(called) if fields is None else fields
    _check({name: getattr(instance, name) for name in names}, called)


class CheckedFields:
    """Base of dataclasses whose fields are checked when one is made."""

    def __post_init__(self) -> None:
        """Check every field against its annotation."""
        check_fields(self)


def require(name: str, value: Any, kind: Any) -> None:
    """Raise a TypeError unless a value is of a kind, given as an annotation.

    A text that is none of those to choose from is a ValueError, and so is NaN.
    """
    if not fits(value, kind):
        of_right_kind = (isinstance(value, str) and has_choices(kind)) or is_nan(value)
        error = ValueError if of_right_kind else TypeError
        raise error(f"{name} is {shown(value)}; expected {in_words(kind)}")


def at_least(name: str, value: float, lowest: int) -> None:
    """Raise a ValueError if a number is below the lowest, or not finite."""
    if not lowest <= value < inf:
        raise ValueError(f"{name} is {value}; expected a finite number of at least {lowest}")


def shown(value: Any) -> str:
    """Return the beginning of what a value looks like, on one line."""
    text = " ".join(repr(value).split())
    return text if len(text) <= LONGEST else f"{text[:LONGEST]} ..."


@checked
def optional_package(name: str, extra: str) -> Any:
    """Import a package that is not required, or say how to get it.

    Args:
        name: What to import.
        extra: The extra of this package that brings it along.

    Raises:
        ImportError: It is not installed; the message holds the command that installs it.
    """
    try:
        return import_module(name)
    except ImportError as error:
        raise ImportError(
            f"this needs the package {name.partition('.')[0]}, which is not installed: "
            f"pip install 'koopman-control[{extra}]'"
        ) from error


def _check(given: Mapping[str, Any], called: Any) -> None:
    checkers = _checkers(called)
    for name, value in given.items():
        if name in checkers and not checkers[name](value):
            require(name, value, _annotations(called)[name])


@cache
def _checkers(called: Any) -> dict[str, Check]:
    return {name: checker(kind) for name, kind in _annotations(called).items()}


@cache
def _annotations(called: Any) -> dict[str, Any]:
    """Resolve the annotations of the arguments that have one name and one value."""
    hints = _resolved(called)
    several = (inspect.Parameter.VAR_POSITIONAL, inspect.Parameter.VAR_KEYWORD)
    parameters = inspect.signature(called).parameters.values()
    return {p.name: hints[p.name] for p in parameters if p.name in hints and p.kind not in several}


def _resolved(called: Any) -> dict[str, Any]:
    """Resolve annotations, also where only the type checker imports a name (a cyclic import)."""
    missing: dict[str, Any] = {}
    while True:
        try:
            return get_type_hints(called, localns=missing)
        except NameError as error:
            missing[str(error.name)] = _exported(called.__module__.split("."), str(error.name))


def _exported(module: list[str], name: str) -> Any:
    """Find a name that the package, or the room of a module, exports; else anything goes."""
    for room in (module[:2], module[:1]):
        exported = import_module(".".join(room))
        if name in getattr(exported, "__all__", ()):
            return getattr(exported, name)
    return Any


def did_you_mean(given: str, names: Iterable[str]) -> str:
    """Return " Did you mean NAME?" for the name nearest to what was given, or nothing.

    Capital letters and what stands before a slash may be left out.
    """
    known = {
        spelt: name for name in names for spelt in (name.lower(), name.rpartition("/")[2].lower())
    }
    nearest = difflib.get_close_matches(given.lower(), known, n=1, cutoff=0.6)
    return f" Did you mean {known[nearest[0]]}?" if nearest else ""
