"""Peers of `logs`: each fits runs and then simulates others; None where it is not installed."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from importlib.util import find_spec
from typing import Any

import numpy as np

from koopman_control import Trajectory
from koopman_control.common import Array

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
    lag, longest = 4, 20_000
    run = max(data, key=len)
    m = run.actions.shape[1]
    lags = lag if m == 1 else [[*range(1, lag + 1)]] * m
    settings: dict[str, Any] = {"order_selection": True, "n_info_values": 25}
    model: Any = FROLS(ylag=lag, xlag=lags, basis_function=Polynomial(degree=3), **settings)
    # It takes the input of the row before; that of the same row is given by a shift.
    model.fit(X=run.actions[1:longest], y=run.observations[:-1][: longest - 1])

    def simulate(test: Trajectory) -> Array:
        y = test.observations[:-2]
        found = model.predict(X=test.actions[1:], y=y[:lag])
        return np.asarray(found)[: len(y)]

    return Peer(simulate, lag)


def pykoop_edmd(data: Sequence[Trajectory]) -> Peer | None:
    """Polynomials of delayed outputs and inputs by EDMD, lifted again at every step."""
    if find_spec("pykoop") is None:
        return None
    import pykoop

    lag, p, m = 3, data[0].observations.shape[1], data[0].actions.shape[1]
    pipeline: Any = pykoop.KoopmanPipeline(
        lifting_functions=[
            ("scale", pykoop.SkLearnLiftingFn(_scaler())),
            ("delay", pykoop.DelayLiftingFn(lag, lag)),
            ("poly", pykoop.PolynomialLiftingFn(order=2)),
        ],
        regressor=pykoop.Edmd(alpha=1e-6),
    )
    longest = 20_000 // len(data) + 1
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


PEERS: dict[str, Callable[[Sequence[Trajectory]], Peer | None]] = {
    "ARX": arx,
    "sysidentpy": sysidentpy_narx,
    "pykoop": pykoop_edmd,
}
