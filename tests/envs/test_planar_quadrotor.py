from collections.abc import Callable
from typing import Any

import casadi
import gymnasium as gym
import numpy as np
import pytest
from numpy.typing import NDArray
from scipy.linalg import solve_discrete_are

from koopman_envs.planar_quadrotor import (
    HOVER,
    PARAMETERS,
    PERIOD,
    PlanarQuadrotor,
    dynamics,
    figure_eight,
    rates,
)

Array = NDArray[np.float64]
Accurately = Callable[..., Array]

MASS, INERTIA, ARM, GRAVITY = 0.486, 0.00383, 0.25, 9.81


def act(*action: float) -> NDArray[np.float32]:
    return np.array(action, np.float32)


def resting(state: Array | list[float], reference: list[float], **options: Any) -> PlanarQuadrotor:
    env = PlanarQuadrotor(**options)
    env.reset(options={"state": state, "reference": reference})
    return env


def test_no_action_hovers_at_the_waypoint_without_cost() -> None:
    env = resting([0.3, -0.4, 0, 0, 0, 0], [0.3, -0.4, 0, 0])
    for _ in range(50):
        observation, reward, _, _, info = env.step(act(0.0, 0.0))
        assert reward == pytest.approx(0.0, abs=1e-20)
    np.testing.assert_allclose(observation, [0.3, -0.4, 0, 0, 0, 0, 0.3, -0.4, 0, 0], atol=1e-13)
    assert info == {"violation": 0.0, "violations": {"px": 0.0, "pz": 0.0}}


def test_without_thrust_it_falls_freely() -> None:
    env = resting([0.1, 1.0, 0.2, 0.5, 0, 0.3], [0.0] * 4)
    for _ in range(20):
        env.step(act(-1.0, -1.0))
    t = 0.4
    expected = [0.1 + 0.5 * t, 1 - 0.5 * GRAVITY * t**2, 0.2 + 0.3 * t, 0.5, -GRAVITY * t, 0.3]
    np.testing.assert_allclose(env.state, expected, rtol=1e-12)


def test_a_stronger_right_rotor_turns_it_to_the_left() -> None:
    env = resting([0.0] * 6, [0.0] * 4)
    for _ in range(10):
        env.step(act(-0.01, 0.01))
    turn = ARM / INERTIA * 2 * 0.01 * HOVER
    px, _, pitch, vx, _, spin = env.state
    assert pitch == pytest.approx(0.5 * turn * 0.2**2, rel=1e-6)
    assert spin == pytest.approx(turn * 0.2, rel=1e-6)
    assert px < 0.0
    assert vx < 0.0


def test_the_momentum_gained_is_that_of_thrust_and_weight() -> None:
    x, u = np.array([0.3, 0.1, 0.7, -1.0, 0.4, 2.0]), np.array([1.0, 3.0])
    force = 4.0 * np.array([-np.sin(0.7), np.cos(0.7)]) - [0.0, MASS * GRAVITY]
    expected = [-1.0, 0.4, 2.0, *(force / MASS), ARM * 2.0 / INERTIA]
    np.testing.assert_allclose(dynamics(x, u), expected, rtol=1e-14)


def test_an_episode_agrees_with_an_accurate_integrator(accurately: Accurately) -> None:
    env = PlanarQuadrotor()
    env.reset(seed=0)
    actions = np.random.default_rng(0).uniform(-0.03, 0.03, size=(100, 2)).astype(np.float32)
    exact = accurately(dynamics, env.state, HOVER * (1.0 + actions.astype(np.float64)), env.dt)
    for action, x in zip(actions, exact[1:], strict=True):
        env.step(action)
        np.testing.assert_allclose(env.state, x, atol=1e-7)


def test_single_steps_agree_with_full_inputs_and_stops_too(accurately: Accurately) -> None:
    env = PlanarQuadrotor()
    env.reset(seed=0)
    actions = np.random.default_rng(0).uniform(-1.0, 1.0, size=(100, 2)).astype(np.float32)
    for u, action in zip(HOVER * (1.0 + actions.astype(np.float64)), actions, strict=True):
        end = accurately(dynamics, env.state, u[None], env.dt)[1]
        env.step(action)
        np.testing.assert_allclose(env.state, [float(a) for a in env.limit(end)], atol=2e-6)


@pytest.mark.filterwarnings("ignore:\\s*casadi:FutureWarning")
def test_linearised_at_hover_it_is_two_chains_of_integrators() -> None:
    x, u = casadi.SX.sym("x", 6), casadi.SX.sym("u", 2)
    f = casadi.vertcat(*rates(casadi.vertsplit(x), casadi.vertsplit(u), PARAMETERS))
    slopes = casadi.Function("slopes", [x, u], [casadi.jacobian(f, x), casadi.jacobian(f, u)])
    found = slopes(np.zeros(6), [HOVER, HOVER])
    in_x, in_u = np.array(found[0], dtype=float), np.array(found[1], dtype=float)
    expected: Array = np.zeros((6, 6))
    expected[[0, 1, 2], [3, 4, 5]] = 1.0
    expected[3, 2] = -GRAVITY
    np.testing.assert_allclose(in_x, expected, atol=1e-14)
    turn = ARM / INERTIA
    thrusts = np.array([[0.0, 0.0], [1 / MASS, 1 / MASS], [-turn, turn]])
    np.testing.assert_allclose(in_u[3:], thrusts, atol=1e-13)


