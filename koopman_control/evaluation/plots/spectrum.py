"""The eigenvalues of the lifted model in the complex plane."""

import numpy as np
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator
from numpy.typing import ArrayLike

from koopman_control.common.arrays import Array
from koopman_control.evaluation.plots import style

_ROUNDING = 1e-6  # the constant feature has the eigenvalue 1 up to rounding


def eigenvalues(values: ArrayLike) -> Figure:
    """Draw the eigenvalues of the lifted model's A against the unit circle.

    Args:
        values: Complex eigenvalues per time step, shape (n,).

    Returns:
        The complex plane, and the moduli in falling order.
    """
    spectrum = np.asarray(values, dtype=np.complex128)
    modulus = np.abs(spectrum)
    outside = modulus > 1.0 + _ROUNDING
    figure = style.new_figure(height=4.1)
    plane, ranking = figure.subplots(1, 2, gridspec_kw={"width_ratios": [1.0, 1.0]})
    angle = np.linspace(0.0, 2.0 * np.pi, 400)
    plane.fill(np.cos(angle), np.sin(angle), color="#F3F6F8", lw=0)
    plane.plot(np.cos(angle), np.sin(angle), color=style.GREY, lw=1)
    rank = np.empty(len(modulus))
    rank[np.argsort(-modulus, kind="stable")] = np.arange(1, len(modulus) + 1)
    for mask, colour, marker in ((~outside, style.BLUE, "o"), (outside, style.VERMILLION, "D")):
        dots = {"ls": "none", "marker": marker, "ms": 4.5, "mew": 0, "alpha": 0.75}
        plane.plot(spectrum[mask].real, spectrum[mask].imag, color=colour, **dots)
        ranking.plot(rank[mask], modulus[mask], color=colour, **dots)
    reach = 1.08 * max(1.0, float(modulus.max()))
    plane.set(xlim=(-reach, reach), ylim=(-reach, reach), aspect="equal")
    style.plain_axes(plane, "real part", "imaginary part", "complex plane, unit circle")
    ranking.axhline(1.0, color=style.GREY, lw=1)
    ranking.set_ylim(0.0, max(1.08, reach))
    ranking.xaxis.set_major_locator(MaxNLocator(6, integer=True))
    style.plain_axes(ranking, "rank", "modulus |λ|", "largest first")
    style.set_title(figure, _spectrum_finding(modulus, int(outside.sum())))
    return figure


def _spectrum_finding(modulus: Array, outside: int) -> str:
    largest = f"largest modulus {modulus.max():.4g}"
    if outside == 0:
        return f"None of the {modulus.size} eigenvalues lies outside the unit circle ({largest})"
    verb = "lies" if outside == 1 else "lie"
    return f"{outside} of {modulus.size} eigenvalues {verb} outside the unit circle ({largest})"
