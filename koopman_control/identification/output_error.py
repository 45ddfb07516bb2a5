"""Output-error fits: outer weights that make whole free runs agree with what was measured.

One-step least squares judges a model where the measured state is put in at every step, so what
noise and small errors do over a long simulation is not seen. Here the re-lifted roll-out itself is
fitted: Gauss-Newton with Levenberg and Marquardt's damping on the outer weights of the present
outputs (features stay as drawn, what a memory holds is only moved on), with exact sensitivities
through the roll-out. Where they start from is estimated beside them. Windows grow, since long ones
have many local minima far from the solution (Ljung, System Identification, 1999, chapter 10;
Ribeiro et al., On the smoothness of nonlinear system identification, Automatica 121, 2020).
"""

from __future__ import annotations

import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from types import ModuleType

import numpy as np
import scipy.linalg

from koopman_control.common import optional_package
from koopman_control.common.arrays import Array, positive_int
from koopman_control.common.border import checked
from koopman_control.identification.compiled_rollouts import covered_features
from koopman_control.identification.errors import state_scale
from koopman_control.identification.kernel_arrays import FreeRun
from koopman_control.identification.model import LiftedModel
from koopman_control.identification.snapshots import Run, split_into_folds
from koopman_control.trajectories import Trajectory

LARGEST = 1e3  # ranges of an output: a run that moves so far in one step has diverged
FIRST_WINDOW = 16  # steps; further windows are GROWTH times as long, up to whole runs
GROWTH = 4
SETTLED = 1e-3  # relative change of the cost
FEWEST_WINDOWS = 8  # of data that are thinned out
MOST_DAMPED = 8  # dampings tried for a step
MOST_DERIVATIVES = 8_000_000  # held at a time, 64 MB
MOST_JUDGED = 100_000  # steps of free runs that are judged


