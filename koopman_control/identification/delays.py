"""Input delays: how many samples pass before an input shows, estimated from data and taken out."""

from __future__ import annotations

import warnings
from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from koopman_control.common.arrays import Array, positive_int
from koopman_control.common.border import checked
from koopman_control.features import SampledFeatures, spread
from koopman_control.trajectories import Trajectory, check_trajectories

N_FEATURES = 20
STEEPNESS = 0.5  # smooth features need few samples
N_FOLDS = 5
STRETCHES = 4  # per fold
MAX_ROWS = 20_000
RIDGE = 1e-4  # on standardised columns; with less, chance makes inputs look useful


@dataclass(frozen=True)
class LaggedRows:
    """Standardised rows that all delays share, so that their errors can be compared.

    The state is what is observed and, with a memory of q, its differences up to order q: they tell
    what the q rows before tell, and are not as alike as these.

    Args:
        Z: State and features, shape (T, r).
        X: State, shape (T, p (q + 1)).
        U: Inputs 0 ... max_delay + q samples ago, shape (T, max_delay + q + 1, m).
        dX: Increments of the observations, shape (T, p).
        fold: Which fold a row belongs to, shape (T,).
        memory: Past rows q, and past inputs before the one that acts.
    """

    Z: Array
    X: Array
    U: Array
    dX: Array
    fold: NDArray[np.int64]
    memory: int

    @classmethod
    def of(cls, runs: Sequence[Trajectory], max_delay: int, memory: int = 0) -> LaggedRows:
        """Stack the rows of all runs that are longer than `max_delay` and `memory` together."""
        back = max_delay + memory
        long = [run for run in runs if len(run) > back]
        if not long:
            raise ValueError(
                f"max_delay is {max_delay}{f' with memory={memory}' if memory else ''}, but the "
                f"longest trajectory has {max(map(len, runs))} steps; expected a max_delay below "
                "that"
            )
        X = np.concatenate([_differences(run, back, memory) for run in long])[:MAX_ROWS]
        dX = np.concatenate([np.diff(run.observations[back:], axis=0) for run in long])
        U = np.concatenate([_lagged_inputs(run, back) for run in long])[:MAX_ROWS]
        T, m = len(X), U.shape[2]
        needed = rows_needed(dX.shape[1], m, memory)
        if needed > T:
            raise ValueError(
                f"data holds {T} samples with {back} earlier inputs; expected at least "
                f"{needed}: collect more, or lower max_delay{' or memory' if memory else ''}"
            )
        X = (X - X.mean(axis=0)) / spread(X)
        U = (U - U[:, 0].mean(axis=0)) / spread(U[:, 0])
        features = SampledFeatures(
            N_FEATURES, steepness=STEEPNESS, sampling="uniform", random_state=0
        )
        Z = np.hstack([np.ones((T, 1)), X, features.fit(X).transform(X)])
        # Neighbours in time are alike, so folds are made of stretches of the data.
        fold = np.arange(T) * N_FOLDS * STRETCHES // T % N_FOLDS
        return cls(Z, X, U, dX[:MAX_ROWS] / spread(dX), fold, memory)

    def error(self, delays: Sequence[int | None]) -> float:
        """Root mean square of the left-out one-step errors; None leaves an input out."""
        lagged = [
            self.U[:, k + back, [i]]
            for i, k in enumerate(delays)
            if k is not None
            for back in range(self.memory + 1)
        ]
        Phi = np.hstack([self.Z, *lagged, *(u * self.X for u in lagged)])
        parts = [
            (Phi[rows].T @ Phi[rows], Phi[rows].T @ self.dX[rows])
            for rows in (self.fold == i for i in range(N_FOLDS))
        ]
        gram, cross = sum(G for G, _ in parts), sum(R for _, R in parts)
        squares = 0.0
        for i, (G, R) in enumerate(parts):
            ridge = RIDGE * len(Phi) * np.eye(Phi.shape[1])
            K = np.linalg.solve(gram - G + ridge, cross - R)
            rows = self.fold == i
            squares += float(np.sum((self.dX[rows] - Phi[rows] @ K) ** 2))
        return float(np.sqrt(squares / self.dX.size)) + np.finfo(float).tiny


def rows_needed(p: int, m: int, memory: int) -> int:
    """Return how many rows a fit to p observations and m inputs needs with its folds."""
    state = p * (memory + 1)
    unknown = 1 + state + N_FEATURES + m * (memory + 1) * (1 + state)
    return int(np.ceil(unknown * N_FOLDS / (N_FOLDS - 1)))


def _differences(run: Trajectory, back: int, memory: int) -> Array:
    """Return observations and their backward differences up to an order, (T - back, p (q + 1))."""
    orders = [run.observations]
    for _ in range(memory):
        orders.append(np.diff(orders[-1], axis=0, prepend=orders[-1][:1]))
    return np.hstack([order[back:-1] for order in orders])


