"""Noisy measurements: least squares without the bias, by instrumental variables.

The noise of a measured state stands in the regressors psi(x_t) *and* in the targets, so least
squares is biased however many data there are. What was measured one step earlier is as informative
about the true state, but its noise is independent of that noise. So regressors and targets are
first projected on these instruments [psi(x_t-1), u_t-1, u_t], then solved as usual (two-stage least
squares; Soederstroem & Stoica, Instrumental Variable Methods for System Identification, 1983). One
R factor of [instruments | regressors | targets] holds both the plain and the corrected problem.

Noise must be independent from sample to sample; for noise filtered by the sensor, use more lags.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import numpy as np

from koopman_control.common.arrays import Array, positive_int
from koopman_control.common.border import checked
from koopman_control.identification.errors import (
    Windows,
    bounded_score,
    scaled_errors,
    state_scale,
    windows_of,
)
from koopman_control.identification.least_squares import RFactor, RidgeSolver, decomposed
from koopman_control.identification.model import LiftedModel
from koopman_control.identification.penalties import RIDGE_PATH
from koopman_control.identification.regression import Design, Regression
from koopman_control.identification.rollouts import Rollout
from koopman_control.identification.snapshots import Run, at_limit, split_into_folds
from koopman_control.trajectories import Trajectory

INSTRUMENT_RANK = 1e-9  # instruments below this, relative to the largest, say nothing


@checked
def correct_for_noise(
    model: LiftedModel,
    data: Trajectory | Sequence[Trajectory],
    *,
    rollout: Rollout | None = None,
    horizon: int = 30,
    lag: int = 1,
    n_folds: int = 3,
) -> LiftedModel:
    """Fit A, B (and N) again without the bias that measurement noise causes.

    Whether instruments or plain least squares, and with which regularisation, is chosen by the
    multi-step error on left-out runs.

    Args:
        model: A fitted model, whose features, scales and coupling are kept.
        data: The trajectories it was fitted to, of more than `lag` steps.
        rollout: Roll-out judged; None takes the one matching the coupling.
        horizon: Longest prediction judged, in steps.
        lag: How many samples back the instruments lie; more than 1 for noise with memory.
        n_folds: Folds of the cross-validation.

    Returns:
        A model with the same features. Its `summary` holds `noise_correction` ("instruments" or
        "none"), `regularization` and `cv_score`.

    Raises:
        ValueError: If the trajectories are too short or a number is out of range.

    Example:
        >>> model = EDMDc(SampledFeatures(200)).fit(noisy).model_  # doctest: +SKIP
        >>> model = correct_for_noise(model, noisy)  # doctest: +SKIP
    """
    judged: Rollout = rollout or model.lifted_rollout
    model.check_rollout(judged)
    positive_int("horizon", horizon)
    positive_int("lag", lag)
    runs = model.signals.runs(data)
    folds = split_into_folds(runs, positive_int("n_folds", n_folds, minimum=2))
    folds = [fold for fold in folds if any(len(run.U) > lag for run in fold)]
    if len(folds) < 2:
        raise ValueError(
            f"data hold too few runs of more than lag={lag} steps; expected at least two"
        )
    design = Design.of(model.signals, runs, model.lifted_rollout)
    regression, size = Regression(design, model.features), design.input_scale
    factors = [instrument_factor(model, fold, lag, size) for fold in folds]
    scale = state_scale(runs, model.coordinates)
    scores = np.zeros((2, len(RIDGE_PATH)))
    for i, fold in enumerate(folds):
        others = InstrumentFactor.merged([f for j, f in enumerate(factors) if j != i])
        windows = windows_of(fold, horizon)
        scores += _scores(regression, others, windows, scale, judged) / len(folds)
    row, column = divmod(int(np.argmin(scores)), len(RIDGE_PATH))
    whole = InstrumentFactor.merged(factors)
    solver = whole.projected() if row else whole.plain()
    facts = {
        "noise_correction": "instruments" if row else "none",
        "regularization": RIDGE_PATH[column],
        "cv_score": float(scores[row, column]),
        "cv_rollout": judged,
        "cv_horizon": horizon,
    }
    K = solver.solve(RIDGE_PATH[column])
    return regression.model(K, {**model.summary, **facts})


def _scores(
    regression: Regression,
    factor: InstrumentFactor,
    windows: Windows,
    scale: Array,
    rollout: Rollout,
) -> Array:
    """Score plain and corrected solutions of every strength on windows, shape (2, strengths)."""
    solvers = factor.plain(), factor.projected()
    models = ((regression.model(s.solve(weight)) for weight in RIDGE_PATH) for s in solvers)
    return np.array(
        [[bounded_score(scaled_errors(m, windows, scale, rollout)) for m in row] for row in models]
    )


class InstrumentFactor:
    """R factor of [instruments | regressors | targets].

    Args:
        factor: The factor; its "regressors" are the q instruments.
        n_regressors: Number of regressors proper, k.
    """

    def __init__(self, factor: RFactor, n_regressors: int) -> None:
        self._factor, self._k = factor, n_regressors

    @classmethod
    def of(cls, Z: Array, Phi: Array, Y: Array) -> InstrumentFactor:
        """Factorise instruments (T, q), regressors (T, k) and targets (T, p)."""
        return cls(RFactor.of(Z, np.hstack([Phi, Y])), Phi.shape[1])

    @classmethod
    def merged(cls, parts: Sequence[InstrumentFactor]) -> InstrumentFactor:
        """Combine the factors of disjoint data."""
        return cls(RFactor.merged([part._factor for part in parts]), parts[0]._k)

    def plain(self) -> RidgeSolver:
        """Return the solver of plain least squares of targets on regressors."""
        R = self._factor.R[:, self._factor.n_regressors :]
        return self._reduced(R)

    def projected(self) -> RidgeSolver:
        """Return the solver of least squares after projection on the instruments."""
        q = self._factor.n_regressors
        U, s, _ = decomposed(self._factor.R[:q, :q])
        kept = U[:, : len(s)][:, s > INSTRUMENT_RANK * s[0]]
        return self._reduced(kept.T @ self._factor.R[: len(kept), q:])

    def _reduced(self, rows: Array) -> RidgeSolver:
        n_samples = self._factor.n_samples
        return replace(
            RFactor.of(rows[:, : self._k], rows[:, self._k :]), n_samples=n_samples
        ).solver()


def instrument_factor(
    model: LiftedModel, runs: Sequence[Run], lag: int, input_scale: Array
) -> InstrumentFactor:
    """Reduce runs to the factor of [earlier lifted states and inputs | regressors | targets]."""
    scaled = [
        Run(run.X, model.signals.lifted_inputs(run.U) / input_scale)
        for run in runs
        if len(run.U) > lag
    ]
    parts = [_rows(model, run, lag) for run in scaled]
    Z, Phi, Y = (np.concatenate(blocks) for blocks in zip(*parts, strict=True))
    return InstrumentFactor.of(Z, Phi, Y)


def _rows(model: LiftedModel, run: Run, lag: int) -> tuple[Array, Array, Array]:
    """Form instruments, regressors and targets of a run, without pairs that end on a limit."""
    n_phi = model.n_lifted - model.n_angles
    phi = model.lift(run.X)[:, :n_phi]
    moved = model.coordinates.wrapped_difference(run.X[1:], run.X[:-1])
    Y = np.hstack([np.diff(phi, axis=0), moved[:, model.coordinates.is_angle]])[lag:]
    now, before = slice(lag, -1), slice(None, -1 - lag)
    past = np.hstack([run.U[i : len(run.U) - lag + i] for i in range(lag)])
    Phi = _coupled(phi[now], run.U[lag:], model.N is not None)
    Z = np.hstack([_coupled(phi[before], run.U[lag:], model.N is not None), past])
    free = ~at_limit(run.X[1 + lag :], model.limits).any(axis=1)
    return Z[free], Phi[free], Y[free]


def _coupled(phi: Array, U: Array, bilinear: bool) -> Array:
    """Return [phi, u] or [phi, u_1 phi, u_2 phi, ...], as `Regression` orders its regressors."""
    if not bilinear:
        return np.hstack([phi, U])
    return np.hstack([phi, *(phi * U[:, [i]] for i in range(U.shape[1]))])
