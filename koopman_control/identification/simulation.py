"""Free runs of a model under given inputs: from the best start, and what to say where they fail."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike

from koopman_control.common.arrays import Array, finite_array
from koopman_control.identification.model import LiftedModel

DIVERGED = 1e3  # standard deviations of an output; nothing that is said beyond means anything
ITERATIONS = 8  # of Gauss-Newton for the start


@dataclass(frozen=True, eq=False)
class Simulation:
    """A free run of a model.

    Args:
        outputs: What the model says the rows of the log hold, shape (T, p); NaN after a divergence.
        first: First row that is simulated; those before are the measured start.
        start: State the run begins from, shape (d,).
        left_data: First row whose state is no longer on known ground (`LiftedModel.distance` above
            1.5), or None.
        diverged: First row at which the run is lost, or None.
        verdict: What happened, in a sentence.
    """

    outputs: Array
    first: int
    start: Array
    left_data: int | None
    diverged: int | None
    verdict: str

    def __repr__(self) -> str:
        """Say what happened without printing the arrays."""
        return f"Simulation({len(self.outputs)} rows, {self.verdict})"


def simulate(model: LiftedModel, actions: ArrayLike, first_outputs: ArrayLike) -> Simulation:
    """Simulate a model under logged inputs; see `LiftedModel.simulate`."""
    U = _rows("actions", actions, model.n_inputs)
    Y = _rows("first_outputs", first_outputs, model.coordinates.n_observations)
    memory, ahead = model.coordinates.memory, int(model.input_delay < 0)
    if model.input_delay > 0:
        U = np.concatenate([np.repeat(U[:1], model.input_delay, axis=0), U])[: len(U)]
    if len(Y) <= memory:
        raise ValueError(
            f"first_outputs has {len(Y)} rows; expected at least {memory + 1}, the memory of the "
            "model and the present"
        )
    rows = len(U) + 1 - ahead
    if len(Y) > rows or rows < memory + 2:
        raise ValueError(
            f"actions has {len(U)} rows for {len(Y)} rows of first_outputs; expected inputs of all "
            "rows to simulate"
        )
    V = U[ahead:]
    x0 = model.coordinates.along(Y[: memory + 1], V[:memory])[-1]
    if len(Y) > memory + 1:
        x0 = _least_squares_start(model, x0, V[memory : len(Y) - 1], Y[memory + 1 :])
    with np.errstate(all="ignore"):
        X = model.rolled_out(x0[None], V[None, memory:], "relifted")[0]
    return _judged(model, Y[: memory + 1], x0, X)


def _rows(name: str, value: ArrayLike, width: int) -> Array:
    array = finite_array(name, value)
    if array.ndim == 1 and width == 1:
        array = array[:, None]
    return finite_array(name, array, shape=(None, width))


def _least_squares_start(model: LiftedModel, x0: Array, U: Array, Y: Array) -> Array:
    """Correct what the start holds of outputs, so that the next rows are met best.

    Corrections are weighed like the errors: measured rows are as noisy before as after.
    """
    p, memory = model.coordinates.n_outputs, model.coordinates.memory
    free = p * (1 + memory)
    targets = np.stack([model.coordinates.along(y[None], U[:0])[0] for y in Y]) if not memory else (
        _outputs(model, Y)
    )  # fmt: skip
    scale = np.where(model.coordinates.is_angle[:p], 1.0, _scale(model))
    past = np.tril(np.ones((1 + memory, 1 + memory)))
    past[:, 1:] *= -1.0  # y[t - j] is y[t] less the last j steps
    weigh = np.kron(past, np.diag(1.0 / scale))
    best, best_cost, start = x0, np.inf, x0.copy()
    for _ in range(ITERATIONS):
        with np.errstate(all="ignore"):
            X = model.rolled_out(start[None], U[None], "relifted")[0]
        error = _wrapped(model, targets - X[:, :p]) / scale
        moved = weigh @ (start - x0)[:free]
        cost = float(np.sum(error**2) + np.sum(moved**2))
        if not cost < (1.0 - 1e-6) * best_cost:
            break
        best, best_cost = start, cost
        J = np.empty((len(U), p, free))
        S = np.eye(len(x0))[:, :free]
        before = np.concatenate([start[None], X[:-1]])
        F, _ = model.one_step.jacobians(before, U)
        for t in range(len(U)):
            S = F[t] @ S
            J[t] = S[:p] / scale[:, None]
        rows = np.vstack([J.reshape(-1, free), weigh])
        step = np.linalg.lstsq(rows, np.concatenate([error.ravel(), -moved]), rcond=None)[0]
        start = start.copy()
        start[:free] += step
    return best


def _outputs(model: LiftedModel, Y: Array) -> Array:
    """Read the present outputs of rows."""
    return np.asarray(model.coordinates._now(Y))


def _wrapped(model: LiftedModel, error: Array) -> Array:
    turning = model.coordinates.is_angle[: error.shape[-1]]
    turns = 2.0 * np.pi * np.round(error / (2.0 * np.pi)) if turning.any() else 0.0
    return np.asarray(error - np.where(turning, turns, 0.0))


def _scale(model: LiftedModel) -> Array:
    """Standard deviations of the present outputs; 1 for angles."""
    scale = np.ones(model.coordinates.n_outputs)
    for j, (state, kind) in enumerate(model.coordinates.embedded):
        if kind == "id" and state < len(scale):
            scale[state] = model.signals.scale[j]
    return scale


def _judged(model: LiftedModel, known: Array, x0: Array, X: Array) -> Simulation:
    p, first = model.coordinates.n_outputs, len(known)
    scale = _scale(model)
    center = x0[:p]
    with np.errstate(all="ignore"):
        lost = ~(np.abs(X[:, :p] - center) < DIVERGED * scale).all(axis=1)
    diverged = int(np.argmax(lost)) if lost.any() else None
    end = len(X) if diverged is None else diverged
    far = model.distance(X[:end]) > 1.5 if end else np.zeros(0, dtype=bool)
    left = int(np.argmax(far)) if far.any() else None
    outputs = np.full((first + len(X), p), np.nan)
    outputs[:first] = _outputs(model, known)
    outputs[first : first + end] = X[:end, :p]
    names = model.state_names or tuple(f"x{i}" for i in range(len(x0)))
    words = "the run stays where the training data were"
    if left is not None:
        words = f"the run leaves the training data at row {first + left}"
        words += f", first in {names[_farthest(model, X[left])]}"
    if diverged is not None:
        guilty = int(np.argmax(~(np.abs(X[diverged, :p] - center) < DIVERGED * scale)))
        words += f"; it diverges at row {first + diverged} in {names[guilty]}"
    return Simulation(
        outputs=outputs,
        first=first,
        start=x0,
        left_data=None if left is None else first + left,
        diverged=None if diverged is None else first + diverged,
        verdict=words,
    )


def _farthest(model: LiftedModel, x: Array) -> int:
    """Return the state that is farthest from the mean of the fit, in standard deviations."""
    signals = model.signals
    standard = np.abs((signals.embedding(x) - signals.center) / signals.scale)
    return int(model.coordinates.embedded[int(np.argmax(standard))][0])