def _lagged_inputs(run: Trajectory, back: int) -> Array:
    """Return the inputs 0 ... back samples before, shape (T - back, back + 1, m)."""
    T = len(run)
    return np.stack([run.actions[back - k : T - k] for k in range(back + 1)], axis=1)


VISIBLE = 0.01  # the smallest relative drop of the error that counts as an effect
BY_CHANCE = 10.0  # over T samples, the drop that the best of several delays gets from nothing
LONGEST_MEMORY = 4  # tried where none is given
WORTH = 0.8  # of the error that is left with one past sample fewer; else it is not worth having
ALIKE = 0.05  # of what the input explains; delays whose errors differ by less are equally good


@dataclass(frozen=True)
class DelayEstimate:
    """Delays of the inputs and the evidence for them.

    Args:
        delays: Samples of delay per input, length m.
        errors: Left-out one-step error for each delay 0 ... max of each input, the other inputs at
            their estimate, relative to a model without that input; shape (m, max_delay + 1). Near
            1, the input does not help to predict.
        dt: Sampling time in seconds, or None.
        names: m names of inputs.
        memory: Past samples that the model looked at, beside the present one.
    """

    delays: tuple[int, ...]
    errors: Array
    dt: float | None
    names: tuple[str, ...]
    memory: int = 0

    def __str__(self) -> str:
        """Say it in plain words."""
        lines = []
        for name, delay, errors in zip(self.names, self.delays, self.errors, strict=True):
            seconds = f" ({delay * self.dt:g} s)" if self.dt is not None else ""
            others = np.delete(errors, delay)
            runner_up = f", {others.min():.3g} with the next best" if len(others) else ""
            lines.append(
                f"{name} acts after {delay} samples{seconds}: one-step error "
                f"{errors[delay]:.3g} of that without it{runner_up}"
            )
        if self.memory:
            lines.append(f"with a memory of {self.memory} samples, as the state is not all seen")
        return "\n".join(lines)


@checked
def estimate_input_delay(
    data: Trajectory | Sequence[Trajectory], max_delay: int = 10, memory: int | None = None
) -> DelayEstimate:
    """Estimate after how many samples each input acts.

    For each delay k, the increments are regressed on the state, 20 smooth features of it, the input
    k samples ago and its products with the state; the error on left-out stretches of data decides.
    Several inputs are treated in turn, twice. With a memory, earlier observations and inputs stand
    beside the present ones; a delay shorter than the true one then does as well, so the longest of
    the best is taken.

    Args:
        data: Trajectories with inputs that vary; slowly varying ones need more data.
        max_delay: Longest delay tried, in samples.
        memory: Past samples beside the present one, 0 where the whole state is seen; None lets
            each further one, up to 4, prove itself by the left-out error, as far as no trajectory
            is too short for it.

    Raises:
        ValueError: If no trajectory is longer than max_delay and memory, or there are too few
            samples.
        UserWarning: If an input never moves or does not help to predict, or if the best delay is
            the longest one tried.

    Example:
        >>> rng = np.random.default_rng(0)
        >>> u = rng.uniform(-1, 1, 200)
        >>> x = np.zeros(201)
        >>> for t in range(200):
        ...     x[t + 1] = 0.9 * x[t] + (u[t - 3] if t >= 3 else 0.0)
        >>> estimate_input_delay(Trajectory(x[:, None], u[:, None])).delays
        (3,)
    """
    runs = check_trajectories(data)
    positive_int("max_delay", max_delay, minimum=0)
    if memory is not None:
        best = _searched(LaggedRows.of(runs, max_delay, positive_int("memory", memory, minimum=0)))
    else:
        best = _searched(LaggedRows.of(runs, max_delay))
        while best.memory < min(LONGEST_MEMORY, _affordable(runs, max_delay)):
            longer = _searched(LaggedRows.of(runs, max_delay, best.memory + 1))
            if longer.error > WORTH * best.error:
                break
            best = longer
    names = runs[0].action_names or tuple(f"action column {i}" for i in range(len(best.delays)))
    _warn(best.errors, best.delays, names, max(VISIBLE, BY_CHANCE / best.n_rows))
    return DelayEstimate(best.delays, best.errors, runs[0].dt, names, best.memory)


@dataclass(frozen=True)
class _Search:
    """The best delays for one memory, and the left-out error with them."""

    delays: tuple[int, ...]
    errors: Array
    error: float
    memory: int
    n_rows: int


def _searched(rows: LaggedRows) -> _Search:
    """Search the delay of each input with the others at theirs."""
    m, n_delays = rows.U.shape[2], rows.U.shape[1] - rows.memory
    delays, errors, error = [0] * m, np.ones((m, n_delays)), np.inf
    for _ in range(1 if m == 1 else 2):
        for i in range(m):
            without = rows.error([None if j == i else delays[j] for j in range(m)])
            for k in range(n_delays):
                errors[i, k] = rows.error([k if j == i else delays[j] for j in range(m)]) / without
            delays[i] = _best(errors[i], rows.memory)
            error = float(errors[i, delays[i]] * without)
    return _Search(tuple(delays), errors, error, rows.memory, len(rows.X))


