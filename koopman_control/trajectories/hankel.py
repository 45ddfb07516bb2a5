"""Persistency of excitation: how many independent patterns the windows of an input contain."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from koopman_control.common import Array

VISIBLE = 1e-5  # relative to the largest singular value; float32 rounding stays below


def excitation_order(pieces: Sequence[Array], longest: int) -> int:
    """Count the largest window L whose Hankel matrix has full row rank m L.

    Columns of the Hankel matrix are all windows of L consecutive inputs, none across the end of a
    piece. An input of order L tells L impulse-response coefficients apart (Willems et al. 2005, "A
    note on persistency of excitation"). Patterns below 1e-5 of the strongest do not count: slow
    sines look like fewer, as they do to a regression.

    Args:
        pieces: Inputs of each run, shape (T_i, m).
        longest: Largest L tried.

    Returns:
        Between 0 (an input that is zero, or inputs that move together) and `longest`.
    """
    low, high = 0, longest  # full rank at L implies full rank below
    while low < high:
        middle = (low + high + 1) // 2
        if _full_rank(pieces, middle):
            low = middle
        else:
            high = middle - 1
    return low


def _full_rank(pieces: Sequence[Array], L: int) -> bool:
    windows = [
        np.lib.stride_tricks.sliding_window_view(piece, L, axis=0).reshape(-1, L * piece.shape[1])
        for piece in pieces
        if len(piece) >= L
    ]
    if not windows or sum(map(len, windows)) < windows[0].shape[1]:
        return False
    scale = np.abs(np.concatenate(pieces)).max(axis=0)
    if not scale.all():
        return False
    H = np.concatenate(windows) / np.repeat(scale, L)
    sigma = np.linalg.svd(np.linalg.qr(H, mode="r"), compute_uv=False)
    return bool(sigma[-1] > VISIBLE * sigma[0])
