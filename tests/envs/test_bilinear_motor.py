from collections.abc import Callable

import numpy as np
import pytest

from koopman_envs import ODEEnv
from koopman_envs.bilinear_motor import BilinearMotor, dynamics


def test_the_scaled_coefficients_are_those_published() -> None:
    # Those of the code that accompanies the paper, to the digits given there.
    x = np.array([[0.0, 0.0], [1.0, 0.0], [0.0, 1.0]])
    idle = dynamics(x, np.zeros((3, 1)))
    np.testing.assert_allclose(idle[0], [19.10828025, -3.333333333], rtol=1e-9)
    np.testing.assert_allclose(idle[1] - idle[0], [-39.3153, 0.0], atol=5e-5)
    np.testing.assert_allclose(idle[2] - idle[0], [0.0, -1.6599], atol=5e-5)
    excited = dynamics(x, np.ones((3, 1))) - idle
    np.testing.assert_allclose(excited[1:], [[0.0, 22.9478], [-32.2293, 0.0]], atol=1e-4)


def test_without_field_the_load_turns_the_motor_backwards() -> None:
    env = BilinearMotor()
    env.reset(seed=0)
    for _ in range(1000):
        _, _, _, _, info = env.step(np.zeros(1, np.float32))
    current, speed = 60.0 / 12.345 / 10.0, -1.47 / 0.00732 / 100.0
    np.testing.assert_allclose(env.state, [current, speed], rtol=1e-6)
    assert info["violations"]["speed"] == pytest.approx(-speed - 0.4)


@pytest.mark.parametrize("speed", [-0.4, 0.0, 0.4])
def test_every_set_point_can_be_held(speed: float) -> None:
    # 22.9 x1 u = 3.33 + 1.66 x2 with x1 = (19.1 - 32.2 x2 u) / 39.3 is quadratic in u.
    env = BilinearMotor()
    a, b, c, d, e, f = env.parameters.coefficients
    roots = np.roots([-e * b * speed / a, e * c / a, -(f + d * speed)])
    u = float(min(roots[np.isreal(roots)].real, key=abs))
    x1 = (c - b * speed * u) / a
    assert abs(u) <= 1.0
    assert abs(x1) <= 1.0
    np.testing.assert_allclose(dynamics(np.array([x1, speed]), np.array([u])), 0.0, atol=1e-12)


def test_runge_kutta_is_converged(integration_error: Callable[[ODEEnv, int], float]) -> None:
    assert integration_error(BilinearMotor(), 100) < 1e-5


def test_the_field_makes_no_energy() -> None:
    env = BilinearMotor()
    _, b, _, _, e, _ = env.parameters.coefficients
    x = np.random.default_rng(0).uniform(-2.0, 2.0, size=(50, 2))
    gain = dynamics(x, np.ones((50, 1))) - dynamics(x, np.zeros((50, 1)))
    np.testing.assert_allclose(e * x[:, 0] * gain[:, 0] + b * x[:, 1] * gain[:, 1], 0.0, atol=1e-10)


def test_a_speed_within_the_limit_violates_nothing() -> None:
    env = BilinearMotor()
    assert env.reset(options={"state": [0.0, 0.4]})[1] == {
        "violation": 0.0,
        "violations": {"speed": 0.0},
    }
    assert env.reset(options={"state": [0.0, -0.5]})[1]["violation"] == pytest.approx(0.1)