def gain(accurately: Accurately) -> Array:
    """Return the discrete LQR gain (2, 6) at hover, for normalised actions."""

    def step(x: Array, action: Array) -> Array:
        end: Array = accurately(dynamics, x, HOVER * (1.0 + action[None]), PlanarQuadrotor.dt)[1]
        return end

    def slope(columns: list[Array]) -> Array:
        return np.array(columns).T / 2e-6

    x, a = 1e-6 * np.eye(6), 1e-6 * np.eye(2)
    in_x = slope([step(d, np.zeros(2)) - step(-d, np.zeros(2)) for d in x])
    in_u = slope([step(np.zeros(6), d) - step(np.zeros(6), -d) for d in a])
    cost, effort = np.diag([1, 1, 0.1, 0.1, 0.1, 0.01]), 0.05 * np.eye(2)
    p = solve_discrete_are(in_x, in_u, cost, effort)
    return np.asarray(np.linalg.solve(effort + in_u.T @ p @ in_u, in_u.T @ p @ in_x), float)


@pytest.mark.parametrize(("trajectory", "distance"), [("waypoint", 1e-3), ("figure_eight", 0.2)])
def test_a_linear_regulator_flies_both_tasks(
    trajectory: str, distance: float, accurately: Accurately
) -> None:
    env = gym.make("koopman_envs/PlanarQuadrotor-v0", trajectory=trajectory)
    k = gain(accurately)
    observation, _ = env.reset(seed=3)
    for _ in range(300):
        wanted = np.array([*observation[6:8], 0.0, *observation[8:], 0.0])
        action = np.clip(-k @ (observation[:6] - wanted), -1, 1).astype(np.float32)
        observation, _, _, truncated, _ = env.step(action)
    assert truncated
    assert np.linalg.norm(observation[:2] - observation[6:8]) < distance


def test_the_figure_eight_closes_after_one_period() -> None:
    env = PlanarQuadrotor(trajectory="figure_eight")
    first = env.reset(seed=0)[0][6:]
    path = np.array([env.step(act(0.0, 0.0))[0][6:] for _ in range(300)])
    assert 300 * env.dt == PERIOD
    np.testing.assert_allclose(path[-1], first, atol=1e-12)
    slope = (path[2:, :2] - path[:-2, :2]) / (2 * env.dt)
    np.testing.assert_allclose(slope, path[1:-1, 2:], atol=1e-3)
    np.testing.assert_allclose(np.abs(path).max(axis=0), [1, 0.5, np.pi / 3, np.pi / 3], rtol=1e-3)


def test_copies_on_the_eight_equal_single_environments_to_the_last_bit() -> None:
    env_id, task = "koopman_envs/PlanarQuadrotor-v0", {"trajectory": "figure_eight"}
    one_by_one = gym.make_vec(env_id, 5, "sync", None, None, **task)
    together = gym.make_vec(env_id, 5, "vector_entry_point", None, None, **task)
    np.testing.assert_array_equal(together.reset(seed=3)[0], one_by_one.reset(seed=3)[0])
    for _ in range(20):
        actions = one_by_one.action_space.sample()
        expected, got = one_by_one.step(actions), together.step(actions)
        np.testing.assert_array_equal(got[0], expected[0])
        np.testing.assert_array_equal(got[1], expected[1])


def test_a_chosen_reference_sets_the_phase_of_the_eight() -> None:
    on_the_eight = [float(a) for a in figure_eight(0.4)]
    env = resting([0.0] * 6, on_the_eight, trajectory="figure_eight")
    env.step(act(0.0, 0.0))
    expected = figure_eight(0.4 + 2 * np.pi / PERIOD * env.dt)
    np.testing.assert_allclose(env.reference, expected, rtol=1e-12)


def test_leaving_the_box_is_reported_in_metres() -> None:
    env = resting([1.5, -1.5, 0, 2, -1, 0], [0.0] * 4)
    _, _, terminated, _, info = env.step(act(0.0, 0.0))
    assert not terminated
    assert info["violations"] == pytest.approx({"px": 0.04, "pz": 0.02})
    assert info["violation"] == pytest.approx(0.06)


def test_net_and_gimbal_stop_the_motion_they_face() -> None:
    env = PlanarQuadrotor()
    low = env.limit([-3.1, 0.0, 0.1, -2.0, 1.0, 0.5])
    high = env.limit([0.0, 3.1, 1.6, 1.0, 2.0, 0.5])
    assert [float(a) for a in low] == [-3.0, 0.0, 0.1, 0.0, 1.0, 0.5]
    assert [float(a) for a in high] == [0.0, 3.0, 0.5 * np.pi, 1.0, 0.0, 0.0]


def test_the_worst_thrusts_do_not_leave_the_observation_bounds() -> None:
    envs = gym.make_vec("koopman_envs/PlanarQuadrotor-v0", num_envs=200)
    envs.reset(seed=0)
    rng = np.random.default_rng(0)
    largest = np.zeros(6)
    for k in range(300):
        if k % 15 == 0:
            action = np.sign(rng.normal(size=(200, 2))).astype(np.float32)
        largest = np.maximum(largest, np.abs(envs.step(action)[0][:, :6]).max(axis=0))
    assert (largest <= PlanarQuadrotor.observation_high).all()
    assert (largest[3:] < np.array(PlanarQuadrotor.observation_high)[3:]).all()


def test_an_unknown_trajectory_is_refused() -> None:
    with pytest.raises(ValueError, match=r"trajectory is 'circle'; expected one of waypoint, f"):
        PlanarQuadrotor(trajectory="circle")  # type: ignore[arg-type]


def test_the_picture_shows_vehicle_and_waypoint() -> None:
    pytest.importorskip("pygame")
    env = resting([1.0, 0.0, 0, 0, 0, 0], [0, -1.0, 0, 0], render_mode="rgb_array")
    picture = env.render()
    assert picture is not None
    np.testing.assert_array_equal(picture[250, 375], [38, 38, 38])
    np.testing.assert_array_equal(picture[375, 250 + 10], [0, 158, 115])
