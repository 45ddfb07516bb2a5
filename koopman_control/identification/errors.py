"""Multi-step prediction errors: the only kind that ranks models for control.

One-step errors of a Koopman model can look fine while its roll-out explodes. So errors are measured
on windows of held-out data, k = 1 ... horizon steps ahead, in standard deviations of the states (an
angle counts in radians).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from koopman_control.common.arrays import Array, positive_int
from koopman_control.common.border import checked
from koopman_control.features import Coordinates, spread
from koopman_control.identification.model import LiftedModel
from koopman_control.identification.rollouts import Rollout
from koopman_control.identification.snapshots import Run
from koopman_control.trajectories import Trajectory

MAX_WINDOWS = 64
HOPELESS = 1.0  # an error of one standard deviation: as bad as predicting the mean


@dataclass(frozen=True)
class Windows:
    """W stretches of data, padded to one length H.

    Args:
        x0: First states, shape (W, d).
        U: Inputs, zero beyond the data, shape (W, H, m).
        X: States after 1 ... H steps, shape (W, H, d).
        valid: Which steps are data, shape (W, H).
    """

    x0: Array
    U: Array
    X: Array
    valid: NDArray[np.bool_]

    @classmethod
    def together(cls, parts: Sequence[Windows]) -> Windows:
        """Put windows of one length after each other."""
        fields = ((part.x0, part.U, part.X, part.valid) for part in parts)
        return cls(*(np.concatenate(arrays) for arrays in zip(*fields, strict=True)))

    def those(self, chosen: NDArray[np.intp]) -> Windows:
        """Return some of the windows."""
        return Windows(self.x0[chosen], self.U[chosen], self.X[chosen], self.valid[chosen])


def windows_of(runs: Sequence[Run], horizon: int, max_windows: int = MAX_WINDOWS) -> Windows:
    """Cut runs into windows that start every half horizon, at most `max_windows`, evenly chosen."""
    starts = window_starts([len(run.U) for run in runs], horizon, max_windows)
    return cut_windows(runs, starts, horizon)


def window_starts(
    lengths: Sequence[int], horizon: int, max_windows: int = MAX_WINDOWS
) -> list[tuple[int, int]]:
    """Choose windows as `windows_of` does: the run and the first step of each.

    Args:
        lengths: Steps of every run.
        horizon: Steps of a window.
        max_windows: How many at most.
    """
    stride = max(1, horizon // 2)
    sizes = np.asarray(lengths)
    counts = -(-sizes // stride)  # of windows in each run
    whole = np.where(sizes >= stride, (sizes - stride) // stride + 1, 0)  # of those long enough
    counts = whole if whole.any() else counts
    edges = np.cumsum(counts)
    total = int(edges[-1])
    chosen = np.arange(total)
    if total > max_windows:
        chosen = np.linspace(0, total - 1, max_windows).astype(int)
    owner = np.searchsorted(edges, chosen, side="right")
    first = (chosen - (edges - counts)[owner]) * stride
    return list(zip(owner.tolist(), first.tolist(), strict=True))


def cut_windows(runs: Sequence[Run], starts: Sequence[tuple[int, int]], horizon: int) -> Windows:
    """Cut windows that start at (run, step) out of runs, at least one."""
    W, m, d = len(starts), runs[0].U.shape[1], runs[0].X.shape[1]
    x0 = np.zeros((W, d))
    U, X = np.zeros((W, horizon, m)), np.zeros((W, horizon, d))
    valid = np.zeros((W, horizon), dtype=bool)
    for w, (i, t) in enumerate(starts):
        length = min(horizon, len(runs[i].U) - t)
        x0[w] = runs[i].X[t]
        U[w, :length] = runs[i].U[t : t + length]
        X[w, :length] = runs[i].X[t + 1 : t + 1 + length]
        valid[w, :length] = True
    return Windows(x0, U, X, valid)


def state_scale(runs: Sequence[Run], coordinates: Coordinates) -> Array:
    """Standard deviation of every state, 1 rad for angles and 1 for constant states, shape (d,)."""
    return np.where(coordinates.is_angle, 1.0, spread(np.concatenate([run.X for run in runs])))


def scaled_errors(model: LiftedModel, windows: Windows, scale: Array, rollout: Rollout) -> Array:
    """Return errors of the present states in units of `scale`, (W, H, d); NaN outside the data."""
    with np.errstate(all="ignore"):  # a model may well explode; that is what is being measured
        X = model.rolled_out(windows.x0, windows.U, rollout)
        errors = model.coordinates.wrap(X - windows.X) / scale
    errors[~np.isfinite(errors)] = np.inf
    errors[~windows.valid] = np.nan
    return errors[..., : model.coordinates.n_outputs]  # the remembered past is no prediction


def bounded_score(errors: Array) -> float:
    """Condense scaled errors (W, H, d) into one number in [0, 1]; hopeless steps count as 1."""
    with np.errstate(over="ignore"):
        squares = np.minimum(np.mean(errors**2, axis=-1), HOPELESS)
    return float(np.sqrt(np.nanmean(squares)))


def rms_per_step(errors: Array) -> Array:
    """Root mean square of scaled errors (W, H, d) over windows and states.

    Returns:
        Shape (H,), or shorter where no window is long enough to say anything about the last steps.
    """
    measured = ~np.isnan(errors).all(axis=(0, 2))
    with np.errstate(over="ignore"):
        return np.asarray(np.sqrt(np.nanmean(errors[:, measured] ** 2, axis=(0, 2))))


def conformal_quantiles(errors: Array, levels: Array) -> Array:
    """Return the bounds (L, ...) that new absolute errors stay below, from those of W windows.

    Args:
        errors: Absolute errors, NaN where unknown, shape (W, ...).
        levels: Shares, shape (L,).
    """
    known = (~np.isnan(errors)).sum(axis=0)
    ordered = np.sort(errors, axis=0)  # NaN sorts last
    bounds = np.full((len(levels), *errors.shape[1:]), np.inf)
    for i, level in enumerate(levels):
        rank = np.ceil(level * (known + 1) - 1e-9).astype(int)
        there = rank <= known
        picked = np.take_along_axis(ordered, np.where(there, rank - 1, 0)[None], axis=0)[0]
        bounds[i] = np.where(there, picked, np.inf)
    return bounds


@checked
def prediction_error(
    model: LiftedModel,
    data: Trajectory | Sequence[Trajectory],
    horizon: int,
    rollout: Rollout = "relifted",
) -> Array:
    """Measure k-step prediction errors on data the model was not fitted on.

    Args:
        model: The model.
        data: Held-out trajectories.
        horizon: Longest prediction H in steps.
        rollout: "linear", "bilinear" or "relifted".

    Returns:
        Root-mean-square error 1 ... H steps ahead in standard deviations of the states (radians for
        angles), averaged over states; infinite where the roll-out exploded. Shape (H,), or shorter
        where the longest trajectory is.

    Raises:
        ValueError: If the data do not match the model, or the roll-out does not suit it.
    """
    model.check_rollout(rollout)
    return rms_per_step(_errors(model, data, positive_int("horizon", horizon), rollout))


def prediction_score(
    model: LiftedModel, data: Trajectory | Sequence[Trajectory], horizon: int, rollout: Rollout
) -> float:
    """Condense the errors up to `horizon` steps ahead into one number in [0, 1]."""
    return bounded_score(_errors(model, data, horizon, rollout))


def _errors(
    model: LiftedModel, data: Trajectory | Sequence[Trajectory], horizon: int, rollout: Rollout
) -> Array:
    """Return scaled errors (W, H, d) on windows of data."""
    runs = model.signals.runs(data)
    scale = state_scale(runs, model.coordinates)
    return scaled_errors(model, windows_of(runs, horizon), scale, rollout)
