"""Terminal sets: known ones, brute force, and plans that exist at every later step."""

from collections.abc import Callable
from typing import Any

import cvxpy
import numpy as np
import pytest

from koopman_control.common.arrays import Array
from koopman_control.identification import LiftedModel
from koopman_control.mpc import Bounds, Cost, KoopmanMPC
from koopman_control.mpc.terminal import largest_invariant_set, riccati

cp: Any = cvxpy  # its functions are not declared for type checkers
Make = Callable[..., LiftedModel]
F, G = np.array([[1.0, 1.0], [0.0, 1.0]]), np.array([[0.5], [1.0]])
Q, R = np.eye(2), 0.1 * np.eye(1)
BOX = [[-1.0], [1.0]]
WIDTH = np.array([5.0, 4.0])
SETTINGS: dict[str, Any] = {
    "output_bounds": np.stack([-WIDTH, WIDTH]),
    "cost": Cost(terminal="riccati"),
    "bounds": Bounds(terminal_set="invariant", soft=False),
}


def double_integrator(make: Make) -> LiftedModel:
    return make(F, G, action_bounds=BOX)


def both_signs(rows: Array) -> Array:
    return np.concatenate([rows, -rows])


def test_a_deadbeat_loop_has_the_set_of_its_two_steps() -> None:
    """With u = -[1, 1.5] e the loop rests after two steps, so |u_0| and |u_1| say it all."""
    K = np.array([[1.0, 1.5]])
    Phi = F - G @ K
    np.testing.assert_allclose(Phi @ Phi, 0.0, atol=1e-15)
    found = largest_invariant_set(Phi, both_signs(K))
    expected = both_signs(np.concatenate([K, K @ Phi]))
    assert len(found) == len(expected)
    for row in expected:
        assert np.abs(found - row).max(axis=1).min() < 1e-12


def test_a_turning_loop_within_a_strip_has_an_octagon() -> None:
    """Turning by 45 degrees without shrinking, |e_1| <= 1 leaves the regular octagon."""
    turn = np.sqrt(0.5) * np.array([[1.0, -1.0], [1.0, 1.0]])
    found = largest_invariant_set((1.0 - 1e-12) * turn, both_signs(np.array([[1.0, 0.0]])))
    angles = np.sort(np.arctan2(found[:, 1], found[:, 0]))
    np.testing.assert_allclose(np.diff(angles), np.pi / 4.0, atol=1e-9)
    np.testing.assert_allclose(np.linalg.norm(found, axis=1), 1.0, rtol=1e-9)
    assert len(found) == 8


def kept_for_ever(E: Array, Phi: Array, rows: Array) -> Array:
    """How far rows e <= 1 are exceeded at most along the loops from E (S, d), by simulation."""
    most = np.full(len(E), -np.inf)
    for _ in range(200):
        most = np.maximum(most, (E @ rows.T).max(axis=1) - 1.0)
        E = E @ Phi.T
    return most


def test_the_set_is_where_simulated_loops_keep_their_bounds() -> None:
    rng = np.random.default_rng(0)
    for _ in range(5):
        Phi = rng.normal(size=(3, 3))
        Phi *= 0.9 / np.abs(np.linalg.eigvals(Phi)).max()
        rows = both_signs(rng.normal(size=(4, 3)))
        H = largest_invariant_set(Phi, rows)
        E = rng.normal(size=(4000, 3))
        excess, inside = kept_for_ever(E, Phi, rows), (E @ H.T).max(axis=1) - 1.0
        clear = np.abs(excess) > 1e-6
        np.testing.assert_array_equal(inside[clear] <= 0.0, excess[clear] <= 0.0)
        assert 0.02 < (inside <= 0.0).mean() < 0.98
        for i in range(len(H)):  # no row is implied by the others
            e = cp.Variable(3)
            problem = cp.Problem(cp.Maximize(H[i] @ e), [np.delete(H, i, axis=0) @ e <= 1.0])
            problem.solve(solver="CLARABEL")
            assert problem.status != "optimal" or problem.value > 1.0 + 1e-8


def test_plans_end_where_the_regulator_keeps_all_bounds(linear_model: Make) -> None:
    mpc = KoopmanMPC(double_integrator(linear_model), 4, Q, R, **SETTINGS)
    K, _ = riccati(double_integrator(linear_model), np.zeros(2), np.zeros(1), Q, R)
    rows = both_signs(np.concatenate([np.diag(1.0 / WIDTH), K]))
    u, x = cp.Variable((4, 1)), cp.Variable((5, 2))
    start = cp.Parameter(2)
    H = largest_invariant_set(F - G @ K, rows)
    constraints = [x[0] == start, cp.abs(u) <= 1.0, H @ x[4] <= 1.0]
    constraints += [x[k + 1] == F @ x[k] + G @ u[k] for k in range(4)]
    constraints += [cp.abs(x[k]) <= WIDTH for k in range(1, 5)]
    problem = cp.Problem(cp.Minimize(0.0), constraints)
    agreed = []
    for at in np.random.default_rng(1).uniform(-1.0, 1.0, (40, 2)) * WIDTH:
        mpc.reset()
        mpc.act(at)
        start.value = at
        problem.solve(solver="CLARABEL")
        assert mpc.last is not None
        assert (mpc.last.rung == "solved") == (problem.status == "optimal")
        agreed.append(mpc.last.rung)
        if mpc.last.rung == "solved":
            assert kept_for_ever(mpc.last.outputs[-1:], F - G @ K, rows)[0] <= 1e-7
    assert 5 < agreed.count("solved") < 35


