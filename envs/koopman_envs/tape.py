"""Record a formula on components once, then replay it on arrays without allocating anything.

A formula of a plant costs NumPy one temporary array per operation. Run once on symbols it leaves a
list of operations; replayed into a few reused buffers, which stay in the processor's cache, the
same operations in the same order take half the time and give the same bits.
"""

from collections.abc import Callable
from functools import partial
from typing import Any

import numpy as np
from numpy.lib.mixins import NDArrayOperatorsMixin
from numpy.typing import NDArray

from koopman_envs.integration import Components

Array = NDArray[np.float64]
Operation = tuple[Callable[..., Any], tuple[Any, ...]]


class Tape:
    """A formula recorded for given input arrays, which it reads anew at every call.

    Args:
        formula: Takes lists of components and returns a list; arithmetic and NumPy's elementwise
            functions only.
        *inputs: Arrays (k, N), one row for each component.
    """

    def __init__(self, formula: Callable[..., Components], *inputs: Array) -> None:
        self._rows = [row for rows in inputs for row in rows]
        self._operations: list[Operation] = []
        self._known: dict[Any, _Symbol] = {}
        symbols = iter([_Symbol(self, i) for i in range(len(self._rows))])
        results = formula(*[[next(symbols) for _ in rows] for rows in inputs])
        self._program, self._results = self._placed(list(results))

    def __call__(self) -> list[Array]:
        """Evaluate the formula; the arrays (N,) returned are overwritten by the next call."""
        for function, operands in self._program:
            function(*operands)
        return self._results

    def __len__(self) -> int:
        """Number of operations."""
        return len(self._program)

    def record(self, function: np.ufunc, operands: tuple[Any, ...]) -> "_Symbol":
        """Append an operation, or find the same one recorded before."""
        key = (function, *(a.index if isinstance(a, _Symbol) else repr(a) for a in operands))
        if key not in self._known:
            self._known[key] = _Symbol(self, len(self._rows) + len(self._operations))
            self._operations.append((function, operands))
        return self._known[key]

    def _placed(self, results: list[Any]) -> tuple[list[Operation], list[Array]]:
        """Give every symbol its array; an array is free again after its symbol's last use."""
        first, last = len(self._rows), self._last_uses(results)
        places: dict[int, Array] = dict(enumerate(self._rows))
        free: list[Array] = []
        program: list[Operation] = []
        for step, (function, operands) in enumerate(self._operations):
            arrays = tuple(_array(operand, places) for operand in operands)
            used = {a.index for a in operands if isinstance(a, _Symbol) and a.index >= first}
            free += [places[index] for index in used if last[index] == step]
            out = free.pop() if free else np.empty(self._rows[0].shape)
            places[first + step] = out
            if function in (np.maximum, np.minimum):
                # NumPy wants the output of these two by name, which the others take slower.
                program.append((partial(function, out=out), arrays))
            else:
                program.append((function, (*arrays, out)))
        return program, [_array(result, places) for result in results]

    def _last_uses(self, results: list[Any]) -> dict[int, int]:
        last: dict[int, int] = {}
        for step, (_, operands) in enumerate(self._operations):
            last.update((a.index, step) for a in operands if isinstance(a, _Symbol))
        forever = len(self._operations)
        last.update((a.index, forever) for a in results if isinstance(a, _Symbol))
        return last


class _Symbol(NDArrayOperatorsMixin):
    """The result of a recorded operation, or an input."""

    def __init__(self, tape: Tape, index: int) -> None:
        self._tape, self.index = tape, index

    def __array_ufunc__(self, function: np.ufunc, method: str, *operands: Any, **named: Any) -> Any:
        if method != "__call__" or named:
            return NotImplemented
        return self._tape.record(function, operands)


def _array(operand: Any, places: dict[int, Array]) -> Array:
    # NumPy takes arrays without dimensions faster than numbers.
    return places[operand.index] if isinstance(operand, _Symbol) else np.array(operand, np.float64)
