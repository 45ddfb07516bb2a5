"""`compile_qp` on the planning problems of CVXPY's and OSQP's documentation, against Clarabel."""

from collections.abc import Callable
from typing import Any

import cvxpy as cp
import numpy as np
import pytest

atoms: Any = cp  # CVXPY's atoms carry no type information

Stated = tuple[cp.Problem, list[str]]  # and the variables whose solution is unique
rng = np.random.default_rng(1)
N = 8
F, G = np.array([[1.0, 0.2], [0.0, 1.0]]), np.array([[0.02], [0.2]])


def minimised(cost: Any, constraints: Any = (), unique: tuple[str, ...] = ("x",)) -> Stated:
    return cp.Problem(cp.Minimize(cost), list(constraints)), list(unique)


def maximised(profit: Any, constraints: Any, unique: tuple[str, ...] = ("x",)) -> Stated:
    return cp.Problem(cp.Maximize(profit), list(constraints)), list(unique)


def portfolio() -> Stated:
    x, mu, S = cp.Variable(6, name="x"), cp.Parameter(6, name="mu"), rng.normal(size=(6, 6))
    profit = mu @ x - 2.0 * atoms.quad_form(x, S @ S.T + 0.1 * np.eye(6))
    return maximised(profit, [atoms.sum(x) == 1.0, x >= 0.0])


def portfolio_with_factors() -> Stated:
    x, f, mu = cp.Variable(8, name="x"), cp.Variable(2, name="f"), cp.Parameter(8, name="mu")
    loadings, own = rng.normal(size=(8, 2)), rng.uniform(0.2, 1.0, 8)
    risk = atoms.sum_squares(f) + atoms.sum_squares(atoms.multiply(own, x))
    return maximised(
        mu @ x - risk, [atoms.sum(x) == 1.0, f == loadings.T @ x, x >= 0.0], ("x", "f")
    )


def rebalancing_with_costs_of_trading() -> Stated:
    x, mu, before = cp.Variable(5, name="x"), cp.Parameter(5, name="mu"), cp.Parameter(5, name="x0")
    profit = mu @ x - atoms.sum_squares(x) - 0.2 * atoms.norm1(x - before)
    return maximised(profit, [atoms.sum(x) == atoms.sum(before), atoms.norm1(x) <= 9.0])


def regulator(cost: Any = None, more: Any = lambda x, u: []) -> Stated:
    """Double integrator over N steps from a given state."""
    x, u = cp.Variable((N + 1, 2), name="x"), cp.Variable((N, 1), name="u")
    start = cp.Parameter(2, name="start")
    total = atoms.sum_squares(x) + 0.1 * atoms.sum_squares(u) if cost is None else cost(x, u)
    plant = [x[0] == start, x[1:] == x[:-1] @ F.T + u @ G.T]
    return minimised(total, [*plant, *more(x, u)], ("x", "u"))


def double_integrator_within_bounds() -> Stated:
    return regulator(more=lambda x, u: [atoms.abs(u) <= 1.0, x[:, 1] <= 2.0])


def control_with_rate_limits() -> Stated:
    return regulator(more=lambda x, u: [atoms.abs(atoms.diff(u)) <= 0.3])


def control_with_bounds_that_vary() -> Stated:
    low, width = cp.Parameter(N, name="low"), cp.Parameter(N, nonneg=True, name="width")
    return regulator(more=lambda x, u: [u[:, 0] >= low, u[:, 0] <= low + width])


def control_with_soft_outputs() -> Stated:
    def cost(x: Any, u: Any) -> Any:
        over = atoms.pos(atoms.abs(x[:, 0]) - 0.5)
        return atoms.sum_squares(x) + atoms.sum_squares(u) + 50.0 * atoms.sum(over)

    return regulator(cost)


def economic_control() -> Stated:
    price = cp.Parameter(N, name="price")
    return regulator(
        lambda x, u: price @ u[:, 0] + 0.1 * atoms.sum_squares(x),
        lambda x, u: [atoms.abs(u) <= 2.0],
    )


def control_by_the_largest_deviation() -> Stated:
    return regulator(lambda x, u: atoms.max(atoms.abs(x)) + 0.05 * atoms.sum_squares(u))


def control_that_ends_at_rest() -> Stated:
    return regulator(more=lambda x, u: [x[N] == 0.0])


def control_that_cannot_always_end_at_rest() -> Stated:
    return regulator(more=lambda x, u: [x[N] == 0.0, atoms.abs(u) <= 1.5])


