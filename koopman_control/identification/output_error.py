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
from collections.abc import Sequence
from dataclasses import dataclass, replace
from types import ModuleType

import numpy as np
import scipy.linalg

from koopman_control.common import optional_package
from koopman_control.common.arrays import Array
from koopman_control.features import constant_columns, spread
from koopman_control.identification.compiled_rollouts import covered_features
from koopman_control.identification.kernel_arrays import FreeRun
from koopman_control.identification.model import LiftedModel
from koopman_control.identification.snapshots import Run

LARGEST = 1e3  # ranges of an output: a run that moves so far in one step has diverged
FIRST_WINDOW = 16  # steps; further windows are GROWTH times as long, up to whole runs
GROWTH = 4
SETTLED = 1e-3  # relative change of the cost
MOST_DAMPED = 8  # dampings tried for a step


class OuterWeights:
    """The weights theta (p, k) of a model's present outputs on k regressors, and a way back.

    Regressors are psi = [1, standardised feature inputs, features] and what enters, also times psi
    with a bilinear coupling; increments of the outputs are theta times them.

    Args:
        model: Not reduced, without states that stop at a limit, of features that are compiled.

    Attributes:
        theta: Weights of the model, shape (p, k).
        is_feature: Which regressors hold a feature, shape (k,).
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
        wrapped = self._model.coordinates.wrap(
            np.pad(dX, ((0, 0), (0, X.shape[1] - dX.shape[1])))
        )[:, : self.n_outputs]
        moves = np.sqrt(np.mean(wrapped**2, axis=0))
        return np.where(size > 0.0, size, 1.0), np.where(moves > 0.0, moves, 1.0)

    def simulated(self, theta: Array, x0: Array, U: Array) -> tuple[Array, int]:
        """Simulate outputs (H, p) from a state (d,); beyond the steps that stayed finite, NaN."""
        Y = np.full((len(U), self.n_outputs), np.nan)
        U = np.ascontiguousarray(U)
        V = np.ascontiguousarray(self._model.signals.lifted_inputs(U))
        done = self._loops.free_run(self.constants, theta, np.ascontiguousarray(x0), U, V, Y)
        return Y, int(done)

    def differentiated(self, theta: Array, window: Window, x0: Array, J: Array) -> tuple[Array, int]:
        """Simulate a window from x0 and fill J (H, p, p (1 + memory) + p k)."""
        Y = np.empty_like(window.Y)
        done = self._loops.sensitive_run(self.constants, theta, x0, window.U, window.V, Y, J)
        return Y, int(done)

    def windows(self, runs: Sequence[Run], length: int, most_rows: int) -> list[Window]:
        """Cut runs into windows of at most `length` steps, evenly thinned to `most_rows`."""
        found = []
        for run in runs:
            pieces = max(1, round(len(run.U) / length))
            edges = np.linspace(0, len(run.U), pieces + 1).astype(int)
            found += [(run, a, b) for a, b in zip(edges[:-1], edges[1:], strict=True) if b > a]
        total = sum(b - a for _, a, b in found)
        if total > most_rows:
            count = max(1, int(len(found) * most_rows / total))
            found = [found[i] for i in np.linspace(0, len(found) - 1, count).astype(int)]
        lifted = self._model.signals.lifted_inputs
        return [
            Window(
                run.X[a].copy(),
                np.ascontiguousarray(run.U[a:b]),
                np.ascontiguousarray(lifted(run.U[a:b])),
                np.ascontiguousarray(run.X[a + 1 : b + 1, : self.n_outputs]),
            )
            for run, a, b in found
        ]

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
class Window:
    """A piece of data to simulate.

    Args:
        x0: First state, shape (d,).
        U: Inputs, shape (H, m).
        V: What enters, shape (H, q).
        Y: Outputs after each step, shape (H, p).
    """

    x0: Array
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
        self._weights, self._runs, self._most_rows = weights, runs, most_rows
        self._error, self._noise = error, noise
        self._unit = sizes[1][:, None] / sizes[0][None, :]  # of a weight that matters fully
        self.longest = max(len(run.U) for run in runs)

    def lengths(self, longest: int | None = None) -> list[int]:
        """Return lengths of windows, growing up to whole runs or `longest`."""
        top = min(self.longest, longest or self.longest)
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
        targets: Sequence[Window] | None = None,
    ) -> tuple[Array, float]:
        """Fit windows of a length from `theta` on.

        Args:
            theta: Start, shape (p, k).
            prior: What pulls it.
            length: Steps of a window.
            iterations: Most Gauss-Newton steps.
            deadline: Of `time.monotonic`, after which no step begins.
            targets: Windows, instead of those cut from the data.

        Returns:
            Weights, and the root mean square error in units of `error`; infinite if the start
            diverges on the windows, in which case the weights are those given.
        """
        windows = targets or self._weights.windows(self._runs, length, self._most_rows)
        starts = [np.zeros(0 if self._noise is None else self._n_start) for _ in windows]
        cost, error = self._cost(theta, windows, starts, prior)
        if not np.isfinite(cost):
            return theta, np.inf
        damping = 1e-3
        for _ in range(iterations):
            if time.monotonic() > deadline:
                break
            G, g, back = self._normal(theta, windows, starts, prior)
            for _ in range(MOST_DAMPED):
                step = _solved(G, g, damping)
                moved = theta + (step.reshape(theta.shape) * self._unit)
                begun = [
                    start + known[:, -1] - known[:, :-1] @ step
                    for start, known in zip(starts, back, strict=True)
                ] if back else starts
                new, new_error = self._cost(moved, windows, begun, prior)
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
        p, memory = self._weights.n_outputs, self._weights.constants.memory
        past = np.tril(np.ones((1 + memory, 1 + memory)))
        past[:, 1:] *= -1.0  # y[t - j] is y[t] less the last j steps
        assert self._noise is not None
        return np.kron(past, np.diag(1.0 / self._noise))

    def _begin(self, window: Window, start: Array) -> Array:
        x0 = window.x0.copy()
        x0[: len(start)] += start
        return x0

    def _cost(
        self, theta: Array, windows: Sequence[Window], starts: Sequence[Array], prior: Prior
    ) -> tuple[float, float]:
        """Return the penalised mean square, and the root mean square of the errors alone."""
        squares, count, start_squares = 0.0, 0, 0.0
        for window, start in zip(windows, starts, strict=True):
            Y = np.empty_like(window.Y)
            done = self._weights._loops.free_run(
                self._weights.constants, theta, self._begin(window, start), window.U, window.V, Y
            )
            if done < len(Y):
                return np.inf, np.inf
            squares += float(np.sum((self._weights.wrapped(window.Y - Y) / self._error) ** 2))
            count += Y.size
            if len(start):
                start_squares += float(np.sum((self._start_rows() @ start) ** 2))
        pulled = np.isfinite(prior.strength)
        pull = ((theta - prior.center) / self._unit)[:, pulled] ** 2 @ prior.strength[pulled]
        total = (squares + start_squares) / count + float(pull.sum())
        return (total, float(np.sqrt(squares / count))) if np.isfinite(total) else (np.inf, np.inf)

    def _normal(
        self, theta: Array, windows: Sequence[Window], starts: Sequence[Array], prior: Prior
    ) -> tuple[Array, Array, list[Array]]:
        """Return the normal equations of a step in units of weights, the starts eliminated.

        A Gram matrix is precise enough here: rounding bends a step, not where steps end.
        """
        p, k = theta.shape
        s, n = self._n_start, p * k
        G, g = np.zeros((n, n)), np.zeros(n)
        back, count = [], 0
        unit = self._unit.ravel()
        weigh = None if self._noise is None else self._start_rows()
        for window, start in zip(windows, starts, strict=True):
            J = np.empty((*window.Y.shape, s + n))
            Y, _ = self._weights.differentiated(theta, window, self._begin(window, start), J)
            E = (self._weights.wrapped(window.Y - Y) / self._error).ravel()
            J /= self._error[None, :, None]
            flat = J.reshape(-1, s + n)
            D = flat[:, s:] * unit
            G += D.T @ D
            g += D.T @ E
            count += len(E)
            if weigh is not None:
                S = np.vstack([flat[:, :s], weigh])
                residual = np.concatenate([E, -weigh @ start])
                Q, R = np.linalg.qr(S)
                known = Q.T @ np.column_stack([np.vstack([D, np.zeros((s, n))]), residual])
                G -= known[:, :-1].T @ known[:, :-1]
                g -= known[:, :-1].T @ known[:, -1]
                back.append(scipy.linalg.solve_triangular(R, known))
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
    for window in weights.windows(runs, longest or max(len(r.U) for r in runs), 10**9):
        Y, done = weights.simulated(theta, window.x0, window.U)
        if done < len(Y):
            return np.inf
        squares += float(np.sum((weights.wrapped(window.Y - Y) / error) ** 2))
        count += Y.size
    return float(np.sqrt(squares / count))
