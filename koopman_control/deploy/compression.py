"""Less memory for the same numbers, or nearly: low ranks, zeros left out, rows used twice.

Lifted states fill a small part of their space, and the predictions that a plan depends on are alike
from step to step, so a matrix from one to the others has few singular values that matter.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from koopman_control.common.arrays import Array, Index
from koopman_control.identification import LiftedModel, triangular
from koopman_control.mpc.estimation.base import state_mean, state_scale

DRAWS, MORE, STEPS = 4, 200, 10  # of states: for each lifted one, and beside; steps of the model
SAME = 1e-12  # part of its length by which a column may miss a row
WIDTH = 2.0  # of the draws, in the states' standard deviations


def met_states(model: LiftedModel) -> Array:
    """Draw lifted states (S, n) as they are met within a few steps of the model."""
    rng, n, d = np.random.default_rng(0), model.n_lifted, model.n_states
    x = rng.normal(size=(DRAWS * n // STEPS + MORE, d))
    Z = [model.lift(state_mean(model) + WIDTH * state_scale(model) * x)]
    for _ in range(STEPS):
        Z.append(Z[-1] @ model.A.T)
    return np.concatenate(Z)


def low_rank(
    M: Array, weight: Array, samples: Array, tolerance: float
) -> tuple[Array, Array] | None:
    """Factorise predictions M z of lifted states z as they are met.

    Args:
        M: Shape (y, n).
        weight: What an error of each prediction leads to, shape (y,), in one unit; zero for those
            that are to be right relative to their own size.
        samples: Lifted states, shape (S, n).
        tolerance: Singular values of weighted predictions that are left out, relative to the
            largest.

    Returns:
        Left (y, r) and right (r, n), M z being nearly left right z; None if they are not smaller.
    """
    met = triangular(samples).T / np.sqrt(len(samples))
    size = np.sqrt(np.square(M @ met).sum(axis=1))
    alone = weight == 0.0
    weight = np.where(alone, np.where(size > 0.0, 1.0 / np.maximum(size, 1e-300), 1.0), weight)
    weight[alone] *= (weight * size)[~alone].max(initial=1.0)
    U, s, _ = np.linalg.svd(weight[:, None] * M @ met, full_matrices=False)
    rank = max(1, int((s > tolerance * s[0]).sum()))
    if rank * sum(M.shape) >= M.size:
        return None
    return U[:, :rank] / weight[:, None], U[:, :rank].T @ (weight[:, None] * M)


class Columns(NamedTuple):
    """A matrix (r, n) column after column, without the zeros at their ends.

    Args:
        order: In which its rows are, so that these zeros are many, shape (r,).
        entries: All columns in a row.
        first: Where each column begins, and where the last one ends, shape (n + 1,).
    """

    order: Index
    entries: Array
    first: Index


def columns_of(M: Array) -> Columns:
    """Store a matrix whose rows begin with zeros; columns get longer, two at a time."""
    there = M != 0.0
    begins = np.where(there.any(axis=1), there.argmax(axis=1), M.shape[1])
    order = np.argsort(begins, kind="stable")
    pairs = np.minimum(np.arange(M.shape[1]) // 2 * 2 + 1, M.shape[1] - 1)
    lengths = np.searchsorted(begins[order], pairs, side="right")
    columns = [M[order[:length], j] for j, length in enumerate(lengths.tolist())]
    return Columns(order, np.concatenate(columns), np.append(0, np.cumsum(lengths)))


def rows_along(G: Array, M: Array) -> tuple[Index, Array] | None:
    """Find rows of G, of length one, along which the columns of a matrix lie.

    Where all predictions that cost something are bounded, they pull a plan along their bounds.

    Args:
        G: Shape (r, n).
        M: Shape (n, t).

    Returns:
        The row for each column, and what it is to be multiplied by, both (t,); None if a column
        lies along none.
    """
    length = np.sqrt(np.square(M).sum(axis=0))
    rows = np.abs(G @ M).argmax(axis=0)
    gains = np.einsum("tn,nt->t", G[rows], M)
    off = np.abs(G[rows].T * gains - M).max(axis=0, initial=0.0)
    return (rows, gains) if np.all(off <= SAME * length) else None
