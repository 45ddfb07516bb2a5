"""A plant in a process of its own: a mass on a spring whose stiffness grows with the way.

    python -m examples.robot.plant --port 5555

It stands in for a robot: it knows nothing of the controller, sends what it measures as a line of
JSON on a fixed clock, and applies whatever input has come back by then. `--silent 2.0 2.5` lets its
sensor fail for a while; the watchdog at the other end then has to deal with that.
"""

from __future__ import annotations

import json
import socket
import sys
import threading
import time
from contextlib import suppress
from typing import Annotated, BinaryIO

import numpy as np
import typer

DT = 0.02  # seconds
NOISE = 0.002  # of the position, in metres


def accelerated(x: float, v: float, u: float) -> tuple[float, float]:
    """Position (m) and speed (m/s) after DT seconds under a force u in [-1, 1] of 4 N."""
    for _ in range(10):
        v += DT / 10 * (4.0 * u - 0.5 * v - 2.0 * x - 8.0 * x**3)
        x += DT / 10 * v
    return x, v


class Actuator:
    """Keeps the input that came last."""

    def __init__(self, reader: BinaryIO) -> None:
        self.input, self.ended = 0.0, False
        self.heard = threading.Event()  # set by the first input, and at the end
        threading.Thread(target=self._listen, args=(reader,), daemon=True).start()

    def _listen(self, reader: BinaryIO) -> None:
        try:
            with suppress(OSError):  # closed, here or there
                for line in reader:
                    answer = json.loads(line)
                    self.input = float(answer["u"][0])
                    self.ended = self.ended or bool(answer.get("last"))
                    self.heard.set()
        finally:  # also after an answer that is none
            self.ended = True
            self.heard.set()


def run(
    reader: BinaryIO, writer: BinaryIO, seconds: float, silent: tuple[float, float], seed: int = 0
) -> list[tuple[float, float]]:
    """Move for some seconds, at rest until the first input comes; returns positions and inputs."""
    rng, actuator, moved = np.random.default_rng(seed), Actuator(reader), []
    x, v, goal = 0.0, 0.0, 0.3

    def measure() -> None:
        seen = [x + NOISE * rng.normal(), v, goal]
        writer.write(json.dumps([round(value, 6) for value in seen]).encode() + b"\n")
        writer.flush()

    measure()
    actuator.heard.wait()  # a controller may take a second to start
    start = time.perf_counter()
    for k in range(round(seconds / DT)):
        now = k * DT
        goal = 0.3 if now % 4.0 < 2.0 else -0.2
        if not silent[0] <= now < silent[1]:
            measure()
        time.sleep(max(0.0, start + (k + 1) * DT - time.perf_counter()))
        u = min(max(actuator.input, -1.0), 1.0)
        x, v = accelerated(x, v, u)
        moved.append((x, u))
        if actuator.ended:
            break
    return moved


def main(
    port: Annotated[int, typer.Option(help="Where `koopman-control serve --listen` waits.")],
    seconds: Annotated[float, typer.Option(min=0.1)] = 8.0,
    silent: Annotated[tuple[float, float], typer.Option(help="From when to when.")] = (0.0, 0.0),
) -> None:
    """Connect to the controller and move."""
    with socket.create_connection(("127.0.0.1", port)) as connection:
        connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        with connection.makefile("rb") as reader, connection.makefile("wb") as writer:
            moved = run(reader, writer, seconds, silent)
    print(f"{len(moved)} steps, at {moved[-1][0]:.3f} m in the end", file=sys.stderr)


if __name__ == "__main__":
    typer.run(main)
