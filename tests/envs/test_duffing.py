from collections.abc import Callable

import numpy as np
import pytest

from koopman_envs import ODEEnv
from koopman_envs.duffing import Duffing, dynamics, holding_input

LEFT, RIDGE, RIGHT = [-0.5, 0.0], [0.0, 0.0], [0.5, 0.0]


def test_the_right_hand_side_is_that_of_korda_and_mezic() -> None:
    x1, x2, u = 0.3, -0.7, 0.4
    expected = [x2, -0.5 * x2 - x1 * (4 * x1**2 - 1) + 0.5 * u]
    np.testing.assert_allclose(dynamics(np.array([x1, x2]), np.array([u])), expected, rtol=1e-15)


def test_there_are_two_wells_and_a_ridge() -> None:
    rest = np.array([LEFT, RIDGE, RIGHT])
    np.testing.assert_array_equal(dynamics(rest, np.zeros((3, 1))), np.zeros((3, 2)))


@pytest.mark.parametrize(("start", "end"), [(-0.1, LEFT), (0.1, RIGHT)])
def test_an_uncontrolled_mass_rolls_into_the_next_well(start: float, end: list[float]) -> None:
    env = Duffing()
    env.reset(options={"state": [start, 0.0]})
    for _ in range(800):
        env.step(np.zeros(1, np.float32))
    np.testing.assert_allclose(env.state, end, atol=1e-3)


def test_runge_kutta_is_converged(integration_error: Callable[[ODEEnv, int], float]) -> None:
    assert integration_error(Duffing(), 100) < 1e-6


@pytest.mark.parametrize("r", [-0.6, 0.0, 0.289, 0.5])
def test_a_set_point_is_an_equilibrium_without_cost(r: float) -> None:
    env = Duffing()
    u = holding_input(r)
    assert abs(u) <= 0.53
    assert env.cost([r, 0.0], [u], [r]) == 0.0
    np.testing.assert_allclose(dynamics(np.array([r, 0.0]), np.array([u])), 0.0, atol=1e-15)


def test_the_worst_push_keeps_the_energy_below_its_bound() -> None:
    env = Duffing()
    for sign in (1.0, -1.0):
        env.reset(options={"state": [1.5, sign * 1.5]})
        for _ in range(200):
            env.step(np.array([np.sign(env.state[1])], np.float32))
            x1, x2 = env.state
            assert x2**2 / 2 + x1**4 - x1**2 / 2 < 5.1 + 0.125 * 200 * env.dt