class OuterWeights:
    """The weights theta (p, k) of a model's present outputs on k regressors, and a way back.

    Regressors are psi = [1, standardised feature inputs, features] and what enters, also times psi
    with a bilinear coupling; increments of the outputs are theta times them.

    Args:
        model: Not reduced, without states that stop at a limit, of features that are compiled.

    Attributes:
        theta: Weights of the model, shape (p, k).
        is_feature: Which regressors hold a feature, shape (k,).
        features: The features.
    """

    def __init__(self, model: LiftedModel) -> None:
        signals, coordinates = model.signals, model.coordinates
        features = covered_features(model.features)
        if model.reduction is not None or features is None or signals.saturating.any():
            raise ValueError(
                "the model is reduced, holds states at a limit, or has features that are not "
                "compiled; output-error fits need plain models of features with a compiled_form"
            )
        self._model, self.n_outputs = model, coordinates.n_outputs
        self.features = model.features
        self._loops = _loops()
        p, embedded = self.n_outputs, [state for state, kind in coordinates.embedded]
        angles = np.flatnonzero(coordinates.is_angle)
        self._n_psi = 1 + len(embedded) + model.features._n_features_out
        row = {state: 1 + j for j, state in enumerate(embedded) if state not in angles}
        row |= {int(state): self._n_psi + j for j, state in enumerate(angles)}
        self._rows = np.array([row[state] for state in range(coordinates.dim)])
        self._units = np.ones(coordinates.dim)  # of a lifted row, in those of its state
        plain = [state for state in range(coordinates.dim) if state not in angles]
        self._units[plain] = signals.scale[[embedded.index(state) for state in plain]]
        self._centers = np.zeros(coordinates.dim)
        self._centers[plain] = signals.center[[embedded.index(state) for state in plain]]
        low, high = model.limits[:, :p]
        ranges = signals.scale[: len(embedded)].max() * np.ones(p)
        ranges[[i for i in range(p) if i not in angles]] = self._units[
            [i for i in range(p) if i not in angles]
        ]
        self.constants = FreeRun(
            plain=signals.embedding.plain,
            angles=signals.embedding.angles,
            features=features.arrays,
            places=features.places.astype(np.int64),
            center=np.ascontiguousarray(signals.center),
            scale=np.ascontiguousarray(signals.scale),
            low=np.ascontiguousarray(low),
            high=np.ascontiguousarray(high),
            largest=LARGEST * ranges,
            memory=coordinates.memory,
            bilinear=model.N is not None,
        )
        self.theta = self._read(model)
        n_e, psi = len(embedded), np.zeros(self._n_psi, dtype=bool)
        psi[1 + n_e :] = True
        times = 1 + (len(model.N) if model.N is not None else 0)
        rest = 0 if model.N is not None else model.B.shape[1]
        self.is_feature = np.concatenate([np.tile(psi, times), np.zeros(rest, dtype=bool)])

    def _read(self, model: LiftedModel) -> Array:
        rows = self._rows[: self.n_outputs]
        drift = (model.A - np.eye(len(model.A)))[rows, : self._n_psi]
        if model.N is None:
            blocks = [drift, model.B[rows]]
        else:
            gains = model.N[:, rows, : self._n_psi].copy()
            gains[:, :, 0] += model.B[rows].T
            blocks = [drift, *gains]
        return np.ascontiguousarray(np.hstack(blocks) * self._units[: self.n_outputs, None])

    def model(self, theta: Array) -> LiftedModel:
        """Return the model with these weights; what its memory holds is moved on exactly."""
        model, p, n_psi = self._model, self.n_outputs, self._n_psi
        A, B = model.A.copy(), model.B.copy()
        N = None if model.N is None else model.N.copy()
        memory, m = model.coordinates.memory, model.n_inputs

        def clear(state: int) -> int:
            row = int(self._rows[state])
            A[row], B[row] = 0.0, 0.0
            if N is not None:
                N[:, row] = 0.0
            A[row, 0] = -self._centers[state] / self._units[state] if row < n_psi else 0.0
            return row

        for a in range(p):
            for state in (a, *([p + a] if memory else [])):
                weights = theta[a] / self._units[state]
                row = clear(state)
                A[row, :n_psi] += weights[:n_psi]
                if N is None:
                    B[row] = weights[n_psi:]
                else:
                    gains = weights[n_psi:].reshape(len(N), n_psi)
                    B[row], N[:, row, 1:n_psi] = gains[:, 0], gains[:, 1:]
                if state == a:  # what is added to where it is
                    A[row, 0] -= A[row, 0] - weights[0]
                    A[row, row] += 1.0
        first = p * (1 + memory)
        for j in range(1, memory):
            for i in range(p):
                self._move(A, clear(p + j * p + i), p + j * p + i, p + (j - 1) * p + i)
        for i in range(m if memory else 0):
            row = clear(first + i)
            B[row, i] = 1.0 / self._units[first + i]
            for j in range(1, memory):
                self._move(A, clear(first + j * m + i), first + j * m + i, first + (j - 1) * m + i)
        return replace(model, A=A, B=B, N=N, error_quantiles={})

    def _move(self, A: Array, row: int, state: int, source: int) -> None:
        """Let a state become what another one was."""
        A[row, 0] += self._centers[source] / self._units[state]
        A[row, self._rows[source]] = self._units[source] / self._units[state]

    def regressors(self, runs: Sequence[Run], most: int = 5_000) -> tuple[Array, Array]:
        """Return root mean squares of the regressors (k,) and of the outputs' increments (p,)."""
        X = np.concatenate([run.X[:-1] for run in runs])
        dX = np.concatenate([np.diff(run.X[:, : self.n_outputs], axis=0) for run in runs])
        U = np.concatenate([run.U for run in runs])
        kept = np.linspace(0, len(X) - 1, min(most, len(X))).astype(int)
        psi = self._model.lift(X[kept])[:, : self._n_psi]
        V = self._model.signals.lifted_inputs(U[kept])
        if self.constants.bilinear:
            columns = [psi, *(psi * V[:, [i]] for i in range(V.shape[1]))]
        else:
            columns = [psi, V]
        size = np.sqrt(np.mean(np.hstack(columns) ** 2, axis=0))
        wrapped = self._model.coordinates.wrap(np.pad(dX, ((0, 0), (0, X.shape[1] - dX.shape[1]))))[
            :, : self.n_outputs
        ]
        moves = np.sqrt(np.mean(wrapped**2, axis=0))
        return np.where(size > 0.0, size, 1.0), np.where(moves > 0.0, moves, 1.0)

    def simulated(self, theta: Array, x0: Array, U: Array) -> tuple[Array, int]:
        """Simulate outputs (H, p) from a state (d,); beyond the steps that stayed finite, NaN."""
        Y = np.full((len(U), self.n_outputs), np.nan)
        U = np.ascontiguousarray(U)
        V = np.ascontiguousarray(self._model.signals.lifted_inputs(U))
        done = self._loops.free_run(self.constants, theta, np.ascontiguousarray(x0), U, V, Y)
        return Y, int(done)

    def windows(self, runs: Sequence[Run], length: int, most_rows: int) -> list[Windows]:
        """Cut runs into windows of `length` steps, evenly thinned to `most_rows` steps in all.

        The last window of a run overlaps the one before; runs that are shorter stay whole.
        """
        found: list[tuple[Run, int, int]] = []
        for run in runs:
            T = len(run.U)
            starts = list(range(0, T - length + 1, length)) or [0]
            if T - starts[-1] - length > length // 2:
                starts.append(T - length)
            found += [(run, start, min(length, T)) for start in starts]
        total = sum(H for _, _, H in found)
        if total > most_rows:
            count = max(1, int(len(found) * most_rows / total))
            found = [found[i] for i in np.linspace(0, len(found) - 1, count).astype(int)]
        p, lifted = self.n_outputs, self._model.signals.lifted_inputs
        batches = []
        for H in sorted({H for _, _, H in found}):
            alike = [(run, a) for run, a, length in found if length == H]
            U = np.stack([run.U[a : a + H] for run, a in alike])
            batches.append(
                Windows(
                    np.stack([run.X[a] for run, a in alike]),
                    U,
                    np.ascontiguousarray(lifted(U)),
                    np.stack([run.X[a + 1 : a + H + 1, :p] for run, a in alike]),
                )
            )
        return batches

    def simulated_windows(self, theta: Array, X0: Array, windows: Windows) -> Array | None:
        """Simulate outputs (W, H, p) from states X0 (W, d); None if one diverges."""
        Y = np.empty_like(windows.Y)
        done = self._loops.free_runs(self.constants, theta, X0, windows.U, windows.V, Y)
        return Y if done else None

    def differentiated(self, theta: Array, X0: Array, windows: Windows) -> tuple[Array, Array]:
        """Simulate outputs (W, H, p) with derivatives (W, H, p, p (1 + memory) + p k)."""
        Y = np.empty_like(windows.Y)
        s = self.n_outputs * (1 + self.constants.memory)
        J = np.empty((*Y.shape, s + theta.size))
        self._loops.sensitive_runs(self.constants, theta, X0, windows.U, windows.V, Y, J)
        return Y, J

    def wrapped(self, error: Array) -> Array:
        """Bring errors of outputs that are angles into [-pi, pi]."""
        turning = self._model.coordinates.is_angle[: self.n_outputs]
        turns = np.round(error / (2.0 * np.pi)) if turning.any() else 0.0
        return np.asarray(error - np.where(turning, 2.0 * np.pi * turns, 0.0))


