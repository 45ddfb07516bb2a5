import gymnasium as gym
import numpy as np
import pytest
from scipy.linalg import solve_discrete_are
from scipy.optimize import minimize

import koopman_envs
from koopman_control.common import Array
from koopman_control.evaluation.episode import run_episode
from koopman_control.tasks import reference_returns

pytest.importorskip("casadi", reason="needs pip install 'koopman-control[benchmarks]'")
from examples.references.multiple_shooting import MultipleShooting, Plan, constrained_box
from examples.references.optimal_control import Optimum
from examples.references.starts import STARTS, line, searched, starts
from examples.references.tracking import feedback_gains

INFINITY = np.inf


def plant_of(name: str) -> koopman_envs.ODEEnv:
    plant = gym.make(f"koopman_envs/{name}-v0").unwrapped
    assert isinstance(plant, koopman_envs.ODEEnv)
    return plant


@pytest.mark.parametrize("name", STARTS)
def test_the_symbolic_step_is_that_of_the_environment(name: str) -> None:
    plant = plant_of(name)
    shooting, rng = MultipleShooting(plant, 2), np.random.default_rng(1)
    _, _ = plant.reset(seed=3)
    for _ in range(5):
        state, reference = plant.state, plant.reference
        action = rng.uniform(-1.0, 1.0, shooting.m).astype(np.float32)
        _, reward, _, _, _ = plant.step(action)
        after = shooting.scale * np.array(shooting.step(state / shooting.scale, action)).ravel()
        np.testing.assert_allclose(plant.state, plant.limit(after.tolist()), rtol=1e-12, atol=1e-12)
        cost = float(shooting.cost(state / shooting.scale, action, reference))
        assert cost == pytest.approx(-reward, rel=1e-12, abs=1e-12)


@pytest.mark.parametrize("name", ["Lorenz", "CSTR", "PlanarQuadrotor"])
def test_slopes_agree_with_finite_differences(name: str) -> None:
    shooting, rng = MultipleShooting(plant_of(name), 2), np.random.default_rng(2)
    low, high = np.array(shooting.plant.state_low), np.array(shooting.plant.state_high)
    x, a = rng.uniform(low, high, (3, len(low))), rng.uniform(-1.0, 1.0, (3, shooting.m))
    A, B = shooting.linearised(x, a)
    for k in range(3):
        z, h = x[k] / shooting.scale, 1e-6
        for j, d in enumerate(h * np.eye(len(z))):
            difference = np.array(shooting.step(z + d, a[k]) - shooting.step(z - d, a[k])).ravel()
            np.testing.assert_allclose(A[k][:, j], difference / (2 * h), atol=1e-7)
        for j, d in enumerate(h * np.eye(shooting.m)):
            difference = np.array(shooting.step(z, a[k] + d) - shooting.step(z, a[k] - d)).ravel()
            np.testing.assert_allclose(B[k][:, j], difference / (2 * h), atol=1e-7)


@pytest.mark.parametrize(
    ("name", "low", "high"),
    [
        ("BilinearMotor", [-INFINITY, -0.4], [INFINITY, 0.4]),
        ("CSTR", [-INFINITY, -INFINITY], [INFINITY, 370.0]),
        ("Duffing", [-INFINITY] * 2, [INFINITY] * 2),
        ("QuadrupleTank", [0.5] * 4, [18.0] * 4),
        ("CartPoleSwingUp", [-2.0] + [-INFINITY] * 3, [2.0] + [INFINITY] * 3),
    ],
)
def test_constraints_are_found_as_a_box(name: str, low: list[float], high: list[float]) -> None:
    found = constrained_box(plant_of(name))
    np.testing.assert_allclose(found[0], low, atol=1e-11)
    np.testing.assert_allclose(found[1], high, atol=1e-11)


def test_constant_dynamics_give_the_gain_of_the_algebraic_riccati_equation() -> None:
    rng = np.random.default_rng(3)
    A, B = rng.standard_normal((3, 3)), rng.standard_normal((3, 2))
    P = solve_discrete_are(A, B, np.eye(3), 0.5 * np.eye(2))
    gain = np.linalg.solve(0.5 * np.eye(2) + B.T @ P @ B, B.T @ P @ A)
    found = feedback_gains(np.tile(A, (200, 1, 1)), np.tile(B, (200, 1, 1)), effort=0.5)
    np.testing.assert_allclose(found[0], gain, rtol=1e-9)


