"""Which slack variables become prices of their rows, and which must stay variables."""

from collections.abc import Callable
from typing import Any

import cvxpy as cp
import numpy as np
import pytest

from koopman_control.mpc import compile_qp

atoms: Any = cp
Agrees = Callable[..., None]
Build = Callable[[Any, Any, Any], list[Any]]


def stated(
    build: Build, price: Callable[[Any, Any, Any], Any] | None = None, target: Any = 3.0
) -> cp.Problem:
    """State |x - 3|^2 + 2 s + s^2, unless another price is given, with constraints on x and s."""
    x, s, p = cp.Variable(2, name="x"), cp.Variable(name="s"), cp.Parameter(name="p", nonneg=True)
    paid = price(x, s, p) if price else 2.0 * s + atoms.square(s)
    return cp.Problem(cp.Minimize(atoms.sum_squares(x - target) + paid), build(x, s, p))


def relaxed_row(x: Any, s: Any, p: Any) -> list[Any]:
    return [x[0] + 2.0 * x[1] - s <= 1.0, s >= 0.0]


FOLDED: dict[str, Build] = {
    "one row": relaxed_row,
    "a row that moves": lambda x, s, p: [x[0] - s <= p, s >= 0.0],
    "two sides": lambda x, s, p: [x[0] - x[1] - s <= 0.1, x[0] - x[1] + s >= -0.1, s >= 0.0],
    "two sides that move": lambda x, s, p: [x[0] - s <= p + 0.1, x[0] + s >= p - 0.1, s >= 0.0],
    "two sides that meet": lambda x, s, p: [x[0] - s <= 1.0, x[0] + s >= 1.0, s >= 0.0],
    "sides that cross by rounding": lambda x, s, p: [
        x[0] - s <= 1.0,
        x[0] + s >= 1.0 + 1e-13,
        s >= 0.0,
    ],
    "sides that differ by rounding": lambda x, s, p: [
        x[0] + x[1] / 3.0 - s <= 1.0,
        x[0] + x[1] * (1.0 / 3.0 + 1e-14) + s >= -1.0,
        s >= 0.0,
    ],
}


@pytest.mark.parametrize("build", FOLDED.values(), ids=FOLDED)
def test_a_slack_of_its_own_row_becomes_the_price_of_the_row(build: Build, agrees: Agrees) -> None:
    problem = stated(build)
    qp = compile_qp(problem, problem.parameters())
    assert qp.P.shape == (2, 2)
    np.testing.assert_array_equal([*qp.linear_weight, *qp.quadratic_weight], [2.0, 2.0])
    agrees(problem, ["x", "s"])


def test_a_slack_may_be_priced_by_its_square_alone(agrees: Agrees) -> None:
    problem = stated(relaxed_row, lambda x, s, p: 1.5 * atoms.square(s))
    qp = compile_qp(problem, problem.parameters())
    np.testing.assert_array_equal([*qp.linear_weight, *qp.quadratic_weight], [0.0, 3.0])
    agrees(problem, ["x", "s"])


KEPT: dict[str, Build] = {
    "never below a half": lambda x, s, p: [x[0] - s <= 1.0, s >= 0.5],
    "may be negative": lambda x, s, p: [x[0] - s <= 4.0, s >= -0.5],
    "never below a parameter": lambda x, s, p: [x[0] - s <= 1.0, s >= p],
    "bounded above": lambda x, s, p: [x[0] - s <= 1.0, s >= 0.0, s <= 0.5],
    "sign stated twice": lambda x, s, p: [x[0] - s <= 1.0, s >= 0.0, s >= 0.0],
    "sign stated in other units": lambda x, s, p: [x[0] - s <= 1.0, 2.0 * s >= 0.0],
    "no sign": lambda x, s, p: [x[0] - s <= 1.0],
    "counts twice": lambda x, s, p: [x[0] - 2.0 * s <= 1.0, s >= 0.0],
    "tightens": lambda x, s, p: [x[0] + s <= 1.0, s >= 0.0],
    "relaxes nothing": lambda x, s, p: [x[0] <= 1.0, s >= 0.0],
    "relaxes three rows": lambda x, s, p: [x - s <= 1.0, x[0] + s >= -5.0, s >= 0.0],
    "relaxes two rows": lambda x, s, p: [x - s <= 1.0, s >= 0.0],
    "relaxes rows of other sizes": lambda x, s, p: [
        x[0] + x[1] - s <= 1.0,
        x[0] + 2.0 * x[1] + s >= 1.0,
        s >= 0.0,
    ],
    "relaxes rows that nearly agree": lambda x, s, p: [
        x[0] + x[1] / 3.0 - s <= 1.0,
        x[0] + x[1] * (1.0 / 3.0 + 1e-11) + s >= -1.0,
        s >= 0.0,
    ],
    "relaxes a band of varying width": lambda x, s, p: [x[0] - s <= p, x[0] + s >= -p, s >= 0.0],
    "relaxes sides that cross": lambda x, s, p: [x[0] - s <= 1.0, x[0] + s >= 1.5, s >= 0.0],
    "has a part in an equality": lambda x, s, p: [
        x[0] - s <= 1.0,
        s >= 0.0,
        x[0] + x[1] + s == 1.0,
        x[0] - x[1] + s == p,
    ],
}