def _loops() -> ModuleType:
    """Import the compiled loops."""
    optional_package("numba", "fast")
    from koopman_control.identification import output_error_kernels

    return output_error_kernels


@dataclass(frozen=True)
class Windows:
    """Pieces of data of one length to simulate.

    Args:
        X0: First states, shape (W, d).
        U: Inputs, shape (W, H, m).
        V: What enters, shape (W, H, q).
        Y: Outputs after each step, shape (W, H, p).
    """

    X0: Array
    U: Array
    V: Array
    Y: Array


@dataclass(frozen=True)
class Prior:
    """What pulls weights towards others: sum of strength (size (theta - center))^2.

    Args:
        center: Shape (p, k).
        strength: Shape (k,); infinite for weights that stay where they are.
    """

    center: Array
    strength: Array


class OutputErrorFit:
    """A least-squares problem over windows: weights, and a correction of each window's start.

    Args:
        weights: What is fitted, and where it starts.
        runs: Data.
        sizes: Sizes of regressors (k,) and of increments (p,), from `OuterWeights.regressors`.
        error: What errors of the outputs are divided by, shape (p,).
        noise: Standard deviation of the measured outputs' noise, shape (p,), which weighs
            corrections of the starts; None leaves starts as measured.
        most_rows: Steps in all windows of one fit; more are thinned out evenly.
    """

    def __init__(
        self,
        weights: OuterWeights,
        runs: Sequence[Run],
        sizes: tuple[Array, Array],
        error: Array,
        noise: Array | None = None,
        most_rows: int = 20_000,
    ) -> None:
        per_row = weights.n_outputs * (weights.theta.size + weights.n_outputs)
        self._weights, self._runs = weights, runs
        self._most_rows = max(500, min(most_rows, MOST_DERIVATIVES // per_row))
        self._error, self._noise = error, noise
        self._unit = sizes[1][:, None] / sizes[0][None, :]  # of a weight that matters fully
        self.longest = max(len(run.U) for run in runs)

    def lengths(self, longest: int | None = None) -> list[int]:
        """Return lengths of windows, growing up to whole runs or `longest`."""
        top = min(self.longest, longest or self.longest)
        if sum(len(run.U) for run in self._runs) > self._most_rows:
            top = min(top, self._most_rows // FEWEST_WINDOWS)
        found = [FIRST_WINDOW]
        while found[-1] * GROWTH < top:
            found.append(found[-1] * GROWTH)
        return [length for length in found if length < top] + [top]

    def fit(
        self,
        theta: Array,
        prior: Prior,
        length: int,
        iterations: int = 15,
        deadline: float = np.inf,
    ) -> tuple[Array, float]:
        """Fit windows of a length from `theta` on.

        Args:
            theta: Start, shape (p, k).
            prior: What pulls it.
            length: Steps of a window.
            iterations: Most Gauss-Newton steps.
            deadline: Of `time.process_time`, after which no step begins.

        Returns:
            Weights, and the root mean square error in units of `error`; infinite if the start
            diverges on the windows, in which case the weights are those given.
        """
        batches = self._weights.windows(self._runs, length, self._most_rows)
        size = 0 if self._noise is None else self._n_start
        starts = [np.zeros((len(batch.X0), size)) for batch in batches]
        cost, error = self._cost(theta, batches, starts, prior)
        damping = 1e-3
        for _ in range(iterations):
            if time.process_time() > deadline or not np.isfinite(cost):
                break
            G, g, back = self._normal(theta, batches, starts, prior)
            for _ in range(MOST_DAMPED):
                step = _solved(G, g, damping)
                moved = theta + (step.reshape(theta.shape) * self._unit)
                begun = [
                    start + known[..., -1] - known[..., :-1] @ step
                    for start, known in zip(starts, back, strict=True)
                ]
                new, new_error = self._cost(moved, batches, begun, prior)
                if new < cost:
                    break
                damping *= 6.0
            else:
                break
            settled = cost - new < SETTLED * cost
            theta, starts, cost, error = moved, begun, new, new_error
            damping = max(damping / 5.0, 1e-9)
            if settled:
                break
        return theta, error

    @property
    def _n_start(self) -> int:
        return self._weights.n_outputs * (1 + self._weights.constants.memory)

    def _start_rows(self) -> Array:
        """Rows that weigh a correction of the present outputs and steps by the noise of rows."""
        if self._noise is None:
            return np.zeros((0, 0))
        memory = self._weights.constants.memory
        past = np.tril(np.ones((1 + memory, 1 + memory)))
        past[:, 1:] *= -1.0  # y[t - j] is y[t] less the last j steps
        return np.asarray(np.kron(past, np.diag(1.0 / self._noise)), dtype=np.float64)

    def _cost(
        self, theta: Array, batches: Sequence[Windows], starts: Sequence[Array], prior: Prior
    ) -> tuple[float, float]:
        """Return the penalised mean square, and the root mean square of the errors alone."""
        squares, count, start_squares = 0.0, 0, 0.0
        weigh = self._start_rows()
        for batch, start in zip(batches, starts, strict=True):
            Y = self._weights.simulated_windows(theta, _begun(batch, start), batch)
            if Y is None:
                return np.inf, np.inf
            squares += float(np.sum((self._weights.wrapped(batch.Y - Y) / self._error) ** 2))
            count += Y.size
            start_squares += float(np.sum((start @ weigh.T) ** 2))
        pulled = np.isfinite(prior.strength)
        pull = ((theta - prior.center) / self._unit)[:, pulled] ** 2 @ prior.strength[pulled]
        total = (squares + start_squares) / count + float(pull.sum())
        return (total, float(np.sqrt(squares / count))) if np.isfinite(total) else (np.inf, np.inf)

    def _normal(
        self, theta: Array, batches: Sequence[Windows], starts: Sequence[Array], prior: Prior
    ) -> tuple[Array, Array, list[Array]]:
        """Return the normal equations of a step in units of weights, the starts eliminated.

        A Gram matrix is precise enough here: rounding bends a step, not where steps end. The third
        value gives the starts' steps from the weights', [offset - slope step], by batch.
        """
        p, k = theta.shape
        s, n = self._n_start, p * k
        G, g = np.zeros((n, n)), np.zeros(n)
        back, count = [], 0
        unit, weigh = self._unit.ravel(), self._start_rows()
        for batch, start in zip(batches, starts, strict=True):
            Y, J = self._weights.differentiated(theta, _begun(batch, start), batch)
            E = self._weights.wrapped(batch.Y - Y) / self._error
            J /= self._error[:, None]
            D = J[..., s:].reshape(-1, n) * unit
            G += D.T @ D
            g += D.T @ E.ravel()
            count += E.size
            known = np.zeros((len(start), start.shape[1], n + 1))
            if start.shape[1]:
                W = len(start)
                D = D.reshape(W, -1, n)
                for w in range(W):
                    S = np.vstack([J[w, ..., :s].reshape(-1, s), weigh])
                    right = np.column_stack(
                        [
                            np.vstack([D[w], np.zeros((s, n))]),
                            np.concatenate([E[w].ravel(), -weigh @ start[w]]),
                        ]
                    )
                    Q, R = np.linalg.qr(S)
                    seen = Q.T @ right
                    G -= seen[:, :-1].T @ seen[:, :-1]
                    g -= seen[:, :-1].T @ seen[:, -1]
                    known[w] = scipy.linalg.solve_triangular(R, seen)
            back.append(known)
        G /= count
        g /= count
        strength = np.tile(prior.strength, p)
        fixed = ~np.isfinite(strength)
        pull = np.where(fixed, 0.0, strength)
        g -= pull * ((theta - prior.center) / self._unit).ravel()
        G[np.diag_indices(n)] += pull
        G[fixed], G[:, fixed], g[fixed] = 0.0, 0.0, 0.0
        G[fixed, fixed] = 1.0
        return G, g, back


def _begun(windows: Windows, starts: Array) -> Array:
    """Return first states with corrections (W, s) of what they begin with."""
    X0 = windows.X0.copy()
    X0[:, : starts.shape[1]] += starts
    return X0


def _solved(G: Array, g: Array, damping: float) -> Array:
    """Solve damped normal equations."""
    diagonal = np.diag(G)
    damped = G + np.diag(damping * diagonal + 1e-13 * diagonal.mean())
    try:
        return np.asarray(scipy.linalg.cho_solve(scipy.linalg.cho_factor(damped), g))
    except np.linalg.LinAlgError:
        return np.asarray(scipy.linalg.lstsq(damped, g)[0])


def free_run_error(
    weights: OuterWeights, theta: Array, runs: Sequence[Run], error: Array, longest: int = 0
) -> float:
    """Root mean square of the errors of free runs in units of `error`; infinite if one diverges."""
    squares, count = 0.0, 0
    length = longest or max(len(run.U) for run in runs)
    for batch in weights.windows(runs, length, MOST_JUDGED):
        Y = weights.simulated_windows(theta, batch.X0, batch)
        if Y is None:
            return np.inf
        squares += float(np.sum((weights.wrapped(batch.Y - Y) / error) ** 2))
        count += Y.size
    return float(np.sqrt(squares / count))


PULLS = (1.0, 1e-2, 1e-4, 1e-6)  # to the one-step weights, the strongest first


@checked
def refine_free_runs(
    model: LiftedModel,
    data: Trajectory | Sequence[Trajectory],
    horizon: int,
    *,
    n_folds: int = 3,
) -> LiftedModel:
    """Lower the error of free re-lifted runs, where left-out data confirm it.

    Args:
        model: Start, from one-step least squares.
        data: The trajectories it was fitted to.
        horizon: Longest windows, in steps.
        n_folds: Parts of the data, each left out in turn.

    Returns:
        A model with the same features. Its `summary` holds `horizon_steps`, `horizon_error_start`
        and `horizon_error` (left-out root-mean-square error of free runs of that length, before and
        after, in standard deviations of the outputs) and `horizon_pull` (weight of the distance
        from the start; infinite: unchanged).

    Raises:
        ImportError: If numba is not installed.
        ValueError: If the model is reduced or of features that are not compiled.
    """
    H = positive_int("horizon", horizon)
    runs = model.signals.runs(data)
    folds = split_into_folds(runs, positive_int("n_folds", n_folds, minimum=2))
    weights = OuterWeights(model)
    scale = state_scale(runs, model.coordinates)[: weights.n_outputs]
    sizes = weights.regressors(runs)

    def along(seen: Sequence[Run], pulls: Sequence[float]) -> Iterator[Array]:
        fit, theta = OutputErrorFit(weights, seen, sizes, scale), weights.theta
        for pull in pulls:
            prior = Prior(weights.theta, np.full(weights.theta.shape[1], pull))
            for length in fit.lengths(H):
                theta, _ = fit.fit(theta, prior, length)
            yield theta

    start, errors = [], []
    for i, judged in enumerate(folds):
        seen = [run for j, fold in enumerate(folds) if j != i for run in fold]
        start.append(free_run_error(weights, weights.theta, judged, scale, H))
        errors.append([free_run_error(weights, t, judged, scale, H) for t in along(seen, PULLS)])
    before = float(np.sqrt(np.mean(np.square(start))))
    after = np.sqrt(np.mean(np.square(errors), axis=0))
    best = int(np.argmin(after))
    facts = {"horizon_steps": H, "horizon_error_start": before}
    if not after[best] < before:
        unchanged = {"horizon_error": before, "horizon_pull": float("inf")}
        return replace(model, summary={**model.summary, **facts, **unchanged})
    *_, theta = along(runs, PULLS[: best + 1])
    facts |= {"horizon_error": float(after[best]), "horizon_pull": PULLS[best]}
    return replace(weights.model(theta), summary={**model.summary, **facts})