@pytest.mark.parametrize("more", [{}, {"rates": 0.5}])
def test_a_plan_that_exists_once_exists_for_ever(linear_model: Make, more: dict[str, Any]) -> None:
    """Without the set, the same short horizon runs into bounds that it cannot keep."""
    model, lost = double_integrator(linear_model), {}
    begun = np.random.default_rng(2).uniform(-1.0, 1.0, (80, 2)) * WIDTH
    for kind in ("invariant", None):
        cost = Cost(S=0.2 if more else 0.0, terminal="riccati")
        bounds = Bounds(terminal_set=kind, soft=False, **more)
        mpc = KoopmanMPC(model, 2, Q, R, **(SETTINGS | {"cost": cost, "bounds": bounds}))
        lost[kind] = tried = 0
        for start in begun:
            mpc.reset()
            x, rungs = start, []
            for _ in range(25):
                x = F @ x + G @ mpc.act(x)
                assert mpc.last is not None
                rungs.append(mpc.last.rung)
            if rungs[0] == "solved":
                tried += 1
                lost[kind] += rungs.count("softened") > 0
        assert tried > 10
    assert lost["invariant"] == 0
    assert lost[None] > 0


def test_a_set_about_another_target_is_the_same_set_moved(linear_model: Make) -> None:
    model = linear_model([[0.9, 0.2], [0.0, 0.8]], [[0.0], [1.0]], action_bounds=BOX)
    target = np.array([0.4, 0.2])
    held = np.array([0.2 * 0.2])
    settings = SETTINGS | {"output_bounds": (-0.5, 0.5)}
    moved = KoopmanMPC(
        *(model, 3, Q, R),
        reference=target,
        **(settings | {"cost": Cost(terminal="riccati", input_reference=held)}),
    )
    settings["output_bounds"] = np.stack([-0.5 - target, 0.5 - target])
    settings["input_bounds"] = np.stack([-1.0 - held, 1.0 - held])
    plain = KoopmanMPC(model, 3, Q, R, **settings)
    for x in np.random.default_rng(3).uniform(-0.5, 0.5, (10, 2)):
        moved.reset()
        plain.reset()
        np.testing.assert_allclose(moved.act(x), plain.act(x - target) + held, atol=1e-7)


def test_a_given_polytope_bounds_the_last_state_alone(linear_model: Make) -> None:
    H, h = np.array([[1.0, 1.0], [-1.0, 0.5]]), np.array([-0.2, 0.7])
    settings: dict[str, Any] = {"bounds": Bounds(terminal_set=(H, h), soft=False)}
    mpc = KoopmanMPC(double_integrator(linear_model), 5, Q, R, **settings)
    u, x = cp.Variable((5, 1)), cp.Variable((6, 2))
    start = np.array([3.0, -1.0])
    constraints = [x[0] == start, cp.abs(u) <= 1.0, H @ x[5] <= h]
    constraints += [x[k + 1] == F @ x[k] + G @ u[k] for k in range(5)]
    cost = cp.sum_squares(x[1:]) + 0.1 * cp.sum_squares(u)
    problem = cp.Problem(cp.Minimize(cost), constraints)
    problem.solve(solver="CLARABEL", tol_gap_abs=1e-11, tol_gap_rel=1e-11, tol_feas=1e-11)
    mpc.act(start)
    assert mpc.last is not None
    np.testing.assert_allclose(mpc.last.inputs, u.value, atol=1e-6)
    assert np.isclose(H @ mpc.last.outputs[-1], h, atol=1e-7).any()


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"bounds": Bounds(terminal_set=(np.eye(3), np.ones(3)))}, "terminal_set's H has shape"),
        ({"reference": lambda y: 0.0}, "belongs to one target; expected a constant reference"),
        ({"reference": [5.5, 0.0]}, "settles at state .* on or beyond a bound"),
    ],
)
def test_sets_that_are_none_are_refused(
    linear_model: Make, settings: dict[str, Any], message: str
) -> None:
    with pytest.raises(ValueError, match=message):
        KoopmanMPC(double_integrator(linear_model), 4, Q, R, **(SETTINGS | settings))


def test_what_is_no_set_is_refused() -> None:
    alone: Any = np.eye(2)
    with pytest.raises(TypeError, match=r"terminal_set is .* expected a tuple"):
        Bounds(terminal_set=alone)
    unknown: Any = "ellipsoid"
    with pytest.raises(ValueError, match="terminal_set is 'ellipsoid'; expected"):
        Bounds(terminal_set=unknown)


def test_a_single_row_is_a_set_and_too_many_are_none(monkeypatch: pytest.MonkeyPatch) -> None:
    np.testing.assert_allclose(
        largest_invariant_set(np.array([[0.5]]), np.array([[2.0], [1.0]])), [[2.0]]
    )
    monkeypatch.setattr("koopman_control.mpc.terminal.MOST_ROWS", 5)
    turning = 0.99 * np.array([[0.8, 0.6], [-0.6, 0.8]])
    with pytest.raises(ValueError, match="more than 200 steps or 5 rows"):
        largest_invariant_set(turning, both_signs(np.array([[1.0, 0.0]])))


def test_what_the_regulator_cannot_hold_has_no_set(linear_model: Make) -> None:
    with pytest.raises(ValueError, match="does not exist: the regulator leaves a spectral radius"):
        KoopmanMPC(linear_model([[1.1]], [[0.0]]), 4, bounds=Bounds(terminal_set="invariant"))
    slow = linear_model((1.0 - 1e-8) * np.array([[0.8, 0.6], [-0.6, 0.8]]), np.zeros((2, 1)))
    with pytest.raises(ValueError, match="more than 200 steps or 500 rows"):
        KoopmanMPC(
            slow,
            4,
            output_bounds=[[-1, -np.inf], [1, np.inf]],
            bounds=Bounds(terminal_set="invariant"),
        )
