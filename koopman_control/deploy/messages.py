"""Observations in and actions out, as lines of JSON over pipes or a socket."""

from __future__ import annotations

import json
import math
import threading
from collections import deque
from collections.abc import Mapping
from dataclasses import dataclass
from time import perf_counter
from typing import Any, BinaryIO

import numpy as np

from koopman_control.common.arrays import Array
from koopman_control.common.border import checked, did_you_mean, shown

LONGEST = 1 << 20  # bytes of a line
KEYS = ("y", "disturbance", "applied", "reset", "parameters")


@dataclass(frozen=True)
class Message:
    """What the plant says of a step.

    Args:
        y: Observation, shape (p,), NaN where nothing was measured; None if it says nothing of it.
        disturbance: Measured inputs, as for `KoopmanMPC.act`.
        applied: Input that acted in place of the action it was sent.
        reset: Whether an episode begins with this observation.
        parameters: Values of the controller's parameters, by name.
        error: What is wrong with the line; empty if nothing is.
        received: When it came, on the clock `time.perf_counter`.
    """

    y: Array | None = None
    disturbance: Array | None = None
    applied: Array | None = None
    reset: bool = False
    parameters: Mapping[str, Any] | None = None
    error: str = ""
    received: float = 0.0

    @classmethod
    @checked
    def parsed(cls, line: bytes) -> Message:
        """Read a line: a list of numbers, the observation, or an object with the fields above.

        `null` stands for a number that was not measured. A line that cannot be read becomes a
        message that says why.

        Args:
            line: The line.
        """
        now = perf_counter()
        try:
            if len(line) > LONGEST:
                raise ValueError(f"a line has {len(line)} bytes; expected at most {LONGEST}")
            told = json.loads(line)
            if isinstance(told, list):
                told = {"y": told}
            if not isinstance(told, dict):
                raise ValueError(f"a line holds {shown(told)}; expected a list or an object")
            for key in told:
                if key not in KEYS:
                    hint = f"expected {', '.join(KEYS)}.{did_you_mean(key, KEYS)}"
                    raise ValueError(f"there is no field {shown(key)}; {hint}")
            parameters = told.get("parameters")
            if not isinstance(parameters, dict | None):
                raise ValueError(f"parameters is {shown(parameters)}; expected an object")
            return cls(
                y=_numbers("y", told.get("y")),
                disturbance=_numbers("disturbance", told.get("disturbance")),
                applied=_numbers("applied", told.get("applied")),
                reset=told.get("reset") is True,
                parameters=parameters,
                received=now,
            )
        except (ValueError, RecursionError) as error:
            return cls(error=str(error), received=now)


def _numbers(key: str, value: Any) -> Array | None:
    """Read a list of numbers, or of lists of them; `null` among them is NaN."""
    if value is None:
        return None
    try:
        return np.array(value, dtype=np.float64)
    except (TypeError, ValueError):
        raise ValueError(f"{key} is {shown(value)}; expected a list of numbers or nulls") from None


class Lines:
    """Lines that another process writes, read in a thread, and lines written to it.

    Args:
        reader: Open binary stream of its lines.
        writer: Open binary stream to it.
    """

    def __init__(self, reader: BinaryIO, writer: BinaryIO) -> None:
        self._reader, self._writer = reader, writer
        self._waiting: deque[Message] = deque()
        self._changed, self._ended = threading.Condition(), False
        threading.Thread(target=self._read, daemon=True, name="observations").start()

    def _read(self) -> None:
        try:
            while line := self._reader.readline(LONGEST + 1):
                if line.strip():
                    message = Message.parsed(line)
                    with self._changed:
                        self._waiting.append(message)
                        self._changed.notify()
        except (OSError, ValueError):  # closed from here, or broken off there
            pass
        finally:
            with self._changed:
                self._ended = True
                self._changed.notify()

    def oldest(self) -> Message | None:
        """Wait for the next message; None once there are no more."""
        with self._changed:
            while not self._waiting and not self._ended:
                self._changed.wait(0.1)  # short, so that Ctrl-C is noticed everywhere
            return self._waiting.popleft() if self._waiting else None

    def newest(self, until: float) -> tuple[Message | None, int]:
        """Return what came since, the newest observation with all else said; and how many came.

        If nothing did, wait for it until a time of `time.perf_counter`.
        """
        with self._changed:
            while not self._waiting and not self._ended and (left := until - perf_counter()) > 0.0:
                self._changed.wait(left)
            came = list(self._waiting)
            self._waiting.clear()
        if not came:
            return None, 0
        newest = came[-1]
        with_y = [message for message in came if message.y is not None]
        said: dict[str, Any] = {}
        disturbance = None
        for message in came:
            said |= message.parameters or {}
            disturbance = disturbance if message.disturbance is None else message.disturbance
        return (
            Message(
                y=with_y[-1].y if with_y else None,
                disturbance=disturbance,
                applied=newest.applied,
                reset=any(message.reset for message in came),
                parameters=said or None,
                error="; ".join(message.error for message in came if message.error),
                received=newest.received,
            ),
            len(came),
        )

    @property
    def ended(self) -> bool:
        """Whether the other side has closed, and everything it wrote was taken."""
        with self._changed:
            return self._ended and not self._waiting

    def send(self, answer: Mapping[str, Any]) -> bool:
        """Write a line; whether the other side still takes it."""
        try:
            text = json.dumps({key: _plain(value) for key, value in answer.items()})
            self._writer.write(text.encode() + b"\n")
            self._writer.flush()
        except (OSError, ValueError):  # a closed pipe, or a closed file
            return False
        return True


def _plain(value: Any) -> Any:
    """Turn arrays into lists, and numbers that JSON lacks into null."""
    if isinstance(value, np.ndarray):
        return [_plain(entry) for entry in value.tolist()]
    return None if isinstance(value, float) and not math.isfinite(value) else value