@pytest.mark.parametrize("target", [3.0, cp.Parameter(name="target")])
@pytest.mark.parametrize("build", KEPT.values(), ids=KEPT)
def test_other_slacks_stay_variables(build: Build, target: Any, agrees: Agrees) -> None:
    problem = stated(build, target=target)
    qp = compile_qp(problem, problem.parameters())
    assert not np.isfinite(qp.linear_weight).any()
    agrees(problem, ["x", "s"])


PRICES: dict[str, Callable[[Any, Any, Any], Any]] = {
    "that varies": lambda x, s, p: p * s + atoms.square(s),
    "below zero": lambda x, s, p: atoms.square(s) - 0.5 * s,
    "without a square": lambda x, s, p: 2.0 * s,
    "with a product": lambda x, s, p: atoms.square(s + x[1]) + s,
    "with a product below zero": lambda x, s, p: atoms.square(s - x[1]) + s,
}


@pytest.mark.parametrize("price", PRICES.values(), ids=PRICES)
def test_slacks_at_other_prices_stay_variables(price: Any, agrees: Agrees) -> None:
    problem = stated(relaxed_row, price)
    qp = compile_qp(problem, problem.parameters())
    assert not np.isfinite(qp.linear_weight).any()
    agrees(problem, ["x", "s"])


def test_slacks_that_are_asked_for_stay_variables() -> None:
    problem = stated(relaxed_row)
    s = next(v for v in problem.variables() if v.name() == "s")
    qp = compile_qp(problem, problem.parameters(), [s])
    assert qp.P.shape == (3, 3)
    assert not np.isfinite(qp.linear_weight).any()


@pytest.mark.parametrize("first", [False, True])
def test_variables_are_found_where_slacks_have_left(first: bool) -> None:
    x, s, p = cp.Variable(2, name="x"), cp.Variable(2, name="s", nonneg=True), cp.Parameter(2)
    price, rest = atoms.sum(s) + atoms.sum_squares(s), atoms.sum_squares(x - p)
    cost = price + rest if first else rest + price
    qp = compile_qp(cp.Problem(cp.Minimize(cost), [x - s <= 1.0]), [p], [x])
    np.testing.assert_array_equal(np.sort(qp.columns["x"]), [0, 1])
    solution = np.array([3.0, 5.0])
    found = qp.recovery(solution, np.zeros(2), qp.at([0.0, 0.0]).violation(solution))
    np.testing.assert_array_equal(found["x"], solution[qp.columns["x"]])
    np.testing.assert_array_equal(found["s"], found["x"] - 1.0)


@pytest.mark.parametrize("first", [False, True])
def test_one_row_takes_one_slack(first: bool, agrees: Agrees) -> None:
    x, s, t = (cp.Variable(n, name=name) for n, name in ((2, "x"), ((), "s"), ((), "t")))
    price = s + atoms.square(s) + 2.0 * t + 4.0 * atoms.square(t)
    cost = price + atoms.sum_squares(x - 3.0) if first else atoms.sum_squares(x - 3.0) + price
    problem = cp.Problem(cp.Minimize(cost), [x[0] + x[1] - s - t <= 1.0, s >= 0.0, t >= 0.0])
    qp = compile_qp(problem, [])
    assert qp.P.shape == (3, 3)
    assert np.isfinite(qp.linear_weight).sum() == 1
    agrees(problem, ["x", "s", "t"])


def test_slacks_among_hard_rows_and_equalities_price_their_own_rows(agrees: Agrees) -> None:
    x, s = cp.Variable(4, name="x"), cp.Variable(2, name="s", nonneg=True)
    price = np.array([1.0, 2.0]) @ s + atoms.square(s[0]) + 3.0 * atoms.square(s[1])
    bounds = [
        x[0] <= 5.0,
        x[1] - s[1] <= 0.5,
        x[2] >= -1.0,
        x[3] + s[0] >= 4.0,
        x[0] - s[1] <= 9.0,
        x[0] + x[1] + x[2] + x[3] == 1.0,
        x[0] + x[1] - x[2] - x[3] == 2.0,
    ]
    free = cp.Problem(cp.Minimize(atoms.sum_squares(x - 1.0) + price), [*bounds[:4], *bounds[5:]])
    qp = compile_qp(free, [], [x])
    prices = zip(qp.linear_weight, qp.quadratic_weight, strict=True)
    priced = dict(zip(qp.row_names, prices, strict=True))
    hard = (np.inf, np.inf)
    assert priced == {
        "constraint 0": hard,
        "constraint 1": (2.0, 6.0),
        "constraint 2": hard,
        "constraint 3": (1.0, 2.0),
        "constraint 4": hard,
        "constraint 5": hard,
    }
    agrees(free, ["x", "s"])
    agrees(cp.Problem(free.objective, bounds), ["x", "s"])
