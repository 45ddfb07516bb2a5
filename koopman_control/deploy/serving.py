"""A controller in a loop of its own: observations come from another process, actions go to it."""

from __future__ import annotations

import gc
import time
from collections import Counter, deque
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass, field, replace
from time import perf_counter
from typing import Any

import numpy as np
from threadpoolctl import threadpool_limits

from koopman_control.common.arrays import Array, positive_float, positive_int
from koopman_control.common.border import checked
from koopman_control.deploy.log import StepLog
from koopman_control.deploy.messages import Lines, Message
from koopman_control.mpc import KoopmanMPC
from koopman_control.mpc.solvers import solver_kind

SHARE = 0.5  # of the period, the deadline of a step where none is given
GRACE = 0.25  # of the period, how long a tick waits for an observation
REHEARSED = 3  # steps before the first
KEPT = 20_000  # latest durations that the report tells quantiles of


@dataclass(frozen=True)
class ServedStep:
    """A step of a served controller.

    Args:
        number: Steps since the start.
        run: Episodes since the start.
        time: Seconds since the start.
        y: Observation (p,), or None.
        u: Input that was sent, (m,).
        rung: As `Step.rung`, or "held" where the watchdog held the input before.
        seconds: Duration of `act`.
        late: Whether the action left later than a period after its tick.
        missed: Ticks in a row without an observation.
        trust: As `Step.trust`.
        error: What was wrong with what came.
    """

    number: int
    run: int
    time: float
    y: Array | None
    u: Array
    rung: str
    seconds: float
    late: bool
    missed: int
    trust: float
    error: str


@dataclass
class ServingReport:
    """What a served controller did; printing it says so in words.

    Args:
        steps: Steps taken.
        runs: Episodes.
        seconds: Duration.
        rungs: How often each rung was used.
        late: Steps whose action left later than a period after its tick.
        missed: Ticks without an observation.
        skipped: Observations that a newer one replaced before a tick came.
        errors: Lines that could not be used.
        last_error: What was wrong with the latest of them.
        durations: Of the latest steps, in seconds.
    """

    steps: int = 0
    runs: int = 0
    seconds: float = 0.0
    rungs: Counter[str] = field(default_factory=Counter)
    late: int = 0
    missed: int = 0
    skipped: int = 0
    errors: int = 0
    last_error: str = ""
    durations: deque[float] = field(default_factory=lambda: deque(maxlen=KEPT))

    def add(self, step: ServedStep) -> None:
        """Count a step."""
        self.steps, self.runs, self.seconds = step.number + 1, step.run + 1, step.time
        self.rungs[step.rung] += 1
        self.late += step.late
        self.missed += step.missed > 0
        self.durations.append(step.seconds)
        if step.error:
            self.errors, self.last_error = self.errors + 1, step.error

    @property
    def act_us(self) -> dict[str, float]:
        """Median, 99th percentile and maximum of the latest steps, in microseconds."""
        if not self.durations:
            return {"p50": 0.0, "p99": 0.0, "max": 0.0}
        p50, p99, longest = np.quantile(self.durations, [0.5, 0.99, 1.0]) * 1e6
        return {"p50": float(p50), "p99": float(p99), "max": float(longest)}

    def __str__(self) -> str:
        """Say it in one line for each fact."""
        rungs = ", ".join(f"{count} {rung}" for rung, count in self.rungs.most_common())
        act = self.act_us
        lines = [
            f"{self.steps} steps of {self.runs} runs in {self.seconds:.1f} s: {rungs or 'none'}",
            f"act p50 {act['p50']:.0f}, p99 {act['p99']:.0f}, max {act['max']:.0f} µs",
        ]
        for count, what in (
            (self.late, "actions left late"),
            (self.missed, "ticks without an observation"),
            (self.skipped, "observations that a newer one replaced"),
            (self.errors, f"lines of no use; the last one: {self.last_error}"),
        ):
            if count:
                lines.append(f"{count} {what}")
        return "\n".join(lines)


OnStep = Callable[[ServedStep, ServingReport, float], None]


