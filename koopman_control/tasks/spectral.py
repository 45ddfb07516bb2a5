"""Figures of the report that show which of a model's eigenvalues data confirm."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from koopman_control.identification import LiftedModel, pseudospectrum, spectrum
from koopman_control.trajectories import Trajectory

LARGEST = 300  # lifted states whose spectrum is analysed within about a second
GRID, DIRECTIONS = 25, 30  # points along a side, and combined lifted directions
MARGIN = 0.1  # shown around the eigenvalues that the data confirm


def spectral_figures(model: LiftedModel, data: Sequence[Trajectory]) -> dict[str, Any]:
    """Draw eigenvalues with their residuals on data, and the pseudospectrum around the true ones.

    Args:
        model: The model.
        data: Trajectories that no fit has seen.

    Returns:
        Figures by name; none for a model so large that they would take long.
    """
    from koopman_control.evaluation import plots

    if model.n_lifted > LARGEST:
        return {}
    found = spectrum(model, data)
    true = found.eigenvalues[~found.spurious()]
    left, right = true.real.min(initial=1.0) - MARGIN, true.real.max(initial=1.0) + MARGIN
    reach = np.abs(true.imag).max(initial=0.0) + MARGIN
    real, imaginary = np.linspace(left, right, GRID), np.linspace(-reach, reach, GRID)
    points = real + 1j * imaginary[:, None]
    residuals = pseudospectrum(model, data, points, n_directions=DIRECTIONS)
    return {
        "eigenvalue_residuals": plots.eigenvalue_residuals(
            found.eigenvalues, np.asarray(found.residuals)
        ),
        "pseudospectrum": plots.pseudospectrum(real, imaginary, residuals, true),
    }