def cost_of(plant: koopman_envs.ODEEnv, actions: Array, state: Array, reference: Array) -> float:
    x, total = state.tolist(), 0.0
    for u in actions.tolist():
        total += plant.cost(x, [u], reference.tolist())
        x = plant.advance(x, [u])
    return total


def test_an_optimum_is_that_of_single_shooting() -> None:
    plant, N = plant_of("Duffing"), 30
    plant.reset(seed=5)
    state, reference = plant.state, plant.reference
    shooting = MultipleShooting(plant, N)
    plan = shooting.solve(state, reference, starts(shooting, state, reference))

    def cost(actions: Array) -> float:
        return cost_of(plant, actions, state, reference)

    oracle = minimize(
        cost,
        np.zeros(N),
        method="L-BFGS-B",
        bounds=[(-1.0, 1.0)] * N,
        options={"maxiter": 2000, "ftol": 1e-15, "gtol": 1e-9},
    )
    assert plan.cost == pytest.approx(oracle.fun, abs=1e-7)
    assert cost_of(plant, plan.actions[:, 0], state, reference) == pytest.approx(
        plan.cost, abs=1e-7
    )


def test_a_constraint_is_kept_where_the_free_optimum_breaks_it() -> None:
    plant = plant_of("PlanarQuadrotor")
    state, reference = np.array([1.4, 0.0, 0.0, 1.5, 0.0, 0.0]), np.array([1.2, 0.0, 0.0, 0.0])
    shooting = MultipleShooting(plant, 100)
    idle = np.zeros((100, 2))
    free = Plan(idle, np.tile(state, (100, 1)), np.inf)
    plan = shooting.solve(state, reference, [free])
    outside = np.maximum(plan.states[:, 0] - 1.5, 0.0)
    assert outside.max() > 0.0  # it cannot stop in time ...
    assert plan.cost > 1000.0 * outside.sum() / 1.5  # ... and pays for that
    slower = np.array([1.2, 0.0, 0.0, 0.4, 0.0, 0.0])
    plan = shooting.solve(slower, reference, [free])
    assert plan.states[:, 0].max() <= 1.5


def test_no_start_without_an_optimum_is_an_error_that_names_the_state() -> None:
    shooting = MultipleShooting(plant_of("Duffing"), 5)
    with pytest.raises(RuntimeError, match=r"no optimum from \[0. 0.\]"):
        shooting.solve(np.zeros(2), np.zeros(1), [])


def test_a_line_ends_at_its_goal() -> None:
    shooting = MultipleShooting(plant_of("Duffing"), 10)
    plan = line(shooting, np.array([1.0, -1.0]), np.array([0.0, 1.0]), 4)
    np.testing.assert_allclose(plan.states[[0, 3, 9]], [[0.75, -0.5], [0.0, 1.0], [0.0, 1.0]])


def test_the_search_returns_trajectories_of_the_plant_in_the_order_of_their_cost() -> None:
    plant = plant_of("Lorenz")
    plant.reset(seed=2003)
    state, reference = plant.state, plant.reference
    shooting = MultipleShooting(plant, 60)
    goal = np.array([reference[0], reference[0], 27.0])
    costs = []
    for plan in searched(shooting, state, goal, reference):
        x, total = state.tolist(), 0.0
        for action, after in zip(plan.actions, plan.states, strict=True):
            total += plant.cost(x, shooting.inputs(action), reference)
            x = list(plant.advance(x, shooting.inputs(action)))
            np.testing.assert_allclose(x, after, rtol=1e-12)
        costs.append(total)
    assert costs == sorted(costs)


@pytest.mark.parametrize("name", ["Duffing", "QuadrupleTank", "BilinearMotor"])
def test_playing_the_optimum_gives_the_stored_return(name: str) -> None:
    env = gym.make(f"koopman_envs/{name}-v0")
    episode = run_episode(Optimum(env), env, 1000)
    stored = reference_returns(f"koopman_envs/{name}-v0", [1000])
    assert stored is not None
    assert episode.episode_return == pytest.approx(stored[1][0], abs=1e-5)
    assert episode.violation == 0.0
