"""terminal="riccati" where changes of the input are priced (LinearMPC.jl #119).

The cost to come is a quadratic form in the last state and the last input, cross term included.
"""

from dataclasses import replace

import numpy as np
import pytest
import scipy.linalg

from koopman_control.common.arrays import Array
from koopman_control.features import SampledFeatures
from koopman_control.identification import EDMDc, LiftedModel, Rollout
from koopman_control.identification.kernel_arrays import Regulator
from koopman_control.mpc import Bounds, Cost, KoopmanMPC
from koopman_control.mpc.planning.prediction import RollOut
from koopman_control.mpc.state import Start
from koopman_control.mpc.terminal import finished_by_feedback, riccati
from koopman_control.trajectories import Trajectory

LAG = np.array([[0.82]]), np.array([[0.18]])
STAGE = np.array([[1.0, 0.1], [0.0, 1.0]]), np.array([[0.0], [0.1]])
TWO_INPUTS = (
    np.array([[1.0, 0.1, 0.0], [0.3, 1.05, 0.1], [0.0, -0.2, 0.9]]),
    np.array([[0.0, 0.1], [0.1, 0.0], [0.05, 0.2]]),
)
PRICES = [(0.1, 1.0), (0.0, 1.0), (0.1, 10.0)]


def infinite(F: Array, G: Array, R: Array, S: Array) -> tuple[Array, Array]:
    """Gain and cost of the infinite horizon in (x, u_before), for Q = 1, by SciPy.

    The decision is the change of the input here, other than in the package.
    """
    d, m = G.shape
    A = np.block([[F, G], [np.zeros((m, d)), np.eye(m)]])
    B = np.vstack([G, np.eye(m)])
    to_input = np.hstack([np.zeros((m, d)), np.eye(m)])
    cost = scipy.linalg.block_diag(np.eye(d), R)
    P = scipy.linalg.solve_discrete_are(A, B, cost, R + S, s=to_input.T @ R)
    change = np.linalg.solve(R + S + B.T @ P @ B, B.T @ P @ A + R @ to_input)
    return change - to_input, P


@pytest.mark.parametrize("rollout", ["linear", "relifted"])
@pytest.mark.parametrize(("R", "S"), PRICES)
@pytest.mark.parametrize("plant", [LAG, STAGE, TWO_INPUTS])
def test_any_horizon_gives_the_optimum_of_the_infinite_one(
    plant: tuple[Array, Array], R: float, S: float, rollout: Rollout
) -> None:
    model, (d, m) = LiftedModel.from_arrays(*plant), plant[1].shape
    K, P = infinite(*plant, R * np.eye(m), S * np.eye(m))
    x, before = np.array([1.0, -2.0, 0.5])[:d], np.array([0.7, -0.2])[:m]
    both = np.append(x, before)
    optimum = both @ P @ both - x @ x  # the present state costs nothing that a plan decides
    for N in (1, 3, 10):
        mpc = KoopmanMPC(model, N, 1.0, R, rollout=rollout, cost=Cost(S=S, terminal="riccati"))
        mpc.reset(previous_input=before)
        u = mpc.act(x)
        assert mpc.last is not None
        np.testing.assert_allclose(u, -K @ both, atol=1e-8)
        assert mpc.last.objective == pytest.approx(optimum, rel=1e-8)


def test_set_points_move_the_regulator() -> None:
    F, G = TWO_INPUTS
    u_r = np.array([0.3, -0.2])
    x_r = np.linalg.solve(np.eye(3) - F, G @ u_r)
    K, _ = infinite(F, G, 0.1 * np.eye(2), np.eye(2))
    cost = Cost(Q=1.0, R=0.1, S=1.0, input_reference=u_r, terminal="riccati")
    mpc = KoopmanMPC(LiftedModel.from_arrays(F, G), 2, cost=cost, reference=x_r)
    x, before = x_r + np.array([0.1, -0.2, 0.3]), np.array([0.5, 0.1])
    mpc.reset(previous_input=before)
    expected = u_r - K @ np.append(x - x_r, before - u_r)
    np.testing.assert_allclose(mpc.act(x), expected, atol=1e-8)


