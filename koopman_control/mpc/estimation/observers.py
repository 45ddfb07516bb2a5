"""Settings of the Kalman filters: for noise alone, and for offset-free tracking."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike

from koopman_control.common.arrays import Array
from koopman_control.common.border import CheckedFields
from koopman_control.identification import LiftedModel, Rollout
from koopman_control.mpc.estimation.base import Estimator
from koopman_control.mpc.estimation.extended import ExtendedFilter
from koopman_control.mpc.estimation.noise import covariance, lifted_spread, state_scale
from koopman_control.mpc.estimation.steady import SteadyFilter


@dataclass(frozen=True)
class KalmanObserver(CheckedFields):
    """Estimate the state from noisy, partial or missing observations.

    With a linear roll-out it is the steady-state Kalman filter of the lifted state, otherwise an
    extended Kalman filter of the states. An observation may lack entries (NaN); with none at all
    the model predicts. What the first observation of an episode lacks is taken to be as in the
    data on average. For states that are never measured, give a linear roll-out a model whose
    read-out C leaves them out (`LiftedModel.from_arrays` with a `lift` that guesses them), or leave
    them NaN.

    Args:
        measurement_noise: Standard deviation of the noise of observed states, a number or one for
            each, in their units; or its covariance (p, p).
        process_noise: Standard deviation of what a step adds unforeseen, in multiples of the
            states' spread in the data (for a linear roll-out, the lifted states'); or its
            covariance in the model's units, (d, d), for a linear roll-out (n, n).

    Example:
        >>> observer = KalmanObserver(0.05)
        >>> mpc = KoopmanMPC(model, 30, estimator=observer)  # doctest: +SKIP
    """

    measurement_noise: ArrayLike
    process_noise: ArrayLike = 0.01

    def attached(self, model: LiftedModel, rollout: Rollout) -> Estimator:
        """Make the filter for a model; see `Observer`."""
        return _filter(model, rollout, self.process_noise, self.measurement_noise, None)


@dataclass(frozen=True)
class OffsetFree(CheckedFields):
    """As `KalmanObserver`, and estimate a constant offset of every observed state.

    Predictions are moved by the offset, so a constant reference is reached exactly in spite of
    a wrong gain or a constant load, if the loop settles within its bounds and the cost does not
    pull elsewhere: weigh input changes (S) rather than inputs (R). A model that integrates does not
    show an offset of what it integrates; with a linear roll-out that is an error.

    Args:
        measurement_noise: As for `KalmanObserver`.
        process_noise: As for `KalmanObserver`.
        offset_noise: Standard deviation of what a step adds to an offset, in multiples of the
            state's spread in the data, a number or one for each; larger is faster, and noisier.
    """

    measurement_noise: ArrayLike
    process_noise: ArrayLike = 0.01
    offset_noise: ArrayLike = 0.1

    def attached(self, model: LiftedModel, rollout: Rollout) -> Estimator:
        """Make the filter for a model; see `Observer`."""
        unit = state_scale(model)[: model.coordinates.n_outputs]
        offset = covariance("offset_noise", self.offset_noise, unit, definite=True)
        return _filter(model, rollout, self.process_noise, self.measurement_noise, offset)


def _filter(
    model: LiftedModel,
    rollout: Rollout,
    process: ArrayLike,
    measurement: ArrayLike,
    offset: Array | None,
) -> SteadyFilter | ExtendedFilter:
    ones = np.ones(model.coordinates.n_outputs)
    R = covariance("measurement_noise", measurement, ones, definite=True)
    if rollout == "linear":
        return SteadyFilter(model, lifted_noise(model, process), R, offset)
    Q = covariance("process_noise", process, state_scale(model))
    return ExtendedFilter(model, Q, R, offset)


def lifted_noise(model: LiftedModel, process: ArrayLike) -> Array:
    """Covariance (n, n) of the process noise on the lifted state."""
    if np.ndim(process):
        return covariance("process_noise", process, np.ones(model.n_lifted))
    unit = covariance("process_noise", process, np.ones(1))
    return np.asarray(unit * lifted_spread(model))
