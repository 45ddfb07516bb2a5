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

    Args:
        Z: State and features, shape (T, q).
        X: State, shape (T, p).
        U: Inputs 0 ... max_delay samples ago, shape (T, max_delay + 1, m).
        dX: Increments, shape (T, p).
        fold: Which fold a row belongs to, shape (T,).
    """

    Z: Array
    X: Array
    U: Array
    dX: Array
    fold: NDArray[np.int64]

    @classmethod
    def of(cls, runs: Sequence[Trajectory], max_delay: int) -> LaggedRows:
        """Stack the rows of all runs that are longer than `max_delay`."""
        long = [run for run in runs if len(run) > max_delay]
        if not long:
            raise ValueError(
                f"max_delay is {max_delay}, but the longest trajectory has {max(map(len, runs))} "
                "steps; expected a max_delay below that"
            )
        X = np.concatenate([run.observations[max_delay:-1] for run in long])[:MAX_ROWS]
        dX = np.concatenate([np.diff(run.observations[max_delay:], axis=0) for run in long])
        U = np.concatenate([_lagged_inputs(run, max_delay) for run in long])[:MAX_ROWS]
        T, p, m = len(X), X.shape[1], U.shape[2]
        needed = (1 + p + N_FEATURES + m * (1 + p)) * N_FOLDS / (N_FOLDS - 1)
        if needed > T:
            raise ValueError(
                f"data holds {T} samples with {max_delay} earlier inputs; expected at least "
                f"{np.ceil(needed):.0f}: collect more, or lower max_delay"
            )
        X = (X - X.mean(axis=0)) / spread(X)
        U = (U - U[:, 0].mean(axis=0)) / spread(U[:, 0])
        features = SampledFeatures(
            N_FEATURES, steepness=STEEPNESS, sampling="uniform", random_state=0
        )
        Z = np.hstack([np.ones((T, 1)), X, features.fit(X).transform(X)])
        # Neighbours in time are alike, so folds are made of stretches of the data.
        fold = np.arange(T) * N_FOLDS * STRETCHES // T % N_FOLDS
        return cls(Z, X, U, dX[:MAX_ROWS] / spread(dX), fold)

    def error(self, delays: Sequence[int | None]) -> float:
        """Root mean square of the left-out one-step errors; None leaves an input out."""
        lagged = [self.U[:, k, [i]] for i, k in enumerate(delays) if k is not None]
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


def _lagged_inputs(run: Trajectory, max_delay: int) -> Array:
    """Return the inputs 0 ... max_delay samples before, shape (T - max_delay, max_delay + 1, m)."""
    T = len(run)
    return np.stack([run.actions[max_delay - k : T - k] for k in range(max_delay + 1)], axis=1)


VISIBLE = 0.01  # the smallest relative drop of the error that counts as an effect
BY_CHANCE = 10.0  # over T samples, the drop that the best of several delays gets from nothing


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
    """

    delays: tuple[int, ...]
    errors: Array
    dt: float | None
    names: tuple[str, ...]

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
        return "\n".join(lines)


@checked
def estimate_input_delay(
    data: Trajectory | Sequence[Trajectory], max_delay: int = 10
) -> DelayEstimate:
    """Estimate after how many samples each input acts.

    For each delay k, the increments are regressed on the state, 20 smooth features of it, the input
    k samples ago and its products with the state; the error on left-out stretches of data decides.
    Several inputs are treated in turn, twice.

    Args:
        data: Trajectories with inputs that vary; slowly varying ones need more data.
        max_delay: Longest delay tried, in samples.

    Raises:
        ValueError: If no trajectory is longer than max_delay, or there are too few samples.
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
    rows = LaggedRows.of(runs, max_delay)
    m = rows.U.shape[2]
    names = runs[0].action_names or tuple(f"action column {i}" for i in range(m))
    delays, errors = [0] * m, np.ones((m, max_delay + 1))
    for _ in range(1 if m == 1 else 2):
        for i in range(m):
            without = rows.error([None if j == i else delays[j] for j in range(m)])
            for k in range(max_delay + 1):
                errors[i, k] = rows.error([k if j == i else delays[j] for j in range(m)]) / without
            delays[i] = int(np.argmin(errors[i]))
    _warn(errors, delays, names, max(VISIBLE, BY_CHANCE / len(rows.X)))
    return DelayEstimate(tuple(delays), errors, runs[0].dt, names)


@checked
def with_input_delay(
    data: Trajectory | Sequence[Trajectory], delay: int | Sequence[int]
) -> list[Trajectory]:
    """Shift inputs so that each stands beside the increment it causes.

    A model fitted to the result has no delay: x+ = f(x, v) with v_t = u_t-k. To control with it,
    predict over the k inputs already sent first.

    Args:
        data: Trajectories, with observations as logged and inputs as commanded.
        delay: Samples of delay, one number or one per input.

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
    delays = [positive_int("delay", k, minimum=0) for k in given]
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