def test_dear_changes_and_a_fast_clock_are_no_less_exact() -> None:
    """The loop needs thousands of steps to settle, more than a recursion would take."""
    F, G = np.array([[1.0, 1e-3], [0.0, 1.0]]), np.array([[0.0], [1e-3]])
    S, x = 1e4 * np.eye(1), np.array([1.0, 0.0])
    K, P = riccati(LiftedModel.from_arrays(F, G), np.zeros(2), np.zeros(1), np.eye(2), 0 * S, S=S)
    closed = np.block([[F - G @ K[:, :2], -G @ K[:, 2:]], [-K]])
    assert np.abs(np.linalg.eigvals(closed)).max() < 0.9999
    state, cost = np.append(x, 0.0), 0.0
    for _ in range(200_000):
        u = -K @ state
        cost += state[:2] @ state[:2] + (u - state[2:]) @ S @ (u - state[2:])
        state = closed @ state
    assert x @ (P[:2, :2] + np.eye(2)) @ x == pytest.approx(cost, rel=1e-6)


@pytest.mark.parametrize("power", [-9, -3, 9])
def test_units_do_not_matter(power: int) -> None:
    """A state, an input and the cost in other units; the gain is the same but for these."""
    (F, G), m = TWO_INPUTS, 2
    R, S = 0.1 * np.eye(m), np.eye(m)
    K, P = riccati(LiftedModel.from_arrays(F, G), np.zeros(3), np.zeros(m), np.eye(3), R, S=S)
    of_x, of_u, price = np.array([10.0**power, 1.0, 1.0]), np.array([1.0, 10.0**-power]), 1e6
    model = LiftedModel.from_arrays(F * of_x[:, None] / of_x, G * of_x[:, None] / of_u)
    weights = (price * W / unit / unit[:, None] for W, unit in ((R, of_u), (S, of_u)))
    R_scaled, S_scaled = weights
    Q = price * np.diag(of_x**-2.0)
    K_scaled, P_scaled = riccati(model, np.zeros(3), np.zeros(m), Q, R_scaled, S=S_scaled)
    both = np.append(of_x, of_u)
    np.testing.assert_allclose(K_scaled * both / of_u[:, None], K, atol=1e-9)
    np.testing.assert_allclose(P_scaled * both * both[:, None] / price, P, atol=1e-9)


def test_inputs_that_cost_nothing_beside_ones_whose_changes_do() -> None:
    F, G = TWO_INPUTS
    S = np.diag([1.0, 0.0])
    K, P = riccati(LiftedModel.from_arrays(F, G), np.zeros(3), np.zeros(2), np.eye(3), 0 * S, S=S)
    K_near, P_near = infinite(F, G, np.diag([0.0, 1e-11]), S)
    np.testing.assert_allclose(K, K_near, atol=1e-7)
    np.testing.assert_allclose(P + np.diag([1.0, 1.0, 1.0, 0.0, 0.0]), P_near, atol=1e-7)


def test_a_set_holds_states_and_last_inputs_from_which_all_bounds_are_kept() -> None:
    """Rate bounds too: at the end of every plan the regulator takes over and is simulated."""
    F, G = STAGE
    R, S = 0.1 * np.eye(1), np.eye(1)
    bounds = Bounds(
        inputs=[[-2.0], [2.0]],
        outputs=[[-2.0, -0.8], [2.0, 0.8]],
        soft=False,
        rates=0.35,
        terminal_set="invariant",
    )
    model = LiftedModel.from_arrays(F, G)
    mpc = KoopmanMPC(model, 6, 1.0, R, cost=Cost(S=S, terminal="riccati"), bounds=bounds)
    K, _ = riccati(model, np.zeros(2), np.zeros(1), np.eye(2), R, S=S)
    solved = 0
    for x in np.random.default_rng(0).uniform(-1.0, 1.0, (60, 2)) * [2.0, 0.8]:
        mpc.reset()
        mpc.act(x)
        assert mpc.last is not None
        if mpc.last.rung != "solved":
            continue
        solved += 1
        x, before = mpc.last.outputs[-1], mpc.last.inputs[-1]
        for _ in range(200):
            u = -K @ np.append(x, before)
            assert np.abs(u - before).max() <= 0.35 + 1e-7
            assert np.abs(u).max() <= 2.0 + 1e-7
            x, before = F @ x + G @ u, u
            assert (np.abs(x) <= np.array([2.0, 0.8]) + 1e-7).all()
    assert 10 < solved < 60


def test_a_plan_that_exists_once_exists_at_all_later_steps() -> None:
    F, G = STAGE
    bounds = Bounds(
        inputs=[[-2.0], [2.0]],
        outputs=[[-2.0, -0.8], [2.0, 0.8]],
        soft=False,
        rates=0.35,
        terminal_set="invariant",
    )
    model = LiftedModel.from_arrays(F, G)
    mpc = KoopmanMPC(model, 8, 1.0, 0.1, cost=Cost(S=1.0, terminal="riccati"), bounds=bounds)
    started = 0
    for x in np.random.default_rng(1).uniform(-1.0, 1.0, (15, 2)) * [2.0, 0.8]:
        mpc.reset()
        u = mpc.act(x)
        assert mpc.last is not None
        if mpc.last.rung != "solved":
            continue
        started += 1
        for _ in range(60):
            x = F @ x + G @ u
            u = mpc.act(x)
            assert mpc.last.rung == "solved"
    assert started > 3


