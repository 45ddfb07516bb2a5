"""Peers of `logs`: each fits runs and then simulates others; None where it is not installed."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from importlib.util import find_spec
from itertools import product
from typing import Any

import numpy as np

from koopman_control import Trajectory
from koopman_control.common import Array, optional_package

ORDERS = (1, 2, 3, 5, 8, 12, 20)  # of ARX models, the best by free runs of the last quarter
SHARE = 0.75  # of the data that a choice is fitted to


@dataclass(frozen=True)
class Peer:
    """A fitted peer.

    Args:
        simulate: From a run to its outputs, the first rows as measured.
        first: First row that is simulated.
    """

    simulate: Callable[[Trajectory], Array]
    first: int

    def __call__(self, run: Trajectory) -> Array:
        return self.simulate(run)


def arx(data: Sequence[Trajectory]) -> Peer:
    """One-step least squares with inputs of this and past rows; order by free runs left out."""
    cut = [max(30, int(SHARE * len(run))) for run in data]
    seen = [part(run, slice(0, T)) for run, T in zip(data, cut, strict=True)]
    left = [part(run, slice(T, None)) for run, T in zip(data, cut, strict=True)]
    left = [run for run in left if len(run) > max(ORDERS) + 2] or seen
    judged = []
    for order in ORDERS:
        K = arx_fit(seen, order)
        with np.errstate(all="ignore"):
            E = [arx_run(K, run, order) - run.observations[: len(run)] for run in left]
        size = float(np.sqrt(np.mean(np.concatenate(E) ** 2)))
        judged.append(size if np.isfinite(size) else np.inf)
    order = ORDERS[int(np.argmin(judged))]
    K = arx_fit(data, order)
    return Peer(lambda run: arx_run(K, run, order), order)


def part(run: Trajectory, rows: slice) -> Trajectory:
    Y, U = run.observations[:-1][rows], run.actions[rows]
    return Trajectory(Y, U[:-1], dt=run.dt)


def arx_fit(data: Sequence[Trajectory], order: int) -> Array:
    Phi, Y = [], []
    for run in data:
        y, u = run.observations[:-1], run.actions
        T = len(u)
        past = [y[order - k : T - k] for k in range(1, order + 1)]
        past += [u[order - k : T - k] for k in range(order + 1)]
        Phi.append(np.hstack([np.ones((T - order, 1)), *past]))
        Y.append(y[order:])
    K = np.linalg.lstsq(np.concatenate(Phi), np.concatenate(Y), rcond=1e-12)[0]
    return np.asarray(K, dtype=np.float64)


def arx_run(K: Array, run: Trajectory, order: int) -> Array:
    u, y = run.actions, run.observations[:-1].copy()
    for t in range(order, len(u)):
        past = [y[t - k] for k in range(1, order + 1)] + [u[t - k] for k in range(order + 1)]
        y[t] = np.concatenate([[1.0], *past]) @ K
    return y


def sysidentpy_narx(data: Sequence[Trajectory]) -> Peer | None:
    """Polynomial NARX of degree 3 by forward regression, as its documentation does it."""
    if find_spec("sysidentpy") is None:
        return None
    from sysidentpy.basis_function import Polynomial
    from sysidentpy.model_structure_selection import FROLS

    if data[0].observations.shape[1] > 1:
        return Peer(lambda run: np.full_like(run.observations[:-1], np.nan), 0)
    lag, longest = 4, 5_000
    run = max(data, key=len)
    m = run.actions.shape[1]
    lags = lag if m == 1 else [[*range(1, lag + 1)]] * m
    settings: dict[str, Any] = {"order_selection": True, "n_info_values": 25}
    model: Any = FROLS(ylag=lag, xlag=lags, basis_function=Polynomial(degree=3), **settings)
    # It takes the input of the row before; that of the same row is given by a shift.
    X = run.actions[1:longest]
    model.fit(X=X, y=run.observations[: len(X)])

    def simulate(test: Trajectory) -> Array:
        y = test.observations[:-2]
        found = model.predict(X=test.actions[1:], y=y[:lag])
        return np.asarray(found)[: len(y)]

    return Peer(simulate, lag)


def pykoop_edmd(data: Sequence[Trajectory]) -> Peer | None:
    """Polynomials of delayed outputs and inputs by EDMD, lifted again at every step.

    Delays, degree and ridge by free runs of the last quarter, 1,000 rows of it at most.
    """
    if find_spec("pykoop") is None:
        return None
    cut = [max(30, int(SHARE * len(run))) for run in data]
    seen = [part(run, slice(0, T)) for run, T in zip(data, cut, strict=True)]
    left = [part(run, slice(T, T + 1_000)) for run, T in zip(data, cut, strict=True)]
    left = [run for run in left if len(run) > 20] or seen
    spread = np.concatenate([run.observations for run in data]).std(axis=0)
    judged = []
    for choice in product((1, 3, 8), (1, 2), (1e-6, 1e-2)):
        peer = _pykoop_fit(seen, *choice)
        with np.errstate(all="ignore"):
            E = [(peer(run) - run.observations[: len(run)]) / spread for run in left]
            size = float(np.sqrt(np.mean(np.concatenate(E) ** 2)))
        judged.append((size if np.isfinite(size) else np.inf, choice))
    return _pykoop_fit(data, *min(judged)[1])


def _pykoop_fit(data: Sequence[Trajectory], lag: int, order: int, alpha: float) -> Peer:
    pykoop: Any = optional_package("pykoop", "peers")
    p, m = data[0].observations.shape[1], data[0].actions.shape[1]
    pipeline = pykoop.KoopmanPipeline(
        lifting_functions=[
            ("scale", pykoop.SkLearnLiftingFn(_scaler())),
            ("delay", pykoop.DelayLiftingFn(lag, lag)),
            ("poly", pykoop.PolynomialLiftingFn(order=order)),
        ],
        regressor=pykoop.Edmd(alpha=alpha),
    )
    longest = 10_000 // len(data) + 1
    rows = []
    for i, run in enumerate(data):
        episode = np.full((min(len(run), longest), 1), i)
        outputs = run.observations[:-1][:longest]
        rows.append(np.hstack([episode, outputs, run.actions[:longest]]))
    pipeline.fit(np.vstack(rows), n_inputs=m, episode_feature=True)

    def simulate(test: Trajectory) -> Array:
        y, u = test.observations[:-1], test.actions
        episode = np.zeros((len(u), 1))
        begin, inputs = np.hstack([episode, y])[: lag + 1], np.hstack([episode, u])
        settings = {"relift_state": True, "episode_feature": True}
        found = pipeline.predict_trajectory(begin, inputs, **settings)
        return np.asarray(found)[:, 1 : 1 + p]

    return Peer(simulate, lag + 1)


def _scaler() -> Any:
    from sklearn.preprocessing import StandardScaler

    return StandardScaler()


def jax_sysid_rnn(data: Sequence[Trajectory]) -> Peer | None:
    """A neural state-space model by Adam and L-BFGS, as its documentation does it."""
    if find_spec("jax_sysid") is None:
        return None
    jax = optional_package("jax", "peers")
    linen: Any = optional_package("flax.linen", "peers")
    models = optional_package("jax_sysid.models", "peers")

    jax.config.update("jax_enable_x64", True)
    p, m = data[0].observations.shape[1], data[0].actions.shape[1]
    n_states, known, longest = 4 * p, 5, 10_000 // len(data)

    def layers(features: int) -> Any:
        def call(self: Any, x: Any) -> Any:
            for _ in range(2):
                x = linen.swish(linen.Dense(features=8)(x))
            return linen.Dense(features=features)(x)

        return type("Net", (linen.Module,), {"__call__": linen.compact(call)})

    Y = [run.observations[:-1][:longest] for run in data]
    U = [run.actions[:longest] for run in data]
    (y_mid, y_size), (u_mid, u_size) = (
        (np.concatenate(rows).mean(axis=0), np.concatenate(rows).std(axis=0)) for rows in (Y, U)
    )
    model: Any = models.RNN(
        n_states, p, m, FX=layers(n_states), FY=layers(p), x_scaling=0.1, seed=0
    )
    model.loss(rho_x0=1e-4, rho_th=1e-4)
    model.optimization(adam_epochs=500, lbfgs_epochs=1_000, iprint=-1)
    scaled = [(y - y_mid) / y_size for y in Y], [(u - u_mid) / u_size for u in U]
    model.fit(*(part if len(data) > 1 else part[0] for part in scaled))

    def simulate(test: Trajectory) -> Array:
        y, u = (test.observations[:-1] - y_mid) / y_size, (test.actions - u_mid) / u_size
        x0 = model.learn_x0(u[:known], y[:known], LBFGS_refinement=True, verbosity=False)
        found, _ = model.predict(x0, u)
        return np.asarray(np.asarray(found) * y_size + y_mid, dtype=np.float64)

    return Peer(simulate, known)


PEERS: dict[str, Callable[[Sequence[Trajectory]], Peer | None]] = {
    "ARX": arx,
    "sysidentpy": sysidentpy_narx,
    "pykoop": pykoop_edmd,
    "jax-sysid": jax_sysid_rnn,
}
