"""One row of the table: a public callable with arguments that are right."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from tests.border import parts


@dataclass(frozen=True)
class Row:
    """A callable and its good arguments.

    Args:
        name: Public name, with a method's after a dot; what is no public name is tried as well.
        call: Takes the arguments by name.
        good: Makes the good arguments.
    """

    name: str
    call: Callable[..., Any]
    good: Callable[[], dict[str, Any]]

    def meant(self, public: Mapping[str, Any]) -> list[Any]:
        """The public callable of that name, if it is one."""
        name, _, method = self.name.partition(".")
        thing = public.get(name)
        found = getattr(thing, method, None) if method else thing
        return [] if found is None else [found]


def fields(**good: Any) -> Callable[[], dict[str, Any]]:
    return lambda: good


def fit_settings(kind: Any, good: dict[str, Any]) -> Row:
    """An estimator says what is wrong with its settings when it is fitted."""
    return Row(kind.__name__, lambda **k: kind(**k).fit(parts.states()), lambda: good)


def points(kind: Any, method: str, **settings: Any) -> Row:
    def call(**arguments: Any) -> Any:
        return getattr(kind(**settings).fit(parts.states()), method)(**arguments)

    return Row(f"{kind.__name__}.{method}", call, lambda: {"X": parts.states()})


def saved(save: Callable[[], Any], path: str) -> str:
    save()
    return path