def regulated_model() -> LiftedModel:
    """A pendulum-like plant fitted to data, whose roll-out numba compiles where it is there."""
    rng = np.random.default_rng(0)
    runs = []
    for _ in range(4):
        x, xs, us = rng.normal(size=2), [], rng.uniform(-1.0, 1.0, (60, 1))
        xs.append(x)
        for u in us:
            x = x + 0.1 * np.array([x[1], u[0] - np.sin(x[0])])
            xs.append(x)
        runs.append(Trajectory(np.array(xs), us))
    return EDMDc(SampledFeatures(20, random_state=0)).fit(runs).model_


def test_guesses_are_finished_with_the_input_before_in_mind() -> None:
    """Compiled and plain loops regulate alike, step by step as the gain says."""
    model = regulated_model()
    K, _ = riccati(model, np.zeros(2), np.zeros(1), np.eye(2), 0.1 * np.eye(1), S=2.0 * np.eye(1))
    x, before = np.array([0.4, -0.3]), np.array([0.2])
    box = np.array([[-1.0], [1.0]])
    regulator = Regulator(np.zeros(2), np.zeros(1), K[:, :2], box, K[:, 2:], before)
    heads, plans = np.array([0, 3]), np.full((2, 12, 1), 0.1)
    U, X = finished_by_feedback(model, Start(x), plans.copy(), heads, regulator)
    for s in range(2):
        state, last = x, before
        for k in range(12):
            expected = -K @ np.append(state, last) if k >= heads[s] else np.array([0.1])
            np.testing.assert_allclose(U[s, k], np.clip(expected, -1.0, 1.0), atol=1e-12)
            state, last = X[s, k], U[s, k]
    rolled = RollOut(model, "relifted").finished(Start(x), plans.copy(), heads, regulator)
    np.testing.assert_allclose(rolled[0], U, atol=1e-9)
    np.testing.assert_allclose(rolled[1], X, atol=1e-9)


def test_several_models_weigh_the_last_input_once() -> None:
    """The same model twice plans as one does."""
    model = LiftedModel.from_arrays(*STAGE)
    one, two = (
        KoopmanMPC(given, 3, 1.0, 0.1, cost=Cost(S=1.0, terminal="riccati"))
        for given in (model, [model] * 2)
    )
    np.testing.assert_allclose(two.act([1.0, -0.5]), one.act([1.0, -0.5]), atol=1e-9)
    assert one.last is not None and two.last is not None
    assert two.last.objective == pytest.approx(one.last.objective, rel=1e-9)


@pytest.mark.parametrize("unstable", [4.0, 1.0, 1e150])
def test_a_target_that_cannot_be_held_gives_no_regulator(unstable: float) -> None:
    model = LiftedModel.from_arrays([[unstable, 0.0], [0.0, 0.5]], [[0.0], [1.0]])
    no_price = np.zeros((1, 1))
    K, to_come = riccati(model, np.zeros(2), np.zeros(1), np.eye(2), no_price, S=np.eye(1))
    np.testing.assert_array_equal(K, np.zeros((1, 3)))
    np.testing.assert_array_equal(to_come, np.zeros((3, 3)))


@pytest.mark.parametrize("S", [0.0, 0.5])
@pytest.mark.parametrize(
    "cost",
    [
        Cost(input_reference=0.3),  # at which the target does not rest
        Cost(linear_input=0.4),
        Cost(linear_output=[0.3, 0.1]),
        Cost(linear_output=[0.3, 0.1], linear_input=-0.2, input_reference=-0.4),
    ],
)
def test_linear_costs_and_a_drift_at_the_target_are_part_of_what_is_to_come(
    cost: Cost, S: float
) -> None:
    spring = LiftedModel.from_arrays([[0.9, 0.1], [-0.3, 0.8]], [[0.005], [0.1]])
    cost = replace(cost, Q=[1.0, 0.1], R=0.1, S=S)
    late = replace(cost, terminal="riccati")

    def first(horizon: int, cost: Cost) -> Array:
        return KoopmanMPC(spring, horizon, cost=cost, reference=[2.0, 0.0]).act([1.0, -0.3])

    expected = first(100, cost)
    for horizon in (1, 3):
        np.testing.assert_allclose(first(horizon, late), expected, rtol=1e-6)