def hover_of_a_craft_with_four_inputs() -> Stated:
    x, u, n = cp.Variable((5, 6), name="x"), cp.Variable((4, 4), name="u"), np.random.default_rng(3)
    P, Q = np.eye(6) + 0.1 * n.normal(size=(6, 6)), n.normal(size=(6, 4))
    start, target = cp.Parameter(6, name="start"), cp.Parameter((5, 6), name="target")
    cost = atoms.sum_squares(
        atoms.multiply(np.tile(np.arange(6.0), (5, 1)), x - target)
    ) + atoms.sum_squares(u)
    plant = [x[0] == start, x[1:] == x[:-1] @ P.T + u @ Q.T]
    return minimised(cost, [*plant, u >= -0.4, u <= 0.7], ("u", "x"))


def tracking_inside_a_polytope() -> Stated:
    x, target = cp.Variable((N, 3), name="x"), cp.Parameter((N, 3), name="target")
    side = cp.Parameter(4, nonneg=True, name="side")
    C = rng.normal(size=(4, 3))
    inside = [C @ x[k] <= side for k in range(N)]
    return minimised(atoms.sum_squares(x - target), inside)


def projection_on_the_simplex() -> Stated:
    x, p = cp.Variable(6, name="x", nonneg=True), cp.Parameter(6, name="p")
    return minimised(atoms.sum_squares(x - p), [atoms.sum(x) == 1.0])


def projection_on_a_diamond_in_a_box() -> Stated:
    x, p, r = cp.Variable(6, name="x"), cp.Parameter(6, name="p"), cp.Parameter(name="r")
    bounds = [atoms.norm1(x) <= 1.0 + r, atoms.norm_inf(x) <= 0.4]
    return minimised(atoms.sum_squares(x - p), bounds)


def equality_constrained_program() -> Stated:
    x, b, q = cp.Variable(7, name="x"), cp.Parameter(3, name="b"), cp.Parameter(7, name="q")
    return minimised(atoms.sum_squares(x) + q @ x, [rng.normal(size=(3, 7)) @ x == b])


def allocation_of_resources() -> Stated:
    x, price = cp.Variable(5, name="x", nonneg=True), cp.Parameter(5, name="price")
    stock = cp.Parameter(3, nonneg=True, name="stock")
    return maximised(price @ x, [rng.uniform(0.5, 2.0, (3, 5)) @ x <= stock])


def transport() -> Stated:
    x, demand = cp.Variable((3, 4), name="x", nonneg=True), cp.Parameter(4, nonneg=True, name="d")
    cost = atoms.sum(atoms.multiply(rng.uniform(1.0, 3.0, (3, 4)), x))
    return minimised(cost, [atoms.sum(x, axis=1) <= 3.0, atoms.sum(x, axis=0) == demand])


def flow_of_least_cost() -> Stated:
    x, supply = cp.Variable(6, name="x", nonneg=True), cp.Parameter(nonneg=True, name="supply")
    leaves = np.array([[1, 1, 0, 0, 0, 0], [-1, 0, 1, 1, 0, 0], [0, -1, -1, 0, 1, 0]])
    balance = [leaves[0] @ x == supply, leaves[1:] @ x == 0.0, x[3] + x[4] == supply]
    return minimised(np.array([1.0, 2.1, 0.3, 3.0, 1.2, 1.0]) @ x, [*balance, x <= 1.0])


def fair_shares() -> Stated:
    x, need = cp.Variable(4, name="x", nonneg=True), cp.Parameter(4, nonneg=True, name="need")
    return maximised(atoms.min(x - need), [atoms.sum(x) <= 10.0, x[0] <= 2.0], ())


def water_tank() -> Stated:
    level, pump = cp.Variable(N + 1, name="level"), cp.Variable(N, name="pump", nonneg=True)
    tariff, draw = cp.Parameter(N, nonneg=True, name="tariff"), cp.Parameter(N, nonneg=True)
    tank = [level[0] == 2.0, level[1:] == level[:-1] + pump - draw, level >= 1.0, level <= 5.0]
    return minimised(tariff @ pump, [*tank, pump <= 1.5], ())


def charging_of_a_battery() -> Stated:
    x, load = cp.Variable(N, name="x"), cp.Parameter(N, name="load")
    energy = [atoms.cumsum(x) >= 0.0, atoms.cumsum(x) <= 2.0]
    return minimised(atoms.max(load + x) + 0.3 * atoms.sum_squares(x), energy)


@pytest.mark.parametrize(
    "stated",
    [
        f
        for f in list(globals().values())
        if getattr(f, "__annotations__", {}) == {"return": Stated}
    ],
)
def test_the_compiled_decision_is_the_one_that_clarabel_finds(
    stated: Callable[[], Stated], agrees: Callable[..., None]
) -> None:
    problem, unique = stated()
    agrees(problem, unique)
