"""What an environment turned out to be: each finding with its evidence in numbers, and in words.

A finding is a guess that data support. Whoever knows better says so: `Findings.corrected`.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, fields, is_dataclass, replace
from math import isfinite
from pathlib import Path
from textwrap import fill
from typing import Any, Generic, TypeVar

import numpy as np

from koopman_control.common import Array, PathLike, read_only, write_text_atomically
from koopman_control.common.border import checked, did_you_mean
from koopman_control.features import Angle

T = TypeVar("T")
VERSION = 1  # of findings.json
TOLD = "as you said"
LONGEST_LIST = 12  # names that are told one by one
SHORT_LIST = 3  # numbers of one kind that are told one by one
WIDTH = 100  # characters of a line of the table


@dataclass(frozen=True, eq=False)
class Finding(Generic[T]):
    """One thing found out.

    Args:
        value: What was found, in the units of the data.
        evidence: The numbers that speak for it, by what they measure, or by "measure, item" where
            there is one for each of several.
        words: The finding in words, for people.
        certain: Whether the evidence leaves no reasonable doubt.

    Example:
        >>> print(Finding(((0, 1),), {"largest deviation": 1e-9}, "columns 0, 1 are an angle"))
        columns 0, 1 are an angle [largest deviation 1e-09]
    """

    value: T
    evidence: Mapping[str, float]
    words: str
    certain: bool = True

    def __str__(self) -> str:
        """Say it, with the evidence."""
        numbers = self.numbers()
        doubt = "" if self.certain else "perhaps: "
        return f"{doubt}{self.words}" + (f" [{numbers}]" if numbers else "")

    def numbers(self) -> str:
        """Return the evidence on one line; of many numbers of one kind, the least and the most.

        Example:
            >>> Finding((), {"share, y0": 0.1, "share, y1": 0.2, "steps": 4000.0}, "").numbers()
            'share 0.1 (y0), 0.2 (y1), steps 4,000'
        """
        kinds: dict[str, dict[str, float]] = {}
        for what, number in self.evidence.items():
            kind, _, item = what.partition(", ")
            kinds.setdefault(kind, {})[item] = number
        return ", ".join(f"{kind} {_numbers(found)}" for kind, found in kinds.items())


@dataclass(frozen=True)
class Rate:
    """A column that holds the speed of another.

    Args:
        position: An observation column, or the angle (a pair of columns).
        speed: Observation column of its speed.
        per_step: What one step adds to the position per unit of speed; the time step, where the
            units agree.
    """

    position: Angle
    speed: int
    per_step: float


@dataclass(frozen=True)
class InputShape:
    """How an input acts: nothing inside its dead zone, nothing more beyond its saturation.

    Args:
        dead: Lower and upper end of the dead zone; None: none was found.
        saturated: Lowest and highest value that still makes a difference; None: the whole range.
    """

    dead: tuple[float, float] | None = None
    saturated: tuple[float, float] | None = None


@dataclass(frozen=True)
class RewardLaw:
    """What the reward rewards.

    Args:
        kind: "constant", "quadratic" (of states and inputs), "smooth", "steps" (a rule of a few
            thresholds), "unexplained", or "unknown" where no reward was recorded.
        columns: Observation columns that matter to it.
        inputs: Input columns that matter to it.
        after: Whether it looks at the observation after the step rather than at that before it.
    """

    kind: str
    columns: tuple[int, ...] = ()
    inputs: tuple[int, ...] = ()
    after: bool = False


@dataclass(frozen=True)
class Threshold:
    """An episode ends where a column, or an angle, or its size, passes a number.

    Args:
        column: Observation column, or an angle (a pair of columns).
        size: Whether its absolute value is meant.
        above: Whether it ends above the number rather than below it.
        number: The number, in the units of the data.
    """

    column: Angle
    size: bool
    above: bool
    number: float


@dataclass(frozen=True, eq=False)
class Findings:
    """Everything found out about an environment from its data.

    Args:
        names: Names of the observation columns.
        action_names: Names of the input columns.
        n_steps: Steps that the findings rest on.
        angles: Pairs (cosine column, sine column), and columns in radians that wrap.
        context: Columns that stay as they are within an episode: goals, parameters.
        switches: Columns that only take two values, such as a contact sensor.
        rates: Which column is the speed of which.
        ignored: Columns that make no difference to what happens next.
        limits: Lowest and highest value of each column, ±inf where none is known, shape (2, p).
        inputs: Dead zone and saturation of each input.
        delays: Steps that pass before each input acts.
        noise: Standard deviation of the measurement noise in each column, shape (p,).
        memory: Past steps that predict better than the present alone; 0: the state is all seen.
        contacts: Share of steps that a smooth model cannot explain, such as impacts.
        reward: What the reward rewards.
        ends: Where an episode ends; empty: nowhere that was seen.
    """

    names: tuple[str, ...]
    action_names: tuple[str, ...]
    n_steps: int
    angles: Finding[tuple[Angle, ...]]
    context: Finding[tuple[int, ...]]
    switches: Finding[tuple[int, ...]]
    rates: Finding[tuple[Rate, ...]]
    ignored: Finding[tuple[int, ...]]
    limits: Finding[Array]
    inputs: Finding[tuple[InputShape, ...]]
    delays: Finding[tuple[int, ...]]
    noise: Finding[Array]
    memory: Finding[int]
    contacts: Finding[float]
    reward: Finding[RewardLaw]
    ends: Finding[tuple[Threshold, ...]]

    def items(self) -> dict[str, Finding[Any]]:
        """Return the findings by name, in the order they are told."""
        every = {field.name: getattr(self, field.name) for field in fields(self)}
        return {name: item for name, item in every.items() if isinstance(item, Finding)}

    def uncertain(self) -> dict[str, Finding[Any]]:
        """Return those that a person should look at."""
        return {name: item for name, item in self.items().items() if not item.certain}

    @checked
    def corrected(self, **told: Any) -> Findings:
        """Return the findings with some of them as a person says they are.

        Args:
            **told: Values by the name of the finding; None keeps what was found.

        Raises:
            ValueError: There is no finding of this name.

        Example:
            >>> findings.corrected(angles=((0, 1),), memory=0)  # doctest: +SKIP
        """
        known = self.items()
        given = {name: value for name, value in told.items() if value is not None}
        for name in given:
            if name not in known:
                raise ValueError(
                    f"there is no finding {name!r}; there are {', '.join(known)}."
                    f"{did_you_mean(name, known)}"
                )
        if "limits" in given:
            given["limits"] = read_only(given["limits"])
        said: dict[str, Any] = {
            name: Finding(value, {}, f"{_plain(value)}, {TOLD}") for name, value in given.items()
        }
        return replace(self, **said)

    def named(self, column: Angle) -> str:
        """Return what a column, or an angle, is called."""
        if isinstance(column, tuple):
            return f"the angle of {self.names[column[0]]} and {self.names[column[1]]}"
        return self.names[column]

    def table(self) -> str:
        """Lay the findings out as lines: name, what was found, evidence."""
        width = max(map(len, self.items()))
        indent = " " * (width + 2)
        lines = (
            fill(f"{name:{width}}  {finding}", WIDTH, subsequent_indent=indent)
            for name, finding in self.items().items()
        )
        return "\n".join([f"from {self.n_steps} steps:", *lines])

    def __str__(self) -> str:
        """Return the table."""
        return self.table()

    def as_dict(self) -> dict[str, Any]:
        """Return the findings as plain data, as JSON can hold them."""
        found = {
            name: {
                "value": _plain(item.value),
                "certain": item.certain,
                "words": item.words,
                "evidence": {what: _plain(number) for what, number in item.evidence.items()},
            }
            for name, item in self.items().items()
        }
        return {
            "version": VERSION,
            "n_steps": self.n_steps,
            "names": list(self.names),
            "action_names": list(self.action_names),
            "findings": found,
        }

    @checked
    def write(self, path: PathLike) -> Path:
        """Write them to a JSON file.

        Returns:
            Its path.
        """
        import json

        text = json.dumps(self.as_dict(), indent=2, ensure_ascii=False, allow_nan=False)
        write_text_atomically(Path(path), text + "\n")
        return Path(path)


def listed(names: Sequence[str]) -> str:
    """Return names as a list that stays short.

    Example:
        >>> listed([f"y{i}" for i in range(100)])
        'y0, y1, y2, y3, ... y99 (100 in all)'
    """
    if len(names) <= LONGEST_LIST:
        return ", ".join(names)
    return f"{', '.join(names[:4])}, ... {names[-1]} ({len(names)} in all)"


def together(said: Iterable[tuple[str, str, str]]) -> str:
    """Say what is the same of several names once.

    Args:
        said: Name, what is said of it, and what is said of several.

    Example:
        >>> together([("y0", "moves", "move"), ("y1", "stays", "stay"), ("y2", "moves", "move")])
        'y0, y2 move; y1 stays'
    """
    groups: dict[tuple[str, str], list[str]] = {}
    for name, *phrases in said:
        groups.setdefault((phrases[0], phrases[1]), []).append(name)
    return "; ".join(f"{listed(names)} {how[len(names) > 1]}" for how, names in groups.items())


def _numbers(found: Mapping[str, float]) -> str:
    """Write numbers of one kind, by what they belong to ("" where that is clear)."""
    if len(found) > SHORT_LIST:
        least, most = _number(min(found.values())), _number(max(found.values()))
        span = least if least == most else f"{least} to {most}"
        return f"{span} ({len(found)} of them)"
    return ", ".join(
        _number(number) + (f" ({item})" if item else "") for item, number in found.items()
    )


def _number(number: float) -> str:
    large = abs(number) >= 1000.0 and number == round(number)
    return f"{number:,.0f}" if large else f"{number:.3g}"


def _plain(value: Any) -> Any:
    """Write a value as JSON can hold it; what is infinite becomes None."""
    if is_dataclass(value) and not isinstance(value, type):
        return {field.name: _plain(getattr(value, field.name)) for field in fields(value)}
    if isinstance(value, np.ndarray | np.generic):
        return _plain(value.tolist())
    if isinstance(value, tuple | list):
        return [_plain(item) for item in value]
    if isinstance(value, float) and not isfinite(value):
        return None
    return value
