"""The families of feature maps there are: those of this package and those that others register.

A registered family can be saved with a model, is tested like the others (`examples`), and says
whether the compiled roll-outs know it. A package of its own registers its families when it is
imported, and names the module that does in its `pyproject.toml`:

    [project.entry-points."koopman_control.features"]
    wavelets = "my_package.wavelets"
"""

from __future__ import annotations

import pkgutil
import warnings
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from importlib import import_module
from importlib.metadata import entry_points
from types import MappingProxyType

from koopman_control.common.border import checked
from koopman_control.features.base import FeatureMap

GROUP = "koopman_control.features"

_known: dict[str, Family] = {}


@dataclass(frozen=True)
class Family:
    """A family of feature maps.

    Args:
        kind: The class; its name stands in the files of models.
        examples: Unfitted maps that show all it can do.
        compiled: Whether the compiled roll-outs know the examples, by `FeatureMap.compiled_form`;
            otherwise they run in NumPy.
        saved: Whether files can hold it; not if it holds code.
    """

    kind: type[FeatureMap]
    examples: tuple[FeatureMap, ...]
    compiled: bool
    saved: bool


@checked
def register_features(
    kind: type[FeatureMap],
    examples: Sequence[FeatureMap],
    *,
    compiled: bool,
    saved: bool = True,
) -> None:
    """Make a family of feature maps known.

    Args:
        kind: The class; one that is registered already is replaced by itself.
        examples: Unfitted maps that show all it can do; the tests of families run them.
        compiled: Whether the compiled roll-outs know them all, by `FeatureMap.compiled_form`; if
            not, models with them roll out in NumPy.
        saved: Whether files can hold it: settings that JSON knows and arrays whose names end in an
            underscore. Not if it holds code.

    Raises:
        TypeError: If an example is of another class.
        ValueError: If there is no example, another class of that name is known, or a class without
            `compiled_form` claims to be compiled.

    Example:
        >>> register_features(Wavelets, [Wavelets(8)], compiled=False)  # doctest: +SKIP
    """
    name, known = kind.__name__, _known.get(kind.__name__)
    if known is not None and _path(known.kind) != _path(kind):
        raise ValueError(
            f"kind is {_path(kind)}, but features called {name} are known already, "
            f"{_path(known.kind)}; expected another name, as files of models hold it"
        )
    if not examples:
        raise ValueError(f"examples of {name} is empty; expected at least one map, for tests")
    for example in examples:
        if type(example) is not kind:
            raise TypeError(f"examples of {name} hold {example!r}; expected maps of that class")
    if compiled and kind.compiled_form is FeatureMap.compiled_form:
        raise ValueError(f"compiled is True, but {name} defines no compiled_form; expected False")
    _known[name] = Family(kind, tuple(examples), compiled, saved)


def families() -> Mapping[str, Family]:
    """Return all families by name: of this package, of installed ones, and registered by hand."""
    _load()
    return MappingProxyType(_known)


@cache
def _load() -> None:
    """Import what registers families; a package that cannot be imported is left out."""
    folder = __name__.rpartition(".")[0]
    for module in pkgutil.iter_modules(import_module(folder).__path__):
        import_module(f"{folder}.{module.name}")
    for entry in entry_points(group=GROUP):
        try:
            entry.load()
        except Exception as error:  # somebody else's code; models without it must still load
            warnings.warn(
                f"the features {entry.name!r} of {entry.value} cannot be imported: "
                f"{type(error).__name__}: {error}; repair or remove that package",
                UserWarning,
                stacklevel=3,
            )


def _path(kind: type) -> str:
    return f"{kind.__module__}.{kind.__qualname__}"
