from collections.abc import Callable

import casadi as ca
import numpy as np
import pytest
from numpy.typing import NDArray
from scipy.linalg import solve_continuous_are

from koopman_envs.cart_pole_swing_up import CartPoleSwingUp, dynamics

Array = NDArray[np.float64]

M, m, length, b, g = 0.5, 0.5, 0.6, 0.1, 9.82


def energy(x: Array) -> Array:
    """Kinetic and potential energy of states (..., 4), the rod taken as 2000 points."""
    along = (np.arange(2000) + 0.5) / 2000 * length
    _, v, a, w = np.moveaxis(x[..., None, :], -1, 0)
    speeds = (v + w * along * np.cos(a)) ** 2 + (w * along * np.sin(a)) ** 2
    rod = (0.5 * speeds + g * along * np.cos(a)).mean(axis=-1)
    total: Array = 0.5 * M * v[..., 0] ** 2 + m * rod
    return total


def test_the_right_hand_side_follows_from_the_lagrangian() -> None:
    # d/dt dL/dq' - dL/dq = forces, differentiated by CasADi.
    q, s, force = ca.SX.sym("q", 2), ca.SX.sym("s", 2), ca.SX.sym("F")
    cart, spin = s[0], s[1]
    middle = ca.vertcat(
        cart + 0.5 * length * spin * ca.cos(q[1]), -0.5 * length * spin * ca.sin(q[1])
    )
    kinetic = 0.5 * M * cart**2 + 0.5 * m * ca.sumsqr(middle) + m * length**2 / 24.0 * spin**2
    lagrangian = kinetic - 0.5 * m * g * length * ca.cos(q[1])
    momentum = ca.gradient(lagrangian, s)
    pull = ca.vertcat(force - b * cart, 0.0) + ca.gradient(lagrangian, q)
    rest = pull - ca.mtimes(ca.jacobian(momentum, q), s)
    accelerations = ca.Function("f", [q, s, force], [ca.solve(ca.jacobian(momentum, s), rest)])
    rng = np.random.default_rng(0)
    for x, u in zip(
        rng.normal(size=(20, 4)) * 3.0, rng.uniform(-10, 10, size=(20, 1)), strict=True
    ):
        expected = np.array(accelerations(x[[0, 2]], x[[1, 3]], u)).ravel()
        rates = dynamics(x, u)
        np.testing.assert_allclose(rates[[1, 3]], expected, rtol=1e-10, atol=1e-10)
        np.testing.assert_array_equal(rates[[0, 2]], x[[1, 3]])


def test_power_is_what_force_and_friction_give() -> None:
    rng = np.random.default_rng(1)
    x, u = rng.normal(size=(50, 4)), rng.uniform(-10.0, 10.0, size=(50, 1))
    step = 1e-5 * dynamics(x, u)
    power = (energy(x + step) - energy(x - step)) / 2e-5
    np.testing.assert_allclose(power, (u[:, 0] - b * x[:, 1]) * x[:, 1], rtol=1e-5, atol=1e-5)


def test_small_swings_have_the_period_of_a_rod_on_a_free_cart() -> None:
    # Hanging: (1/3 - m / 4 (M + m)) l a'' = -g a / 2.
    x = np.array([0.0, 0.0, np.pi + 1e-6, 0.0])
    rate = dynamics(x, np.zeros(1))[3] / 1e-6
    assert rate == pytest.approx(-0.5 * g / length / (1 / 3 - m / (4 * (M + m))), rel=1e-6)


def test_an_episode_agrees_with_an_accurate_integrator(accurately: Callable[..., Array]) -> None:
    env = CartPoleSwingUp()
    actions = 0.6 * np.random.default_rng(2).uniform(-1.0, 1.0, size=(100, 1))
    start = np.array([0.1, 0.0, 3.0, 0.0])
    env.reset(options={"state": start})
    seen = np.array([env.step(a)[0][:5] for a in actions])
    exact = accurately(dynamics, start, 10.0 * actions, 0.05)[1:]
    q, v, a, w = exact.T
    assert np.abs(q).max() < 2.4
    expected = np.c_[q, v, np.cos(a), np.sin(a), w]
    assert np.abs(seen - expected).max() < 1e-6 * np.abs(w).max()


def test_the_upright_set_point_is_an_equilibrium_without_cost() -> None:
    env = CartPoleSwingUp()
    env.reset(options={"state": [0.3, 0.0, 0.0, 0.0], "reference": [0.3]})
    observation, reward, *_ = env.step(np.zeros(1, np.float32))
    np.testing.assert_array_equal(observation, [0.3, 0.0, 1.0, 0.0, 0.0, 0.3])
    assert reward == 0.0


