from collections.abc import Callable

import gymnasium as gym
import numpy as np
import pytest
from numpy.typing import NDArray

from koopman_envs.integration import components, runge_kutta, stacked
from koopman_envs.van_der_pol import VanDerPol, cost, dynamics

Array = NDArray[np.float64]

START = [0.042771475950125426, 0.20768369401265918, -0.3561024689463854]
THIRD = [0.055960583313039054, 0.22702807641929956, -0.3561024689463854]
REWARD = -0.17385259601345646


def test_the_right_hand_side_is_that_of_korda_and_mezic() -> None:
    x1, x2, u = 0.3, -0.7, 0.4
    expected = [2 * x2, -0.8 * x1 + 2 * x2 - 10 * x1**2 * x2 + u]
    np.testing.assert_allclose(dynamics(np.array([x1, x2]), np.array([u])), expected, rtol=1e-15)


def test_an_episode_agrees_with_an_accurate_integrator(
    accurately: Callable[..., Array],
) -> None:
    env = gym.make("koopman_envs/VanDerPol-v0")
    inputs = np.random.default_rng(0).uniform(-1, 1, size=400).astype(np.float32)
    observation, _ = env.reset(seed=0)
    exact = accurately(dynamics, observation[:2], inputs[:, None].astype(float), VanDerPol.dt)[1:]
    for u, x in zip(inputs, exact, strict=True):
        observation, *_ = env.step(np.array([u]))
        np.testing.assert_allclose(observation[:2], x, atol=1e-6)


def test_an_episode_lasts_four_seconds() -> None:
    env = gym.make("koopman_envs/VanDerPol-v0")
    env.reset(seed=0)
    ends = [env.step(np.zeros(1, np.float32))[2:4] for _ in range(400)]
    assert ends == [(False, False)] * 399 + [(False, True)]
    assert VanDerPol.dt == 0.01


@pytest.mark.parametrize("r", [-0.6, 0.0, 0.35])
def test_the_set_point_is_an_equilibrium_without_cost(r: float) -> None:
    env = VanDerPol()
    first, _ = env.reset(options={"state": [r, 0.0], "reference": [r]})
    for _ in range(10):
        observation, reward, *_ = env.step(np.array([0.8 * r], np.float32))
        assert reward == pytest.approx(0.0, abs=1e-13)
    np.testing.assert_allclose(observation, first, atol=1e-7)


def test_the_reward_is_minus_the_cost_before_the_step() -> None:
    env = VanDerPol()
    env.reset(options={"state": [0.5, -1.0], "reference": [0.2]})
    _, reward, *_ = env.step(np.array([1.0], np.float32))
    assert reward == pytest.approx(-(0.3**2 + 0.1 * 1.0 + 0.01 * (1.0 - 0.16) ** 2))


def test_costs_come_in_batches() -> None:
    costs = cost(np.ones((2, 3, 4)), np.zeros((1, 3, 4)), np.zeros((1, 3, 4)))
    np.testing.assert_allclose(costs, np.full((3, 4), 1.1))


def test_the_numbers_of_a_seed_never_change() -> None:
    # The stored reference returns of the task rest on them.
    env = VanDerPol()
    start, _ = env.reset(seed=1000)
    np.testing.assert_array_equal(start, START)
    for action in (1.0, -0.5, 0.25):
        observation, reward, *_ = env.step(np.array([action], np.float32))
    np.testing.assert_array_equal(observation, THIRD)
    assert reward == REWARD


def test_resets_are_spread_as_stated() -> None:
    env = VanDerPol()
    env.reset(seed=0)
    starts = np.array([env.reset()[0] for _ in range(4000)])
    assert np.abs(starts[:, :2]).max() <= 1.0
    np.testing.assert_allclose(starts[:, :2].var(axis=0), 1 / 3, rtol=0.05)
    references = starts[:, 2]
    assert np.mean(references == 0.0) == pytest.approx(0.5, abs=0.03)
    assert np.abs(references).max() <= 0.6
    assert references[references != 0].var() == pytest.approx(0.6**2 / 3, rel=0.05)


def test_a_chosen_state_does_not_change_the_reference_of_a_seed() -> None:
    env = VanDerPol()
    drawn = env.reset(seed=5)[0]
    chosen = env.reset(seed=5, options={"state": [0.1, 0.2]})[0]
    np.testing.assert_array_equal(chosen, [0.1, 0.2, drawn[2]])


def test_the_worst_input_does_not_leave_the_observation_bounds() -> None:
    # Bang-bang inputs along the extremals of Pontryagin's principle reach the boundary of what can
    # be reached at all: u = sign(costate 2), from every direction of the initial costate.
    env, high = VanDerPol(), np.array(VanDerPol.state_high)
    angles = np.linspace(0.0, 2.0 * np.pi, 360, endpoint=False)
    edge = np.linspace(-1.0, 1.0, 9)
    corners = [(s, e) for e in edge for s in (-1, 1)] + [(e, s) for e in edge for s in (-1, 1)]
    x = np.repeat(np.array(corners) * high, len(angles), axis=0)
    costate = np.tile(np.c_[np.cos(angles), np.sin(angles)], (len(corners), 1))
    largest = np.zeros(2)
    for _ in range(400):
        u = np.sign(costate[:, 1:])
        stiffness = -0.8 - 20.0 * x[:, 0] * x[:, 1]
        damping = 2.0 - 10.0 * x[:, 0] ** 2
        change = np.c_[stiffness * costate[:, 1], 2 * costate[:, 0] + damping * costate[:, 1]]
        costate = costate - env.dt * change
        costate /= np.linalg.norm(costate, axis=1, keepdims=True)
        x = stacked(runge_kutta(env.rates, components(x), components(u), env.dt))
        largest = np.maximum(largest, np.abs(x).max(axis=0))
    assert (largest < [1.8, 3.0]).all()
    assert (largest < VanDerPol.observation_high).all()


def test_the_picture_shows_state_and_set_point() -> None:
    pytest.importorskip("pygame")
    env = VanDerPol(render_mode="rgb_array")
    env.reset(options={"state": [0.8, 1.2], "reference": [-0.4]})
    picture = env.render()
    assert picture is not None
    assert picture.shape == (500, 500, 3)
    row, column = int(500 * (1 - (1.2 + 2.4) / 4.8)), int(500 * (0.8 + 1.6) / 3.2)
    np.testing.assert_array_equal(picture[row, column], [213, 94, 0])
