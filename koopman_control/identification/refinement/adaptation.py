"""Online adaptation: a fitted model that follows its plant by recursive least squares."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import numpy as np

from koopman_control.common.arrays import Array, finite_array, positive_float
from koopman_control.common.border import checked
from koopman_control.identification.data.snapshots import Run, at_limit, runs_of
from koopman_control.identification.least_squares.recursive import RecursiveLeastSquares
from koopman_control.identification.model.input_lift import require_plain_inputs
from koopman_control.identification.model.model import LiftedModel
from koopman_control.trajectories import Trajectory, check_trajectories


class OnlineModel:
    """A lifted model that is corrected by every new sample of its plant.

    Args:
        model: Where to start; linear coupling.
        forgetting: Weight of a sample against the next one, in (0, 1].
        trust: How many samples of the plant the starting model is worth.
        retain: See `RecursiveLeastSquares`.

    Raises:
        ValueError: If the model is bilinear, or a number is out of range.

    Example:
        >>> online = OnlineModel(model, forgetting=0.998)  # doctest: +SKIP
        >>> online.update(x, u, x_next)  # doctest: +SKIP
        >>> controller = KoopmanMPC(online.model(), horizon=30, Q=1.0)  # doctest: +SKIP
    """

    @checked
    def __init__(
        self,
        model: LiftedModel,
        *,
        forgetting: float = 0.998,
        trust: float = 1e-2,
        retain: bool = True,
    ) -> None:
        if model.N is not None:
            raise ValueError(
                "model has input couplings N, which are not adapted online; fit with "
                'coupling="linear"'
            )
        require_plain_inputs(model, "is not adapted online")
        self._model = model
        self._n_phi = model.n_lifted - int(model.coordinates.is_angle.sum())
        self._input_scale = _input_scale(model)
        increments = (model.A - np.eye(model.n_lifted))[:, : self._n_phi]
        self._rls = RecursiveLeastSquares(
            np.vstack([increments.T, (model.B * self._input_scale).T]),
            prior_weight=positive_float("trust", trust),
            forgetting=forgetting,
            retain=retain,
        )
        self._last: tuple[Array, Array] | None = None  # a state and its lift: the next sample's

    @property
    def n_samples(self) -> int:
        """Number of samples taken in."""
        return self._rls.n_samples

    def update(self, x: Array, u: Array, x_next: Array) -> None:
        """Take in one step: state x (d,), applied input u (m,), next state x_next (d,).

        A step that ends on a known limit of the plant is passed over, as in `EDMDc`.

        Raises:
            ValueError: If a shape disagrees with the model or a number is not finite.
        """
        d, m = self._model.n_states, self._model.n_inputs
        x = finite_array("x", x, shape=(d,))
        u = finite_array("u", u, shape=(m,))
        x_next = finite_array("x_next", x_next, shape=(d,))
        if at_limit(x_next, self._model.limits).any():
            return
        again = self._last is not None and np.array_equal(self._last[0], x)
        psi = self._last[1] if again and self._last is not None else self._model.lift(x)
        psi_next = self._model.lift(x_next)
        increments = psi_next - psi
        moved = self._model.coordinates.wrapped_difference(x_next, x)
        increments[self._n_phi :] = moved[self._model.coordinates.is_angle]
        phi = np.concatenate([psi[: self._n_phi], u / self._input_scale])
        self._rls.update_unchecked(phi, increments)
        self._last = x_next, psi_next

    def model(self) -> LiftedModel:
        """Return the current model; later updates do not change it."""
        K = self._rls.coefficients
        A = np.eye(self._model.n_lifted)
        A[:, : self._n_phi] += K[: self._n_phi].T
        B = K[self._n_phi :].T / self._input_scale
        summary = {**self._model.summary, "n_adapted": self.n_samples}
        return replace(self._model, A=A, B=B, summary=summary, error_quantiles={})


@checked
def adapt(
    model: LiftedModel,
    data: Trajectory | Sequence[Trajectory],
    *,
    forgetting: float = 0.998,
    trust: float = 1e-2,
    retain: bool = True,
) -> LiftedModel:
    """Correct a fitted model by newer data, sample by sample, the last counting most.

    Args:
        model: The model to start from; linear coupling.
        data: New trajectories of the plant, oldest first.
        forgetting: Weight of a sample against the next one, in (0, 1].
        trust: How many samples the starting model is worth.
        retain: See `RecursiveLeastSquares`.

    Returns:
        A model with the same features and new A and B.

    Raises:
        ValueError: If data or numbers do not suit the model.
    """
    online = OnlineModel(model, forgetting=forgetting, trust=trust, retain=retain)
    for run in runs_of(check_trajectories(data), model.coordinates):
        _feed(online, run)
    return online.model()


def _feed(online: OnlineModel, run: Run) -> None:
    for x, u, x_next in zip(run.X[:-1], run.U, run.X[1:], strict=True):
        online.update(x, u, x_next)


def _input_scale(model: LiftedModel) -> Array:
    """Return half the box of every input, or 1 where that is unknown, shape (m,)."""
    if model.action_bounds is None:
        return np.ones(model.n_inputs)
    half = (model.action_bounds[1] - model.action_bounds[0]) / 2.0
    return np.where(np.isfinite(half) & (half > 0.0), half, 1.0)
