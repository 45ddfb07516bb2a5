"""Online adaptation: a fitted model that follows its plant by recursive least squares."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import numpy as np
from scipy.linalg import blas

from koopman_control.common.arrays import Array, finite_array, positive_float
from koopman_control.common.border import checked
from koopman_control.identification.model import LiftedModel
from koopman_control.identification.snapshots import at_limit
from koopman_control.trajectories import Trajectory

SMALLEST_ROOT = 1e-100  # of what is forgotten; the scale is multiplied out before it underflows


class RecursiveLeastSquares:
    """Ridge regression of targets y on regressors phi, one sample at a time.

    After T samples the coefficients K minimise
    sum_t forgetting^(T - t) |phi_t K - y_t|^2 + prior_weight |K - K_0|^2, where the prior is
    forgotten like a sample at t = 0 (or kept: see `retain`).

    Args:
        start: Coefficients K_0 known before any sample, shape (k, q).
        prior_weight: Trust in `start`, above 0: the weight of |K - K_0|^2.
        forgetting: Weight of a sample against the next one, in (0, 1]; about
            1 / (1 - forgetting) samples count.
        retain: Give back to the prior what forgetting takes from it, one coefficient row per
            sample in turn. Directions that no recent sample excites then return to `start` instead
            of becoming ever more uncertain ("wind-up").

    Raises:
        ValueError: If start is not a finite matrix, or a number is out of range.

    Example:
        >>> rls = RecursiveLeastSquares(np.zeros((1, 1)), prior_weight=1e-9)
        >>> rls.update([2.0], [6.0])
        >>> rls.coefficients.round(6)
        array([[3.]])
    """

    def __init__(
        self,
        start: Array,
        *,
        prior_weight: float,
        forgetting: float = 1.0,
        retain: bool = True,
    ) -> None:
        self._start = finite_array("start", start, ndim=2).copy()
        weight = positive_float("prior_weight", prior_weight)
        if not 0.0 < positive_float("forgetting", forgetting) <= 1.0:
            raise ValueError(f"forgetting is {forgetting}; expected a number in (0, 1]")
        k = len(self._start)
        S = np.eye(k) / np.sqrt(weight)
        self._M = np.asfortranarray(np.hstack([S, self._start]))  # [S / root | K]
        self._S = self._M[:, :k]
        self._root = 1.0  # S is this times what is stored: forgetting then costs nothing
        self._forgetting = float(forgetting)
        self._back = k * (1.0 - self._forgetting) * weight if retain else 0.0
        self.n_samples = 0

    @property
    def coefficients(self) -> Array:
        """Current coefficients K, shape (k, q); a copy."""
        return np.array(self._M[:, len(self._M) :], order="C")

    @property
    def covariance(self) -> Array:
        """Covariance P of the coefficients for targets with noise of variance 1, shape (k, k)."""
        P: Array = self._root**2 * (self._S @ self._S.T)
        return P

    def update(self, phi: Array, y: Array) -> None:
        """Take in one sample: regressors phi of shape (k,), targets y of shape (q,).

        Raises:
            ValueError: If the sample is of the wrong length or not finite; nothing is changed.
        """
        k, q = self._start.shape
        self.update_unchecked(
            finite_array("phi", phi, shape=(k,)), finite_array("y", y, shape=(q,))
        )

    def update_unchecked(self, phi: Array, y: Array) -> None:
        """Take in one sample without checks, for the control loop."""
        products = blas.dgemv(1.0, self._M, phi, trans=1)  # [S^T phi / root | K^T phi]
        self._correct(products, y, self._forgetting)
        if self._back:
            i = self.n_samples % len(self._M)
            weight = np.sqrt(self._back)
            products = weight * self._M[i]
            self._correct(products, weight * self._start[i], 1.0)
        self.n_samples += 1

    def _correct(self, products: Array, y: Array, forgetting: float) -> None:
        """Apply one row, given its products with the columns of [S / root | K]."""
        k = len(self._M)
        f = products[:k]
        gain = blas.dgemv(1.0, self._S, f)  # P phi / root^2
        squared = self._root**2
        size = forgetting + squared * float(f @ f)
        right = np.empty_like(products)
        np.multiply(f, -squared / (size + np.sqrt(forgetting * size)), out=right[:k])
        np.multiply(y - products[k:], squared / size, out=right[k:])
        blas.dger(1.0, gain, right, a=self._M, overwrite_a=1)
        self._root /= np.sqrt(forgetting)
        if self._root > 1.0 / SMALLEST_ROOT:
            self._S *= self._root
            self._root = 1.0


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
        model.require_plain_inputs("is not adapted online")
        self._model = model
        self._n_phi = model.n_lifted - model.n_angles
        self._input_scale = model.usual_inputs
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
    for run in model.signals.runs(data):
        for x, u, x_next in zip(run.X[:-1], run.U, run.X[1:], strict=True):
            online.update(x, u, x_next)
    return online.model()
