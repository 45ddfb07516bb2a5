"""Whether a value is of the kind that an annotation states, and the annotation in plain words."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from collections.abc import Iterable as AbstractIterable
from types import NoneType, UnionType
from typing import Any, Literal, TypeVar, Union, get_args, get_origin

import numpy as np
from numpy.typing import ArrayLike, NDArray

WORDS = {
    int: "an integer",
    float: "a number",
    bool: "True or False",
    str: "a text",
    NoneType: "None",
    ArrayLike: "an array of real numbers",
    NDArray[np.complex128]: "an array of complex numbers",
    NDArray[np.datetime64]: "an array of dates",
    NDArray[np.bool_]: "an array of True and False",
}
# What to give instead, by the name of a class: by name, since classes import this.
EXAMPLES = {
    "Callable": "a function",
    "Env": "a gymnasium.Env",
    "Mapping": "a mapping such as a dict",
    "Controller": "an object with reset() and act(observation)",
    "EDMDc": "an EDMDc(...)",
    "FeatureMap": "a feature map such as SampledFeatures(100)",
    "LiftedModel": "a LiftedModel, such as EDMDc(...).fit(data).model_",
    "Signal": "an input signal such as HeldUniform(5)",
    "Trajectory": "a Trajectory(observations, actions)",
}


Check = Callable[[Any], bool]


def fits(value: Any, kind: Any) -> bool:
    """Tell whether a value is of a kind; what an annotation leaves open passes."""
    return checker(kind)(value)


def checker(kind: Any) -> Check:
    """Return what tells whether values are of a kind.

    An annotation is looked through once, not for every value: that took most of the time of making
    a `Trajectory`.
    """
    if kind in CHECKS:
        return CHECKS[kind]
    kind = _spelt_out(kind)
    origin, parts = get_origin(kind), get_args(kind)
    if origin in (Union, UnionType):
        return _any_of([checker(part) for part in _choices(parts)])
    if origin is Literal:
        return lambda value: any(value is one or _equal_texts(value, one) for one in parts)
    if origin is tuple and Ellipsis not in parts:
        return _entry_by_entry([checker(part) for part in parts])
    if origin in (Sequence, tuple, list):
        entry = checker(parts[0])
        return lambda value: _is_row(value) and all(map(entry, value))
    if isinstance(kind, TypeVar) or kind is Any:
        return lambda value: True
    if origin in (Mapping, dict):
        return _mapping(origin, *map(checker, parts))
    if origin is AbstractIterable:
        return _iterable(checker(parts[0]))
    wanted = origin or kind
    return lambda value: isinstance(value, wanted)


def _any_of(checks: Sequence[Check]) -> Check:
    def check(value: Any) -> bool:
        for one in checks:  # half of the time of any(...)
            if one(value):
                return True
        return False

    return check


def _entry_by_entry(checks: Sequence[Check]) -> Check:
    def check(value: Any) -> bool:
        same = isinstance(value, (tuple, list)) and len(value) == len(checks)
        return same and all(own(entry) for own, entry in zip(checks, value, strict=True))

    return check


def _mapping(origin: type, key: Check, entry: Check) -> Check:
    def check(value: Any) -> bool:
        if not isinstance(value, origin):
            return False
        pairs: Any = value
        return all(key(name) and entry(one) for name, one in pairs.items())

    return check


def _iterable(entry: Check) -> Check:
    def check(value: Any) -> bool:
        entries = value if _is_row(value) else ()  # an iterator is not used up by looking at it
        open_to_all = isinstance(value, AbstractIterable) and not isinstance(value, (str, bytes))
        return open_to_all and all(map(entry, entries))

    return check


def in_words(kind: Any) -> str:
    """Say what values of a kind are."""
    if kind in WORDS:
        return WORDS[kind]
    kind = _spelt_out(kind)
    origin, parts = get_origin(kind), get_args(kind)
    if origin in (Union, UnionType):
        words = list(dict.fromkeys(in_words(part) for part in _choices(parts)))
        return words[0] if len(words) == 1 else f"{', '.join(words[:-1])} or {words[-1]}"
    if origin is Literal:
        return f"one of {', '.join(map(str, parts))}" if len(parts) > 1 else repr(parts[0])
    if origin is np.ndarray:
        return WORDS[ArrayLike]
    if origin is tuple and Ellipsis not in parts:
        return f"a tuple ({', '.join(map(in_words, parts))})"
    if origin in (Sequence, tuple, list, AbstractIterable):
        return f"a sequence with {in_words(parts[0])} for each entry"
    if origin in (Mapping, dict) and parts[1] is not Any:
        return f"{EXAMPLES['Mapping']}, with {in_words(parts[1])} for each name"
    name = getattr(origin or kind, "__name__", str(kind))
    return EXAMPLES.get(name, f"{'an' if name[0] in 'AEIO' else 'a'} {name}")


def _spelt_out(kind: Any) -> Any:
    """Replace a name made by a `type` statement, as NumPy's are from 2.5 on, by what it names."""
    alias = get_origin(kind) or kind
    meant = getattr(alias, "__value__", None)
    if meant is None:
        return kind
    return meant if alias is kind else meant[get_args(kind)]


def has_choices(kind: Any) -> bool:
    """Tell whether a kind names texts to choose from."""
    texts = get_origin(kind) is Literal and any(isinstance(part, str) for part in get_args(kind))
    return texts or any(map(has_choices, get_args(kind)))


def _choices(parts: tuple[Any, ...]) -> list[Any]:
    """List the choices of a union, in which older NumPy's `ArrayLike` is dissolved into its own."""
    own = get_args(ArrayLike)
    if not own or not set(own) <= set(parts):
        return list(parts)
    return [ArrayLike, *(part for part in parts if part not in own)]


def _is_int(value: Any) -> bool:
    return isinstance(value, (int, np.integer)) and not isinstance(value, bool)


def is_nan(value: Any) -> bool:
    """Tell whether a value is a single NaN."""
    return isinstance(value, (float, np.floating)) and math.isnan(value)


def _is_number(value: Any) -> bool:
    real = isinstance(value, (int, float, np.integer, np.floating)) and not isinstance(value, bool)
    return real and not is_nan(value)


def _is_bool(value: Any) -> bool:
    return isinstance(value, (bool, np.bool_))


def _is_array(value: Any, letters: str) -> bool:
    try:
        return np.asarray(value).dtype.kind in letters
    except ValueError:  # rows of different length
        return False


def _is_row(value: Any) -> bool:
    """Tell whether a value has entries in order; a text is taken as one thing, not as letters."""
    return isinstance(value, (Sequence, np.ndarray)) and not isinstance(value, (str, bytes))


def _equal_texts(value: Any, choice: Any) -> bool:
    return isinstance(value, str) and isinstance(choice, str) and value == choice


CHECKS: Mapping[Any, Check] = {
    int: _is_int,
    float: _is_number,
    bool: _is_bool,
    ArrayLike: lambda value: _is_array(value, "fiub"),
    NDArray[np.float64]: lambda value: _is_array(value, "fiub"),
    NDArray[np.complex128]: lambda value: _is_array(value, "fiubc"),
    NDArray[np.datetime64]: lambda value: _is_array(value, "M"),
    NDArray[np.bool_]: lambda value: _is_array(value, "b"),
}
