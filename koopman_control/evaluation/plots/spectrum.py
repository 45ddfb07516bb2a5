"""Eigenvalues of the lifted model in the complex plane, and which of them the data confirm."""

import numpy as np
from matplotlib.axes import Axes
from matplotlib.colors import BoundaryNorm, LogNorm
from matplotlib.figure import Figure
from matplotlib.ticker import LogLocator, MaxNLocator, NullLocator
from numpy.typing import ArrayLike, NDArray

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


_COLOURS = "viridis"  # dark is confirmed; made for all kinds of colour vision
_LEVELS = np.array([1e-3, 3e-3, 1e-2, 3e-2, 1e-1, 3e-1, 1.0])


def eigenvalue_residuals(values: ArrayLike, residuals: ArrayLike, tolerance: float = 0.1) -> Figure:
    """Draw eigenvalues coloured by how badly the data obey them.

    Args:
        values: Complex eigenvalues per time step, shape (n,).
        residuals: Residual of each eigenpair on data, shape (n,); see `identification.spectrum`.
        tolerance: Residual above which an eigenvalue counts as spurious, drawn as a cross.

    Returns:
        The complex plane, and the residuals in rising order.
    """
    spectrum = np.asarray(values, dtype=np.complex128)
    size = np.asarray(residuals, dtype=np.float64)
    shown = np.clip(size, _LEVELS[0], _LEVELS[-1])
    true = size <= tolerance
    figure = style.new_figure(height=4.1)
    plane, ranking = figure.subplots(1, 2, gridspec_kw={"width_ratios": [1.15, 0.85]})
    _unit_circle(plane)
    rank = np.empty(len(size))
    rank[np.argsort(size, kind="stable")] = np.arange(1, len(size) + 1)
    for mask, marker, label in ((~true, "x", "spurious"), (true, "o", "confirmed by data")):
        look = {
            "marker": marker, "s": 24, "lw": 1.2, "cmap": _COLOURS, "label": label,
            "norm": LogNorm(_LEVELS[0], _LEVELS[-1]), "c": shown[mask],
        }  # fmt: skip
        dots = plane.scatter(spectrum[mask].real, spectrum[mask].imag, **look)
        ranking.scatter(rank[mask], np.clip(size[mask], 1e-4, 1e1), **look)
    reach = 1.08 * max(1.0, float(np.abs(spectrum).max(initial=0.0)))
    plane.set(xlim=(-reach, reach), ylim=(-reach, reach), aspect="equal")
    style.plain_axes(plane, "real part", "imaginary part", "complex plane, unit circle")
    bar = figure.colorbar(dots, ax=plane, shrink=0.8, pad=0.02, extend="both")
    bar.set_label("residual", fontsize=9.5, color=style.INK)
    bar.ax.tick_params(labelsize=9)
    ranking.axhline(tolerance, color=style.GREY, lw=1, ls="--")
    ranking.set_yscale("log")
    ranking.yaxis.set_major_locator(LogLocator(numticks=6))
    ranking.yaxis.set_minor_locator(NullLocator())
    style.count_ticks(ranking.xaxis, 5)
    style.plain_axes(ranking, "rank", title=f"residuals, smallest first, limit {tolerance:g}")
    style.legend_below(figure, *style.entries(ranking))
    style.set_title(
        figure,
        f"The data confirm {int(true.sum())} of {true.size} eigenvalues to {100 * tolerance:g} %",
    )
    return figure


def pseudospectrum(
    real: ArrayLike, imaginary: ArrayLike, residuals: ArrayLike, values: ArrayLike = ()
) -> Figure:
    """Draw contours of the smallest residual any observable has.

    Args:
        real: Real parts of the grid, shape (a,).
        imaginary: Imaginary parts of the grid, shape (b,).
        residuals: Residuals at the grid, shape (b, a), rows of equal imaginary part.
        values: Eigenvalues to mark, those that the data confirm.

    Returns:
        Filled contours in the complex plane with the unit circle.
    """
    x, y = np.asarray(real, dtype=np.float64), np.asarray(imaginary, dtype=np.float64)
    size = np.asarray(residuals, dtype=np.float64)
    if size.shape != (len(y), len(x)):
        raise ValueError(
            f"residuals have shape {size.shape}; expected ({len(y)}, {len(x)}), one row for every "
            "imaginary part"
        )
    marked: NDArray[np.complex128] = np.asarray(values, dtype=np.complex128)
    figure = style.new_figure(height=5.2, width=6.4)
    axes = figure.subplots()
    norm = BoundaryNorm(_LEVELS, 256, extend="both")
    filled = axes.contourf(x, y, size, _LEVELS, cmap=_COLOURS, norm=norm, extend="both")
    axes.contour(x, y, size, _LEVELS, colors="white", linewidths=0.6)
    _unit_circle(axes, "none")
    axes.plot(marked.real, marked.imag, ls="none", marker="o", ms=4.5, mfc="white", mec=style.INK)
    bar = figure.colorbar(filled, ax=axes, pad=0.02, ticks=_LEVELS)
    bar.ax.set_yticklabels([f"{level:g}" for level in _LEVELS])
    bar.ax.tick_params(labelsize=9)
    bar.set_label("smallest residual", fontsize=9.5, color=style.INK)
    axes.set(xlim=(x.min(), x.max()), ylim=(y.min(), y.max()), aspect="equal")
    style.plain_axes(axes, "real part", "imaginary part")
    axes.grid(False)
    style.set_title(figure, _finding(size, x, y))
    return figure


def _unit_circle(axes: Axes, fill: str = "#F3F6F8") -> None:
    angle = np.linspace(0.0, 2.0 * np.pi, 400)
    axes.fill(np.cos(angle), np.sin(angle), color=fill, lw=0)
    axes.plot(np.cos(angle), np.sin(angle), color=style.GREY, lw=1)


def _finding(size: Array, x: Array, y: Array) -> str:
    row, column = np.unravel_index(int(np.argmin(size)), size.shape)
    where = f"{x[column]:.2g} ± {abs(y[row]):.2g}i".replace("-", "−")
    return f"Smallest residual on the grid: {size.min():.2g}, at {where}"
