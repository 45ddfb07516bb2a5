"""From what users have (arrays, frames, trajectories) to checked series; gaps filled by choice."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
from numpy.typing import ArrayLike

from koopman_control.common.arrays import Array, real_array
from koopman_control.common.border import checked
from koopman_control.features import constant_columns
from koopman_control.trajectories import Trajectory, check_trajectories
from koopman_control.trajectories.table import rows_named


@dataclass(frozen=True)
class Series:
    """One uninterrupted series.

    Args:
        Y: Outputs, shape (T + 1, p).
        U: Inputs between the rows, shape (T, m).
        names: Names of the outputs.
    """

    Y: Array
    U: Array
    names: tuple[str, ...]


def checked_series(data: Any, inputs: Any = None, like: Series | None = None) -> list[Series]:
    """Read one or several series, each of at least two rows, all with the same columns.

    Args:
        data: One series or several.
        inputs: The inputs beside them, or None.
        like: A series that has the columns expected; None expects those of the first.

    Raises:
        TypeError: Something holds no numbers, or trajectories come with further inputs.
        ValueError: NaN, too few rows, a column that never moves, or columns that differ.
    """
    series = [one for one, _ in _read("series", data, inputs)]
    first = like or series[0]
    for i, one in enumerate(series):
        if (one.names, one.U.shape[1]) != (first.names, first.U.shape[1]):
            raise ValueError(
                f"series {i} has the columns {list(one.names)} and {one.U.shape[1]} inputs; "
                f"expected those of {'the fit' if like else 'series 0'}: {list(first.names)} and "
                f"{first.U.shape[1]} inputs"
            )
        if len(one.Y) < 2:
            raise ValueError(
                f"series {i} has {len(one.Y)} rows; expected at least 2, one after the other"
            )
    if like is not None:
        return series  # a piece may well rest
    require_moving(series)
    return series


def require_moving(series: Sequence[Series]) -> None:
    """Raise a ValueError if a column never moves."""
    _refuse_constant("series", np.concatenate([one.Y for one in series]), series[0].names)
    U = np.concatenate([one.U for one in series])
    _refuse_constant("inputs", U, [str(i) for i in range(U.shape[1])])


def checked_histories(
    history: Any, inputs: Any, horizon: int, length: int, like: Series
) -> tuple[Array, Array, bool]:
    """Read histories and the inputs over history and horizon.

    Args:
        history: One history or several.
        inputs: None, or as many rows as the history's last row needs to reach back to its first
            and forward to the horizon; for a `Trajectory`, those of the horizon only.
        horizon: Number of steps to predict.
        length: Number of past steps that are needed.
        like: A series of the fit.

    Returns:
        The last length + 1 rows, shape (S, length + 1, p), the inputs from the first of these on,
        shape (S, length + horizon, m), and whether a single history was given.
    """
    Y, U = [], []
    for i, (one, ahead) in enumerate(_read("history", history, inputs, horizon)):
        rows = len(one.Y)
        if one.names != like.names:
            raise ValueError(
                f"history {i} has the columns {list(one.names)}; expected those of the fit, "
                f"{list(like.names)}"
            )
        if rows < length + 1:
            raise ValueError(
                f"history {i} has {rows} rows; expected at least {length + 1}, as the model "
                f"remembers {length} steps"
            )
        known = np.concatenate([one.U, ahead])
        if known.shape[1] != like.U.shape[1]:
            raise ValueError(
                f"inputs have {known.shape[1]} columns; expected {like.U.shape[1]}, as in the fit"
            )
        Y.append(one.Y[rows - length - 1 :])
        U.append(known[rows - length - 1 :])
    return np.stack(Y), np.stack(U), not is_many(history)


def is_many(data: Any) -> bool:
    """Say whether data are several series: a list of arrays or frames, or three dimensions."""
    if isinstance(data, list | tuple):
        return bool(data) and (hasattr(data[0], "__array__") or isinstance(data[0], Trajectory))
    return not isinstance(data, Trajectory) and np.ndim(data) == 3


def _read(name: str, data: Any, inputs: Any, horizon: int = 0) -> list[tuple[Series, Array]]:
    """Read series, each with the inputs (horizon, m) that follow it."""
    many = is_many(data)
    items = list(data) if many else [data]
    if isinstance(data, list | tuple) and not data:
        raise ValueError(f"{name} is an empty list; expected rows of numbers, or several series")
    if inputs is None:
        beside: list[Any] = [None] * len(items)
    else:
        beside = list(inputs) if many else [inputs]
    if len(beside) != len(items):
        raise ValueError(
            f"inputs has {len(beside)} parts for {len(items)} of {name}; expected one each"
        )
    if all(isinstance(item, Trajectory) for item in items):
        return [
            (series_of(item), _ahead(u, item.actions.shape[1], horizon))
            for item, u in zip(check_trajectories(items), beside, strict=True)
        ]
    return [_of_rows(name, item, u, horizon) for item, u in zip(items, beside, strict=True)]


def series_of(item: Trajectory) -> Series:
    """Return the observations of a trajectory as a series, its actions as the inputs."""
    p = item.observations.shape[1]
    names = item.observation_names or tuple(str(i) for i in range(p))
    return Series(item.observations, item.actions, names)


def _ahead(inputs: Any, m: int, horizon: int) -> Array:
    """Read the inputs over the horizon after a trajectory."""
    if not horizon:
        if inputs is not None:
            raise TypeError("inputs are given beside trajectories; their actions are the inputs")
        return np.empty((0, m))
    if inputs is None:
        raise ValueError(f"inputs is None; expected {horizon} rows, one per step to predict")
    rows, _ = _table("inputs", inputs)
    if len(rows) != horizon:
        raise ValueError(
            f"inputs has {len(rows)} rows; expected {horizon}, one per step to predict"
        )
    return rows


def _of_rows(name: str, data: Any, inputs: Any, horizon: int) -> tuple[Series, Array]:
    Y, names = _table(name, data)
    T = max(0, len(Y) - 1)
    if inputs is None:
        U = np.empty((T + horizon, 0))
    else:
        U, _ = _table("inputs", inputs)
        # In a fit, the input beside the last row leads nowhere; it may be left out.
        allowed = (T + horizon,) if horizon else (T, T + 1)
        if len(U) not in allowed:
            reach = f"{len(Y)} rows of history and {horizon} steps" if horizon else f"{len(Y)} rows"
            raise ValueError(
                f"inputs has {len(U)} rows for {reach}; expected {allowed[0]}: one from each row "
                "to the next"
            )
    return Series(Y, U[:T], names), U[T : T + horizon]


def _table(name: str, data: Any) -> tuple[Array, tuple[str, ...]]:
    """Read rows and the names of their columns; a frame is whatever has columns."""
    columns: Sequence[Any] | None = getattr(data, "columns", None)
    rows = real_array(name, data)
    rows = real_array(name, rows[:, None] if rows.ndim == 1 else rows, ndim=2)
    if columns is None:
        columns = range(rows.shape[1])
    refuse_gaps(name, rows)
    return rows, tuple(str(column) for column in columns)


def _refuse_constant(name: str, rows: Array, names: Sequence[str]) -> None:
    if not rows.size:
        return
    still = [name for name, rests in zip(names, constant_columns(rows), strict=True) if rests]
    if still:
        raise ValueError(
            f"{name} never move in column {', '.join(still)}; leave constant columns out"
        )


def refuse_gaps(name: str, rows: Array) -> None:
    """Raise a ValueError that names the rows of (T, p) that hold NaN or infinity, if any."""
    broken = np.flatnonzero(~np.isfinite(rows).all(axis=1))
    if len(broken):
        raise ValueError(
            f"{name} has gaps (NaN or infinity) in {rows_named(broken)}; split the series there, "
            "drop what is missing, or fill it deliberately"
        )


Filling = Literal["linear", "previous"]


@checked
def fill_gaps(series: ArrayLike, how: Filling = "linear") -> Array:
    """Fill NaN and infinities column by column.

    Args:
        series: Rows of numbers, shape (T, p) or (T,).
        how: "linear" draws a line from the value before to the value after; "previous" repeats the
            value before. Gaps at an end repeat the nearest value.

    Returns:
        A filled copy of the same shape.

    Raises:
        ValueError: If a column holds no number at all.

    Example:
        >>> fill_gaps([1.0, np.nan, 3.0])
        array([1., 2., 3.])
    """
    given = real_array("series", series)
    rows = real_array("series", given[:, None] if given.ndim == 1 else given, ndim=2)
    filled = rows.copy()
    index = np.arange(len(rows))
    for j in range(rows.shape[1]):
        known = np.flatnonzero(np.isfinite(rows[:, j]))
        if not len(known):
            raise ValueError(f"series has no number in column {j}; leave the column out")
        if how == "linear":
            filled[:, j] = np.interp(index, known, rows[known, j])
        else:
            before = np.searchsorted(known, index, side="right") - 1
            filled[:, j] = rows[known[np.maximum(before, 0)], j]
    return filled.reshape(given.shape)