@checked
def serve(
    mpc: KoopmanMPC,
    lines: Lines,
    *,
    rate: float | None = None,
    deadline: float | None = None,
    patience: int = 3,
    log: StepLog | None = None,
    on_step: OnStep | None = None,
    n_steps: int | None = None,
) -> ServingReport:
    """Let a controller act for a plant in another process until that closes its end.

    Without a rate every observation is answered as it comes. With one, every period begins at a
    tick of the clock; the newest observation that has come by then is used, or the first that comes
    within a quarter of the period. If there is none, the watchdog holds the input sent last for a
    number of ticks, and then goes to the safe input as fast as rate bounds allow; the controller's
    estimate is carried on. After more than a horizon without an observation the next one begins a
    new run. An interrupt (Ctrl-C) ends the loop with the safe input.

    An answer is an object with `u`, `step`, `rung`, `us` and, if something was of no use, `error`.

    Args:
        mpc: The controller.
        lines: To and from the plant.
        rate: Steps per second; None: as they come.
        deadline: Microseconds after which `act` makes do with the best plan found; None: half of
            the period, where there is a rate and the solver can be stopped.
        patience: Ticks for which the watchdog holds an input.
        log: Where every step is written.
        on_step: Called after each step with it, the report so far, and the seconds left before the
            next tick (infinite without a rate).
        n_steps: Steps after which to end; None: when the other side closes.

    Returns:
        What was done.

    Raises:
        ValueError: If a number is out of range, or the solver keeps no deadline.
    """
    period = 0.0 if rate is None else 1.0 / positive_float("rate", rate)
    positive_int("patience", patience, minimum=0)
    if n_steps is not None:
        positive_int("n_steps", n_steps)
    search = mpc.search
    _set_deadline(mpc, deadline, period)
    loop = _Loop(mpc, lines, period, patience, log)
    with threadpool_limits(limits=1):
        _rehearse(mpc)
        gc.collect()
        gc.freeze()  # what is there stays, and is not looked at again in the loop
        try:
            loop.run(on_step, n_steps)
        except KeyboardInterrupt:
            loop.leave()
        finally:
            mpc.search = search
            gc.unfreeze()
            if log is not None:
                loop.write()
                log.close()
    return loop.report


def _rehearse(mpc: KoopmanMPC) -> None:
    """Run through all that a step does, so that the first is like any other."""
    mpc.reset()
    with suppress(Exception), np.errstate(all="ignore"):  # a target may not suit zeros
        for _ in range(REHEARSED):
            mpc.act(np.zeros(mpc.model.coordinates.n_observations))
    mpc.reset()


def _set_deadline(mpc: KoopmanMPC, deadline: float | None, period: float) -> None:
    """Give the controller a deadline in microseconds."""
    name = mpc.solver if isinstance(mpc.solver, str) else mpc.solver.name
    stoppable = name != "cvxpy" and solver_kind(name).keeps_time_limit
    if deadline is not None:
        positive_float("deadline", deadline)
        if mpc.compiled:
            raise ValueError(
                f"deadline is {deadline}, but a compiled controller has no clock; make it with "
                "compiled=False"
            )
        if not stoppable:
            raise ValueError(
                f"deadline is {deadline}, but the solver {name!r} knows no time limit; make the "
                'controller with solver="auto"'
            )
    elif period and stoppable and not mpc.compiled and mpc.search.deadline is None:
        deadline = SHARE * period * 1e6
    if deadline is not None:
        mpc.search = replace(mpc.search, deadline=deadline)


