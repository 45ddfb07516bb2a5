"""Exported controllers in Python: one native call a step, judged like any other controller."""

from __future__ import annotations

import ctypes
import warnings
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from time import perf_counter
from typing import Any

import numpy as np
from numpy.typing import ArrayLike

from koopman_control.common.arrays import Array
from koopman_control.common.border import checked
from koopman_control.common.files import PathLike
from koopman_control.common.pickling import portable
from koopman_control.deploy.building import NoCompilerError, library
from koopman_control.deploy.rehearsal import RUNGS
from koopman_control.deploy.sources import Facts, read_export, sources_of
from koopman_control.mpc import KoopmanMPC
from koopman_control.mpc.state import InputLayout, Rung, input_that_acted, observation_array
from koopman_control.mpc.weights import stage_rows

Given = Callable[[Array], ArrayLike | None]


@dataclass(slots=True)  # frozen ones take four times as long to make
class CompiledStep:
    """What a compiled controller did in its latest step.

    Args:
        rung: As in `Step`.
        inputs: Planned inputs, shape (N, m).
        iterations: The solver's.
        seconds: Duration of the whole step.
        ignored: As in `Step`.
    """

    rung: Rung
    inputs: Array
    iterations: int
    seconds: float
    ignored: str = ""

    @property
    def fallback(self) -> bool:
        """Whether the action came from a fallback."""
        return self.rung != "solved"

    @property
    def planned(self) -> bool:
        """Whether it came from a program that was solved in this step."""
        return self.rung in ("solved", "softened")


