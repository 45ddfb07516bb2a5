"""Fields of settings groups given by themselves: `S=0.1` for `cost=Cost(S=0.1)`."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import fields, replace
from functools import wraps
from typing import Any, NamedTuple, ParamSpec, TypeVar

P = ParamSpec("P")
R = TypeVar("R")


class Field(NamedTuple):
    """A field of a group of settings.

    Args:
        argument: The argument that takes the group.
        group: Its class, a dataclass whose fields all have defaults.
        name: Name of the field.
    """

    argument: str
    group: type[Any]
    name: str


def fields_of(argument: str, group: type[Any], **others: str) -> dict[str, Field]:
    """Let the fields of a group be given by themselves.

    Args:
        argument: The argument that takes the group.
        group: Its class.
        **others: Fields that go by another name outside of the group: `rates="rate_bounds"`; ""
            for those that do not.
    """
    names = {f.name: others.get(f.name, f.name) for f in fields(group)}
    return {outside: Field(argument, group, name) for name, outside in names.items() if outside}


def takes_fields(known: Mapping[str, Field]) -> Callable[[Callable[P, R]], Callable[P, R]]:
    """Let a function that takes settings in groups take their fields by themselves, too.

    Args:
        known: Fields by the names they are given under.

    Raises:
        TypeError | ValueError: On a call: a group is none, or a field is given twice.

    Example:
        >>> from dataclasses import dataclass
        >>> @dataclass(frozen=True)
        ... class Bounds:
        ...     rates: float = 0.0
        >>> @takes_fields(fields_of("bounds", Bounds, rates="rate_bounds"))
        ... def controller(bounds: Bounds | None = None) -> Bounds:
        ...     return bounds or Bounds()
        >>> controller(rate_bounds=0.2)
        Bounds(rates=0.2)
    """

    def decorated(function: Callable[P, R]) -> Callable[P, R]:
        @wraps(function)
        def wrapper(*args: P.args, **kwargs: P.kwargs) -> R:
            given = [name for name in kwargs if name in known]
            if given:
                kwargs.update(_grouped({name: kwargs.pop(name) for name in given}, kwargs, known))
            return function(*args, **kwargs)

        return wrapper

    return decorated


def _grouped(
    given: Mapping[str, Any], beside: Mapping[str, Any], known: Mapping[str, Field]
) -> dict[str, Any]:
    """Put fields into the groups that are given beside them, or new ones."""
    groups: dict[str, Any] = {}
    for outside, value in given.items():
        argument, kind, name = known[outside]
        group = groups.get(argument, beside.get(argument))
        if group is None:
            group = kind()
        elif not isinstance(group, kind):
            raise TypeError(
                f"{argument} is {group!r}; expected {kind.__name__}, since {outside} is short for "
                f"{argument}={kind.__name__}({name}=...)"
            )
        elif getattr(group, name) is not getattr(kind(), name):
            raise ValueError(
                f"{outside} is given twice, as {outside}= and in "
                f"{argument}={kind.__name__}({name}=...); give it once"
            )
        groups[argument] = replace(group, **{name: value})
    return groups