class _Loop:
    """The loop of `serve`, and what it remembers."""

    def __init__(
        self, mpc: KoopmanMPC, lines: Lines, period: float, patience: int, log: StepLog | None
    ) -> None:
        self._mpc, self._lines, self._period = mpc, lines, period
        self._patience, self._log = patience, log
        self.report = ServingReport()
        self._started = 0.0
        self._acting, self._run, self._missed = False, -1, 0
        self._sent = self._safe = mpc.safe_input
        self._overruled: Array | None = None  # input sent in place of the controller's
        # Of the log, with measured inputs; what acted is told a step later.
        self._rows: list[tuple[ServedStep, Array | None]] = []
        self._gone = False  # whether the plant takes no answers any more

    def run(self, on_step: OnStep | None, n_steps: int | None) -> None:
        """Step until the other side closes, or so many times."""
        self._started = tick = perf_counter()
        while n_steps is None or self.report.steps < n_steps:
            if self._period:
                tick += self._period
                tick = max(tick, perf_counter())  # ticks that have passed are not made up for
                _sleep_until(tick)
                message, came = self._lines.newest(tick + GRACE * self._period)
                self.report.skipped += max(0, came - 1)
                if message is None and self._lines.ended:
                    return
            else:
                message = self._lines.oldest()
                if message is None:
                    return
                tick = perf_counter()
            step = self._stepped(message, tick)
            self.report.add(step)
            if self._gone:
                return
            if on_step is not None:
                left = tick + self._period - perf_counter() if self._period else np.inf
                on_step(step, self.report, left)

    def leave(self) -> None:
        """Tell the plant to go to the safe input, and that nothing follows."""
        u = self._toward_safe()
        self._lines.send({"u": u, "step": self.report.steps, "rung": "safe", "last": True})

    def _stepped(self, message: Message | None, tick: float) -> ServedStep:
        """Act on what came by a tick, or on nothing."""
        start = perf_counter()
        u, rung, error = self._acted(message or Message())
        seconds = perf_counter() - start
        step = ServedStep(
            number=self.report.steps,
            run=max(self._run, 0),
            time=tick - self._started,
            y=None if message is None or not self._usable(message.y) else message.y,
            u=u,
            rung=rung,
            seconds=seconds,
            late=False,
            missed=self._missed,
            trust=0.0,
            error=error,
        )
        self._rows.append((step, None if message is None else message.disturbance))
        answer = {"u": u, "step": step.number, "rung": rung, "us": round(seconds * 1e6, 1)}
        self._gone = not self._lines.send(answer | ({"error": error} if error else {}))
        self._sent = u
        late = bool(self._period) and perf_counter() > tick + self._period
        last = self._mpc.last
        trust = last.trust if last is not None and self._acting else 0.0
        step = replace(step, late=late, trust=trust)
        self._rows[-1] = step, self._rows[-1][1]
        self.write(message, kept=1)
        return step

    def write(self, message: Message | None = None, kept: int = 0) -> None:
        """Write rows of the log, all but the last few, which a message may tell what acted in."""
        rows = self._rows[: len(self._rows) - kept]
        for step, disturbance in rows:
            u = step.u
            if message is not None and message.applied is not None:
                u = message.applied if message.applied.shape == u.shape else u
            if self._log is not None:
                said = step.rung, f"{step.seconds * 1e6:.1f}", int(step.late), step.missed
                said_too = (*said, f"{step.trust:.3f}")
                self._log.write(step.time, step.run, step.y, u, disturbance, said_too)
        self._rows = self._rows[len(rows) :]

    def _usable(self, y: Array | None) -> bool:
        return y is not None and y.shape == (self._mpc.model.coordinates.n_observations,)

    def _acted(self, message: Message) -> tuple[Array, str, str]:
        """Return the input, how it was found, and what was wrong."""
        mpc, error = self._mpc, message.error
        if message.parameters:
            error = self._set_parameters(message.parameters, error)
        usable = self._usable(message.y)
        if message.y is not None and not usable:
            n = mpc.model.coordinates.n_observations
            error = error or f"y has shape {message.y.shape}; expected ({n},)"
        back = self._missed > mpc.horizon
        if usable and (not self._acting or message.reset or back):
            previous = self._sent if message.applied is None else message.applied
            mpc.reset(None if self._run < 0 and message.applied is None else previous)
            self._acting, self._overruled, self._run = True, None, self._run + 1
            message = replace(message, applied=None)
        self._missed = 0 if usable else self._missed + 1
        if not self._acting:
            return self._safe.copy(), "safe", error
        applied = self._overruled if message.applied is None else message.applied
        try:
            y: Any = message.y if usable else None  # of which nothing can be read
            u = mpc.act(y, message.disturbance, applied=applied)
        except (TypeError, ValueError) as refused:  # in a run's first step only
            self._acting = False
            return self._toward_safe(), "safe", error or str(refused)
        assert mpc.last is not None
        error, self._overruled = error or mpc.last.ignored, None
        if not self._missed:
            return u, mpc.last.rung, error
        held = self._missed <= self._patience
        self._overruled = u = self._sent.copy() if held else self._toward_safe()
        return u, "held" if held else "safe", error

    def _set_parameters(self, given: Any, error: str) -> str:
        for name, value in given.items():
            try:
                self._mpc.parameters[name] = value
            except (KeyError, TypeError, ValueError) as wrong:
                error = error or str(wrong.args[0] if wrong.args else wrong)
        return error

    def _toward_safe(self) -> Array:
        """Go to the safe input from the one sent last, as fast as rate bounds allow."""
        rate = np.inf if self._mpc.bounds.rates is None else np.asarray(self._mpc.bounds.rates)
        return np.asarray(np.clip(self._safe, self._sent - rate, self._sent + rate))


def _sleep_until(tick: float) -> None:
    left = tick - perf_counter()
    if left > 0.0:
        time.sleep(left)
