"""`compile_qp` on the fitting problems of CVXPY's and OSQP's documentation, against Clarabel."""

from collections.abc import Callable
from typing import Any

import cvxpy as cp
import numpy as np
import pytest

atoms: Any = cp  # CVXPY's atoms carry no type information

Stated = tuple[cp.Problem, list[str]]  # and the variables whose solution is unique
rng = np.random.default_rng(0)
A: Any = rng.normal(size=(15, 5))
T = 12


def minimised(cost: Any, constraints: Any = (), unique: tuple[str, ...] = ("x",)) -> Stated:
    return cp.Problem(cp.Minimize(cost), list(constraints)), list(unique)


def unknown(n: int = 5, **kind: Any) -> cp.Variable:
    return cp.Variable(n, name="x", **kind)


def data(n: int = 15) -> cp.Parameter:
    return cp.Parameter(n, name="b")


def least_squares() -> Stated:
    return minimised(atoms.sum_squares(A @ unknown() - data()))


def least_squares_of_the_rms() -> Stated:
    return minimised(atoms.sum_squares(A @ unknown() - data()) / 15.0 + 3.0)


def non_negative_least_squares() -> Stated:
    return minimised(atoms.sum_squares(A @ unknown(nonneg=True) - data()))


def bounded_variable_least_squares() -> Stated:
    x, width = unknown(), cp.Parameter(nonneg=True, name="width")
    cost = atoms.sum_squares(A @ x - data())
    return minimised(cost, [x >= -0.1, x <= -0.1 + width])


def ridge_regression() -> Stated:
    x = unknown()
    return minimised(atoms.sum_squares(A @ x - data()) + 0.7 * atoms.sum_squares(x))


def lasso() -> Stated:
    x = unknown()
    return minimised(atoms.sum_squares(A @ x - data()) + 4.0 * atoms.norm1(x))


def lasso_with_a_price_that_varies() -> Stated:
    x, price = unknown(), cp.Parameter(nonneg=True, name="price")
    return minimised(atoms.sum_squares(A @ x - data()) + price * atoms.norm1(x))


def elastic_net() -> Stated:
    x = unknown()
    cost = atoms.sum_squares(A @ x - data()) + atoms.norm1(x) + 0.5 * atoms.sum_squares(x)
    return minimised(cost)


def robust_fit_by_huber() -> Stated:
    return minimised(atoms.sum(atoms.huber(A @ unknown() - data(), 0.5)))


def least_absolute_deviations() -> Stated:
    return minimised(atoms.norm1(A @ unknown() - data()))


def chebyshev_fit() -> Stated:
    return minimised(atoms.norm_inf(A @ unknown() - data()))


def quantile_regression() -> Stated:
    error = A @ unknown() - data()
    return minimised(atoms.sum(0.5 * atoms.abs(error) + 0.3 * error))


def dead_zone_penalty() -> Stated:
    x = unknown()
    outside = atoms.pos(atoms.abs(A @ x - data()) - 0.3)
    return minimised(atoms.sum_squares(outside) + 0.2 * atoms.sum_squares(x))


def worst_few_residuals() -> Stated:
    x = unknown()
    cost = atoms.sum_largest(atoms.abs(A @ x - data()), 4) + 0.1 * atoms.sum_squares(x)
    return minimised(cost)


def constrained_least_squares() -> Stated:
    x, total = unknown(), cp.Parameter(name="total")
    return minimised(atoms.sum_squares(A @ x - data()), [atoms.sum(x) == total, x[0] == x[1]])


def basis_pursuit() -> Stated:
    x = unknown(15)
    return minimised(atoms.norm1(x), [A.T @ x == data(5)])


def isotonic_regression() -> Stated:
    x = unknown(T)
    return minimised(atoms.sum_squares(x - data(T)), [x[1:] >= x[:-1]])


def convex_regression() -> Stated:
    x = unknown(T)
    return minimised(atoms.sum_squares(x - data(T)), [atoms.diff(x, 2) >= 0.0])


def total_variation_denoising() -> Stated:
    x = unknown(T)
    return minimised(atoms.sum_squares(x - data(T)) + 0.8 * atoms.tv(x))


def trend_filtering() -> Stated:
    x = unknown(T)
    return minimised(0.5 * atoms.sum_squares(x - data(T)) + atoms.norm1(atoms.diff(x, 2)))


def smoothing_of_an_image() -> Stated:
    x, b = cp.Variable((4, 3), name="x"), cp.Parameter((4, 3), name="b")
    rough = atoms.sum_squares(x[1:] - x[:-1]) + atoms.sum_squares(x[:, 1:] - x[:, :-1])
    return minimised(atoms.sum_squares(x - b) + rough)


def soft_margin_classifier() -> Stated:
    x, offset, labels = unknown(), cp.Variable(name="offset"), np.sign(rng.normal(size=15))
    hinge = atoms.pos(1.0 - atoms.multiply(labels, A @ x + offset))
    prior = cp.Parameter(5, name="prior")
    return minimised(0.5 * atoms.sum_squares(x - prior) + 2.0 * atoms.sum(hinge))


def moving_horizon_estimate() -> Stated:
    x, w = cp.Variable((T + 1, 2), name="x"), cp.Variable((T, 1), name="w")
    y, prior = cp.Parameter(T, name="y"), cp.Parameter(2, name="prior")
    F, G = np.array([[1.0, 0.1], [-0.1, 0.95]]), np.array([[0.0], [0.1]])
    cost = 10.0 * atoms.sum_squares(x[0] - prior) + atoms.sum_squares(w)
    cost += atoms.sum(atoms.huber(y - x[:T, 0]))
    return minimised(cost, [x[1:] == x[:-1] @ F.T + w @ G.T, atoms.abs(w) <= 0.5], ("x", "w"))


@pytest.mark.parametrize(
    "stated",
    [
        f
        for f in list(globals().values())
        if getattr(f, "__annotations__", {}) == {"return": Stated}
    ],
)
def test_the_compiled_fit_is_the_one_that_clarabel_finds(
    stated: Callable[[], Stated], agrees: Callable[..., None]
) -> None:
    problem, unique = stated()
    agrees(problem, unique)