def _best(curve: Array, memory: int) -> int:
    """Choose the delay of least error; with a memory, the longest one that is as good as that."""
    if not memory:
        return int(np.argmin(curve))
    least = float(curve.min())
    return int(np.flatnonzero(curve <= least + ALIKE * max(0.0, 1.0 - least))[-1])


def _affordable(runs: Sequence[Trajectory], max_delay: int) -> int:
    """Return the longest memory for which no run gets too short, and there are rows enough."""
    lengths = np.array([len(run) - max_delay for run in runs if len(run) > max_delay])
    p, m = runs[0].observations.shape[1], runs[0].actions.shape[1]
    memory = 0
    while (
        memory < lengths.min() - 1 and rows_needed(p, m, memory + 1) <= (lengths - memory - 1).sum()
    ):
        memory += 1
    return memory


@checked
def with_input_delay(
    data: Trajectory | Sequence[Trajectory], delay: int | Sequence[int]
) -> list[Trajectory]:
    """Shift inputs so that each stands beside the increment it causes.

    A model fitted to the result has no delay: x+ = f(x, v) with v_t = u_t-k. To control with it,
    predict over the k inputs already sent first.

    Args:
        data: Trajectories, with observations as logged and inputs as commanded.
        delay: Samples of delay, one number or one per input; -1 for feed-through: an input that
            acts on the outputs of its own row.

    Returns:
        Trajectories shorter by the longest delay: their first observation is that at which the
        first logged input begins to act.

    Raises:
        ValueError: If every trajectory is too short for the delay.
        UserWarning: If some are, and are left out.

    Example:
        >>> run = Trajectory([[0.0], [0.0], [1.0], [3.0]], [[1.0], [2.0], [9.0]])
        >>> with_input_delay(run, 1)[0].actions.ravel()
        array([1., 2.])
    """
    runs = check_trajectories(data)
    shifted = without_input_delay(runs, delay)
    if len(shifted) < len(runs):
        warnings.warn(
            f"{len(runs) - len(shifted)} of {len(runs)} trajectories are not longer than the delay "
            f"of {np.max(delay)} samples and are left out",
            UserWarning,
            stacklevel=2,
        )
    return shifted


def without_input_delay(runs: Sequence[Trajectory], delay: int | Sequence[int]) -> list[Trajectory]:
    """Shift inputs of checked trajectories as `with_input_delay` does, without its warning."""
    m = runs[0].actions.shape[1]
    given = [delay] * m if isinstance(delay, int | np.integer) else list(delay)
    if len(given) != m:
        raise ValueError(
            f"delay has {len(given)} entries; expected one number, or one per input: {m}"
        )
    delays = [positive_int("delay", k, minimum=-1) for k in given]
    if min(delays) < 0:  # shorten by the row whose input is not in the data
        runs = [
            replace(
                run,
                observations=run.observations[:-1],
                actions=_ahead(run.actions, delays),
                rewards=None if run.rewards is None else run.rewards[:-1],
            )
            for run in runs
            if len(run) > 1
        ]
        delays = [max(k, 0) for k in delays]
        if not runs:
            raise ValueError("delay is -1, but every trajectory is a single step long")
    longest = max(delays)
    if not longest:
        return list(runs)
    usable = [run for run in runs if len(run) > longest]
    if not usable:
        raise ValueError(
            f"delay is {delay}, but the longest trajectory has {max(map(len, runs))} steps; "
            "expected at least one step more than the delay"
        )
    return [_shifted(run, delays) for run in usable]


def _ahead(actions: Array, delays: Sequence[int]) -> Array:
    """Take inputs with feed-through a row earlier, all a row fewer."""
    columns = [actions[1:, i] if k < 0 else actions[:-1, i] for i, k in enumerate(delays)]
    return np.stack(columns, axis=1)


def _shifted(run: Trajectory, delays: Sequence[int]) -> Trajectory:
    longest, T = max(delays), len(run)
    columns = [run.actions[longest - k : T - k, i] for i, k in enumerate(delays)]
    return replace(
        run,
        observations=run.observations[longest:],
        actions=np.stack(columns, axis=1),
        rewards=None if run.rewards is None else run.rewards[longest:],
    )


def _warn(errors: Array, delays: Sequence[int], names: Sequence[str], visible: float) -> None:
    for name, delay, curve in zip(names, delays, errors, strict=True):
        trouble = None
        if curve[delay] > 1.0 - visible:
            trouble = (
                "does not help to predict at any delay tried, so its delay is unknown; excite it "
                "more, or raise max_delay"
            )
        elif delay == len(curve) - 1 and delay > 0:
            trouble = f"fits best at the longest delay tried, {delay}; raise max_delay"
        if trouble:
            warnings.warn(f"{name} {trouble}", UserWarning, stacklevel=3)
