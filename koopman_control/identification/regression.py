"""The regression behind EDMDc: which columns stand beside which targets, and back to a model.

`Design` is what all candidates of a fit share; saturating states are read from a first fit.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from types import MappingProxyType
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from koopman_control.common.arrays import Array
from koopman_control.features import FeatureMap, constant_columns, spread
from koopman_control.identification.least_squares import (
    ROWS_PER_COLUMN,
    Accumulator,
    RFactor,
    fold_in_parallel,
    n_workers,
    whitening,
)
from koopman_control.identification.model import LiftedModel
from koopman_control.identification.rollouts import read_out
from koopman_control.identification.signals import Signals
from koopman_control.identification.snapshots import (
    Chunk,
    Run,
    Snapshots,
    at_limit,
    chunks_of,
    stack,
    stacked,
)

Coupling = Literal["linear", "bilinear"]
Targets = Literal["increments", "states"]


@dataclass(frozen=True, eq=False)
class Design:
    """What stands in the regression, the same for all candidate features.

    Args:
        signals: States and inputs.
        coupling: "linear" or "bilinear".
        input_scale: Standard deviation of what enters, shape (q,): the inputs, or inputs and their
            features; infinite for what never moves, which takes it out of the regression and makes
            its effect zero.
        targets: "increments" of the lifted state or lifted "states" themselves.
        kinematics: Rows that are known, by what they move; see `Kinematics`.
    """

    signals: Signals
    coupling: Coupling
    input_scale: Array
    targets: Targets = "increments"
    kinematics: tuple[Kinematics, ...] = ()

    @classmethod
    def of(
        cls,
        signals: Signals,
        runs: Sequence[Run],
        coupling: Coupling,
        targets: Targets = "increments",
        derivatives: Mapping[int, int] = MappingProxyType({}),
    ) -> Design:
        """Measure on the data what enters, and how states follow from their `derivatives`."""
        V = signals.lifted_inputs(np.concatenate([run.U for run in runs]))
        scale = np.where(constant_columns(V), np.inf, spread(V))
        known = tuple(Kinematics.of(signals, runs, *pair) for pair in derivatives.items())
        return cls(signals, coupling, scale, targets, known)

    @property
    def n_inputs(self) -> int:
        """Number of inputs m, without their features."""
        features = self.signals.input_features
        return len(self.input_scale) if features is None else int(features.n_features_in_)

    def snapshots(self, runs: Sequence[Run]) -> Snapshots:
        """Form the snapshot pairs of runs."""
        return stack(runs, self.signals.coordinates, self.signals.limits)


@dataclass(frozen=True)
class Kinematics:
    """A state whose increment is known: duration * speed + share * (increment of the speed).

    Args:
        state: The state.
        speed: The state that is its speed.
        duration: The sampling time; where that is not known, what fits the data.
        share: How long a change of the speed acts within the step: half of it for the mean speed,
            all of it for plants that are simulated so. What fits the data.
    """

    state: int
    speed: int
    duration: float
    share: float

    @classmethod
    def of(cls, signals: Signals, runs: Sequence[Run], state: int, speed: int) -> Kinematics:
        """Measure it on the data.

        Raises:
            ValueError: If there are no such states.
        """
        p, turning = signals.coordinates.n_outputs, signals.coordinates.is_angle
        if not (0 <= state < p and 0 <= speed < p and state != speed) or turning[speed]:
            raise ValueError(
                f"derivatives says that state {speed} is the speed of state {state}; expected two "
                f"different states from 0 to {p - 1}, the second of which is no angle"
            )
        pairs = stack(runs, signals.coordinates, signals.limits)
        dX, V = pairs.dX[~pairs.censored], pairs.X[~pairs.censored, speed]
        moved, change, duration = dX[:, state], dX[:, speed], signals.dt
        if duration is None:
            columns = np.column_stack([V, change])
            (duration, _), *_ = np.linalg.lstsq(columns, moved, rcond=None)
        size = float(change @ change)
        share = float(change @ (moved - duration * V)) / size if size > 0.0 else 0.0
        low, high = sorted((0.0, float(duration)))
        return cls(state, speed, float(duration), min(max(share, low), high))


CHUNK = 512  # rows at a time; they stay in the cache


@dataclass(frozen=True)
class Regression:
    """One candidate: a design and a fitted feature map."""

    design: Design
    features: FeatureMap

    @property
    def n_regressors(self) -> int:
        """Number of unknowns k per lifted state."""
        n_phi, q = self._n_phi, len(self.design.input_scale)
        return n_phi + q * (n_phi if self.design.coupling == "bilinear" else 1)

    @property
    def n_targets(self) -> int:
        """Number of targets q, one per lifted state."""
        return self._n_phi + self.design.signals.embedding.n_angles

    @property
    def _n_phi(self) -> int:
        """Number of entries of the lifted state without angles."""
        return 1 + len(self.design.signals.center) + self.features._n_features_out

    @property
    def state_targets(self) -> list[int]:
        """Columns of the targets that move the states themselves, one per state."""
        embedded = self.design.signals.coordinates.embedded
        plain = [1 + j for j, (_, kind) in enumerate(embedded) if kind == "id"]
        return [*plain, *range(self._n_phi, self.n_targets)]

    @property
    def targets_of(self) -> dict[int, int]:
        """Columns of the targets that move states, by state."""
        moving = self.design.signals.coordinates.is_angle
        order = [*np.flatnonzero(~moving).tolist(), *np.flatnonzero(moving).tolist()]
        return dict(zip(order, self.state_targets, strict=True))

    def factor(self, runs: Sequence[Run]) -> RFactor:
        """Reduce the uncensored snapshot pairs of runs to an R factor."""
        return Accumulator.merged(self.sums([runs]))

    def sums(self, parts: Sequence[Sequence[Run]], basis: Array | None = None) -> list[Accumulator]:
        """Accumulate the uncensored snapshot pairs of each part, each part by itself.

        Args:
            parts: Runs by part; the sums of all parts add up cheaply.
            basis: What whitens the rows, from `whitening`; None takes a sample of the runs.
        """
        k, q = self.n_regressors, self.n_targets
        n_pairs = sum(len(run.U) for runs in parts for run in runs)
        if basis is None:
            basis = self.basis([run for runs in parts for run in runs], n_pairs)
        workers = n_workers(float(n_pairs) * k * (k + q))

        def make() -> Accumulator:
            return Accumulator(k, q, basis)

        def add(sums: Accumulator, runs: Sequence[Run]) -> None:
            sums.add(*self.rows(stacked(runs, self.design.signals.limits)))

        whole = []
        for runs in parts:
            found = fold_in_parallel(chunks_of(runs, CHUNK), make, add, workers)
            for other in found[1:]:
                found[0].absorb(other)
            whole.append(found[0].rest())
        return whole

    def rows(self, chunk: Chunk) -> tuple[Array, Array, Array | None]:
        """Return regressors (S - 1, k), targets (S - 1, q) and weights of a chunk of S states."""
        design, signals = self.design, self.design.signals
        phi = self._phi(chunk.X)
        U = signals.lifted_inputs(chunk.U) / design.input_scale
        n_phi, now = phi.shape[1], phi[:-1]
        Phi = np.empty((len(U), self.n_regressors), order="F")  # as it will be whitened
        Phi[:, :n_phi] = now
        if design.coupling == "bilinear":
            for i in range(U.shape[1]):
                np.multiply(now, U[:, [i]], out=Phi[:, (1 + i) * n_phi : (2 + i) * n_phi])
        else:
            Phi[:, n_phi:] = U
        Y = np.empty((len(U), self.n_targets), order="F")
        if design.targets == "increments":
            np.subtract(phi[1:], now, out=Y[:, :n_phi])
        else:
            Y[:, :n_phi] = phi[1:]
            Y[:, 0] = 0.0  # the constant stays what it is, whatever the penalty
        if self.n_targets > n_phi:
            turned = signals.coordinates.wrapped_difference(chunk.X[1:], chunk.X[:-1])
            Y[:, n_phi:] = turned[:, signals.embedding.angles]
        return Phi, Y, chunk.weight

    def basis(self, runs: Sequence[Run], n_pairs: int) -> Array | None:
        """Whiten by evenly spaced snapshot pairs; few pairs need no whitening at all."""
        n_rows = ROWS_PER_COLUMN * self.n_regressors
        n_pairs = min(n_pairs, sum(len(run.U) for run in runs))  # those of a sample
        if n_pairs < 2 * n_rows:
            return None
        first = np.cumsum([0, *(len(run.U) for run in runs)])
        chosen = np.random.default_rng(0).choice(n_pairs, n_rows, replace=False)
        owner = np.searchsorted(first, chosen, side="right") - 1
        sample = [
            runs[i].piece(t, t + 1)
            for i, t in zip(owner.tolist(), (chosen - first[owner]).tolist(), strict=True)
        ]
        Phi, Y, weight = self.rows(stacked(sample, self.design.signals.limits))
        used = np.full(len(Phi), True) if weight is None else weight > 0.0
        if used.sum() < n_rows // 2:
            return None
        return whitening(RFactor.of(Phi[used], Y[used, :0]))

    def model(self, K: Array, summary: Mapping[str, Any] | None = None) -> LiftedModel:
        """Arrange coefficients K of shape (k, n) as a model in the units of the data."""
        design, signals = self.design, self.design.signals
        if design.kinematics:
            K = self._with_known_rows(K)
        n, n_phi, m = K.shape[1], self._n_phi, len(design.input_scale)
        A = np.eye(n)
        if design.targets == "states":
            A[1:n_phi, 1:n_phi] = 0.0
        A[:, :n_phi] += K[:n_phi].T
        N = None
        if design.coupling == "linear":
            B = K[n_phi:].T / design.input_scale
        else:
            N = np.zeros((m, n, n))
            couplings = K[n_phi:].reshape(m, n_phi, n).transpose(0, 2, 1)
            N[:, :, :n_phi] = couplings / design.input_scale[:, None, None]
            B = N[:, :, 0].T.copy()
            N[:, :, 0] = 0.0
        return LiftedModel(
            A=A,
            B=B,
            C=read_out(signals.coordinates, signals.center, signals.scale, n),
            N=N,
            signals=signals,
            features=self.features,
            summary=dict(summary or {}),
        )

    def _with_known_rows(self, K: Array) -> Array:
        """Replace the coefficients of states that follow from their speeds."""
        signals, K = self.design.signals, K.copy()
        moving, column = signals.coordinates.is_angle, self.targets_of
        plain = self.design.targets == "states"
        for known in self.design.kinematics:
            target, speed = column[known.state], column[known.speed]
            change = K[:, speed].copy()  # in standard deviations of the speed
            change[speed] -= float(plain)
            row = known.share * change
            row[speed] += known.duration
            row *= signals.scale[speed - 1]
            row[0] += known.duration * signals.center[speed - 1]
            if not moving[known.state]:
                row /= signals.scale[target - 1]
                row[target] += float(plain)
            K[:, target] = row
        return K

    def _phi(self, X: Array) -> Array:
        signals = self.design.signals
        e = signals.embedding(X)
        n_e = e.shape[1]
        phi = np.empty((len(X), self._n_phi), order="F")
        phi[:, 0] = 1.0
        np.subtract(e, signals.center, out=phi[:, 1 : 1 + n_e])
        phi[:, 1 : 1 + n_e] /= signals.scale
        phi[:, 1 + n_e :] = self.features.values(e)
        return phi


OVERSHOOT = 1e-3  # in standard deviations: a prediction this far beyond a limit means a stop
REACTION = 0.05  # share of a state's typical increment that its inputs must be able to cause
ROWS = 4096  # evaluated at a time, to keep memory small


def saturating_states(
    regression: Regression, factor: RFactor, runs: Sequence[Run]
) -> NDArray[np.bool_]:
    """Decide which states the plant holds at their limit, by a fit to the samples that are free.

    A limited state counts as held if its inputs can move it noticeably everywhere, so that a stop
    can be expressed as an effective input, unless the data speak against it: samples that end on
    the limit without the fit going beyond it (a cosine at 1, say). Inputs with features need not
    be able to express a stop, so with them no state counts as held.

    Returns:
        Shape (d,).
    """
    design, limits = regression.design, regression.design.signals.limits
    limited = np.isfinite(limits).any(axis=0)
    if not limited.any() or design.signals.input_features is not None:
        return design.signals.saturating
    pairs = design.snapshots(runs)
    step_map = regression.model(factor.solver().solve(1e-10)).affine_step
    parts = [step_map.drift_and_gain(pairs.X[i : i + ROWS]) for i in range(0, len(pairs.X), ROWS)]
    drift, gain = (np.concatenate(part) for part in zip(*parts, strict=True))
    X_free = pairs.X + drift + np.einsum("sm,smd->sd", pairs.U, gain)
    beyond = np.maximum(X_free - limits[1], limits[0] - X_free) / spread(pairs.X)
    ends_there = at_limit(pairs.X + pairs.dX, limits)
    spoken_against = (ends_there.sum(axis=0) >= 2) & (
        (ends_there & (beyond > OVERSHOOT)).sum(axis=0) < 2
    )
    noticeable = REACTION * pairs.dX.std(axis=0) / design.input_scale[:, None]
    driven = (np.quantile(np.abs(gain), 0.1, axis=0) > noticeable).any(axis=0)
    held: NDArray[np.bool_] = limited & driven & ~spoken_against
    return held