def test_the_cost_is_quadratic_in_what_is_observed() -> None:
    env = CartPoleSwingUp()
    start, _ = env.reset(options={"state": [0.4, -1.0, 2.0, 5.0], "reference": [-0.2]})
    q, v, cosine, sine, w, r = start
    _, reward, *_ = env.step(np.array([0.5], np.float32))
    expected = 0.5 * (q - r) ** 2 + 0.01 * v**2 + 0.5 * (cosine - 1) ** 2 + 0.5 * sine**2
    assert reward == pytest.approx(-(expected + 0.002 * w**2 + 0.001 * 25.0), rel=1e-12)


def test_the_buffer_takes_the_carts_momentum_but_not_the_poles() -> None:
    env = CartPoleSwingUp()
    before = np.array([2.45, 3.0, 0.4, -1.0])
    after = np.array(env.limit(before.tolist()))
    np.testing.assert_array_equal(after[:3], [2.4, 0.0, 0.4])
    momentum = [
        0.5 * m * length * v * np.cos(a) + m * length**2 / 3.0 * w for _, v, a, w in (before, after)
    ]
    assert momentum[0] == pytest.approx(momentum[1], rel=1e-14)
    assert energy(after) < energy(before)


def test_within_the_stops_nothing_is_limited() -> None:
    x = [1.0, -2.0, -3.0, 4.0]
    assert [float(v) for v in CartPoleSwingUp().limit(x)] == x


def test_the_angle_is_counted_within_half_a_turn() -> None:
    env = CartPoleSwingUp()
    assert float(env.limit([0.0, 0.0, 3.5, 0.0])[2]) == pytest.approx(3.5 - 2.0 * np.pi)
    assert float(env.limit([0.0, 0.0, -12.0, 0.0])[2]) == pytest.approx(4.0 * np.pi - 12.0)


def test_a_state_that_was_reached_can_be_chosen() -> None:
    env = CartPoleSwingUp()
    env.reset(seed=0)
    rng = np.random.default_rng(0)
    for _ in range(200):
        expected, *_ = env.step(np.sign(rng.normal(size=1)))
        state = env.state
    np.testing.assert_array_equal(env.reset(options={"state": state})[0][:5], expected[:5])


def test_violation_counts_metres_beyond_the_track_limit() -> None:
    env = CartPoleSwingUp()
    _, info = env.reset(options={"state": [-2.3, 0.0, 3.0, 0.0]})
    assert info["violations"] == {"position": pytest.approx(0.3)}
    assert env.reset(options={"state": [1.9, 0.0, 3.0, 0.0]})[1]["violation"] == 0.0


def test_episodes_begin_hanging() -> None:
    env = CartPoleSwingUp()
    starts = np.array([env.reset(seed=i)[0] for i in range(500)])
    assert (starts[:, 2] < np.cos(np.pi - 0.2)).all()
    assert (starts[:, 3] > 0.0).mean() == pytest.approx(0.5, abs=0.1)
    assert np.abs(starts[:, [0, 5]]).max() <= 0.5


def test_the_pole_can_be_swung_up_within_the_track() -> None:
    env = CartPoleSwingUp()
    start = {"state": [0.0, 0.0, 3.1, 0.0], "reference": [0.0]}
    observation, _ = env.reset(options=start)
    gain, worst = upright_gain(), 0.0
    for _ in range(200):
        force = np.clip(swing_up(observation, gain), -10.0, 10.0)
        observation, *_, info = env.step(np.array([force / 10.0]))
        worst = max(worst, info["violation"])
    np.testing.assert_allclose(observation[:5], [0.0, 0.0, 1.0, 0.0, 0.0], atol=0.02)
    assert worst == 0.0


def upright_gain() -> Array:
    """Gain (4,) of the linear-quadratic regulator about standing upright."""
    step = 1e-6 * np.eye(4)
    a = (dynamics(step, np.zeros(1)) - dynamics(-step, np.zeros(1))).T / 2e-6
    drive = dynamics(np.zeros(4), np.ones(1))
    p = solve_continuous_are(a, drive[:, None], np.diag([1.0, 0.1, 1.0, 0.1]), np.eye(1) * 0.1)
    gain: Array = 10.0 * drive @ p
    return gain


def swing_up(observation: Array, gain: Array) -> float:
    """Pump the pole's energy to that of standing upright and catch it there by state feedback."""
    q, v, cosine, sine, w, _ = observation
    if cosine > 0.85 and abs(w) < 4.0:
        return -float(gain @ [q, v, np.arctan2(sine, cosine), w])
    missing = m * length**2 / 6.0 * w * w + 0.5 * m * g * length * (cosine - 1.0)
    acceleration = 6.0 * missing * w * cosine - 3.0 * q - 2.0 * v
    inertia = M + m - 0.75 * m * cosine**2
    return float(
        acceleration * inertia + b * v - 0.25 * m * sine * (2 * length * w * w - 3 * g * cosine)
    )