class CompiledMPC:
    """A controller written by `export_c`, compiled and called from Python.

    It acts as the `KoopmanMPC` that it was made of, in a fraction of its time, and can be judged by
    `evaluate`. `compiled` makes one of a controller in memory.

    Args:
        folder: What `export_c` wrote.
        name: The name it was given.
        reference: Target of the states as a function of the observation, as for `KoopmanMPC`, if
            the exported controller has one; else None.
        input_reference: Likewise of the inputs.

    Attributes:
        last: What happened in the latest step (`CompiledStep`), or None before the first.
        parameters: Values of the user's parameters, arrays by name; write into them at any time.

    Raises:
        FileNotFoundError | FileFormatError: If the folder holds no such controller, or was changed.
        ValueError: If a target is missing, or there is one too many.
        NoCompilerError: If there is no C compiler, or it fails.

    Example:
        >>> controller = CompiledMPC("build")  # doctest: +SKIP
        >>> evaluate(controller, "Pendulum-v1", seeds=range(10)).mean_return  # doctest: +SKIP
    """

    TARGETS = "reference", "input_reference"

    @checked
    def __init__(
        self,
        folder: PathLike,
        name: str = "koopman_mpc",
        *,
        reference: Given | None = None,
        input_reference: Given | None = None,
    ) -> None:
        facts, sources = read_export(folder, name)
        self._begin(facts, sources, (reference, input_reference))

    @classmethod
    def _of(cls, mpc: KoopmanMPC) -> CompiledMPC:
        """Compile a controller as it is, its functions and parameters included."""
        facts = Facts.of(mpc, "double", "koopman_mpc")
        return cls._from_sources(facts, sources_of(mpc, facts), mpc)

    @classmethod
    def _from_sources(
        cls,
        facts: Facts,
        sources: Mapping[str, str],
        mpc: KoopmanMPC,
        kept: Mapping[str, int] | None = None,
    ) -> CompiledMPC:
        """Compile what was written of a controller; see `_begin` for what is kept."""
        made = object.__new__(cls)
        functions = [
            target._function if given else None
            for target, given in zip(mpc._targets, facts.given, strict=True)
        ]
        made._begin(facts, sources, (functions[0], functions[1]), kept)
        for name, value in mpc.parameters.items():
            made.parameters[name][...] = value
        return made

    def _begin(
        self,
        facts: Facts,
        sources: Mapping[str, str],
        functions: tuple[Given | None, Given | None],
        kept: Mapping[str, int] | None = None,
    ) -> None:
        """Compile and load; begin an episode.

        `kept` names further fields of the struct that are to be seen, with the numbers they hold.
        """
        self._facts, self._sources, self._functions = facts, sources, functions
        self._kept_fields = dict(kept or {})
        for argument, function, given in zip(self.TARGETS, functions, facts.given, strict=True):
            if (function is not None) != given:
                wanted = "a function, as the controller was exported with one" if given else "None"
                raise ValueError(f"{argument} is {function!r}; expected {wanted}")
        own = "rung", "previous", "active_rows", *(("parameters",) if facts.parameters else ())
        loaded, places = library(sources, facts.name, (*own, *self._kept_fields))
        self._step = getattr(loaded, f"{facts.name}_step")
        self._step.argtypes = [ctypes.c_void_p] * 6
        self._reset = getattr(loaded, f"{facts.name}_reset")
        self._applied = getattr(loaded, f"{facts.name}_applied")
        self._reset.argtypes = self._applied.argtypes = [ctypes.c_void_p] * 2
        size = loaded.size_of_controller() + 64
        self._memory = np.zeros(size // 8 + 1)
        self._address = self._memory.ctypes.data
        real = np.dtype(np.float64 if facts.precision == "double" else np.float32)

        def seen_at(place: int, count: int, kind: np.dtype[Any]) -> np.ndarray:
            return self._memory.view(np.uint8)[place : place + count * kind.itemsize].view(kind)

        N, m = facts.horizon, facts.n_inputs
        self._plan = seen_at(0, N * m, real).reshape(N, m)
        self._outcome = seen_at(places["rung"], 2, np.dtype(np.int32))
        self._previous = seen_at(places["previous"], m, real)
        self._active = seen_at(places["active_rows"], 1, np.dtype(np.int32))
        self._kept = {
            field: seen_at(places[field], count, real) for field, count in self._kept_fields.items()
        }
        self.parameters: dict[str, Array] = {}
        place = places.get("parameters", 0)
        for name, shape in facts.parameters.items():
            count = int(np.prod(shape))
            self.parameters[name] = seen_at(place, count, real).reshape(shape)
            place += count * real.itemsize
        rows = N * facts.n_targets, N * m, facts.preview * facts.n_measured
        sizes = facts.n_observations, *rows, m
        self._buffers = [np.zeros(size, dtype=real) for size in sizes]
        self._places = [buffer.ctypes.data for buffer in self._buffers]
        self._layout = InputLayout(m + facts.n_measured, range(m, m + facts.n_measured))
        self._reset(self._address, None)  # parameters have their first values from here on
        self.reset()

    @property
    def active(self) -> int:
        """Bounds that held the latest plan back, as the solver's working set has them."""
        return int(self._active[0])

    def reset(self, previous_input: ArrayLike | None = None) -> None:
        """Begin an episode.

        Args:
            previous_input: Input under which the plant rests, shape (m,); None: the safe one.

        Raises:
            TypeError | ValueError: If it is no finite array of that shape.
        """
        at = None
        if previous_input is not None:
            self._buffers[4][:] = input_that_acted(
                "previous_input", previous_input, self._facts.n_inputs
            )
            at = self._places[4]
        kept = {name: value.copy() for name, value in self.parameters.items()}
        self._reset(self._address, at)
        for name, value in kept.items():
            self.parameters[name][...] = value
        self._seen = np.full(self._facts.n_observations, np.nan)
        self._first = True
        self.last: CompiledStep | None = None

    def act(
        self,
        observation: ArrayLike,
        disturbance: ArrayLike | None = None,
        *,
        applied: ArrayLike | None = None,
    ) -> Array:
        """Return the action for an observation; as `KoopmanMPC.act`, whose arguments these are.

        Raises:
            TypeError | ValueError: In the first step of an episode only, if an argument is no array
                of the right shape, or the last two are not finite.
        """
        start, ignored = perf_counter(), []
        measured, places = None, self._places
        try:
            if applied is not None:
                ignored += self._take_applied(applied)
            if disturbance is not None:
                trouble = self._take_preview(disturbance)
                ignored, measured = ignored + trouble, None if trouble else places[3]
            self._take(observation)
        except (TypeError, ValueError):
            if self._first:
                raise
            self._buffers[0].fill(np.nan)
        targets = [
            None if function is None else self._target(i, function)
            for i, function in enumerate(self._functions)
        ]
        rung = self._step(self._address, places[0], *targets, measured, places[4])
        self._first = False
        seconds = perf_counter() - start
        said = "; ".join(ignored)
        iterations = int(self._outcome[1])
        self.last = CompiledStep(RUNGS[rung], self._plan.astype(float), iterations, seconds, said)
        return self._buffers[4].astype(np.float64)

    def _take(self, observation: ArrayLike) -> None:
        """Take an observation in; a ValueError if it is none."""
        y = observation_array(observation, self._seen.shape)
        with np.errstate(over="ignore"):
            self._buffers[0][:] = y
        if any(self._facts.given):
            self._seen = np.where(np.isfinite(y), y, self._seen)

    def _take_applied(self, applied: ArrayLike) -> list[str]:
        """Take note of what acted; say what is wrong with it."""
        try:
            self._buffers[4][:] = input_that_acted("applied", applied, self._facts.n_inputs)
        except Exception as error:
            if self._first:
                raise
            return [f"{error}"]
        self._applied(self._address, self._places[4])
        return []

    def _take_preview(self, disturbance: ArrayLike) -> list[str]:
        """Spread a preview; say what is wrong with it."""
        try:
            preview = self._layout.preview(disturbance, self._facts.preview)
        except Exception as error:
            if self._first:
                raise
            return [f"{error}"]
        self._buffers[3][:] = preview.others[:, self._facts.n_inputs :].ravel()
        return []

    def _target(self, i: int, function: Given) -> int | None:
        """Ask for a target; if it fails, rows of NaN let the controller fall back."""
        rows, facts = self._buffers[1 + i], self._facts
        name, width = self.TARGETS[i], (facts.n_targets, facts.n_inputs)[i]
        try:
            value = function(self._seen.copy())
            if value is None:
                return None
            rows[:] = stage_rows(name, value, width, facts.horizon).ravel()
        except Exception:  # whatever it is, the loop must go on
            rows.fill(np.nan)
        return int(self._places[1 + i])

    def __getstate__(self) -> dict[str, Any]:
        """Copy sources and memory; another process compiles for itself."""
        functions = tuple(None if one is None else portable(one) for one in self._functions)
        made_of = self._facts, dict(self._sources), functions, self._kept_fields
        return {"made_of": made_of, "progress": (self._memory.copy(), self._seen, self._first)}

    def __setstate__(self, state: dict[str, Any]) -> None:
        """Compile, and go on."""
        self._begin(*state["made_of"])
        self._memory[:], self._seen, self._first = state["progress"]


@checked
def compiled(mpc: KoopmanMPC) -> CompiledMPC | KoopmanMPC:
    """Compile a whole controller, so that a step is one native call with the same actions.

    It is as `mpc` is now, parameters included; what is changed there later does not reach it.

    Args:
        mpc: The controller.

    Returns:
        The compiled one; without a C compiler `mpc` itself, with a warning.

    Raises:
        NotExportableError: If the controller has something without C code.

    Example:
        >>> fast = compiled(mpc)  # doctest: +SKIP
        >>> action = fast.act(observation)  # doctest: +SKIP
    """
    try:
        return CompiledMPC._of(mpc)
    except NoCompilerError as error:
        warnings.warn(f"{error}; the controller stays in Python", UserWarning, stacklevel=2)
        return mpc
