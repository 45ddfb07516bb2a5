import casadi as ca
import numpy as np
import pytest

from koopman_envs.integration import Components, components, runge_kutta, stacked


def decay(x: Components, u: Components) -> Components:
    return [-x[0] + u[0]]


def swing(x: Components, u: Components) -> Components:
    return x[1], u[0] - np.sin(x[0])


def test_runge_kutta_converges_with_the_fourth_power_of_the_step() -> None:
    def error(steps: int) -> float:
        x: Components = [1.0]
        for _ in range(steps):
            x = runge_kutta(decay, x, [0.5], 1.0 / steps)
        return abs(float(x[0]) - float(0.5 + 0.5 * np.exp(-1.0)))

    assert error(20) / error(40) == pytest.approx(16.0, rel=0.1)


def test_copies_advance_as_single_floats_do_to_the_last_bit() -> None:
    rng = np.random.default_rng(0)
    x, u = rng.normal(size=(2, 1001)), rng.normal(size=(1, 1001))
    together = np.array(runge_kutta(swing, x, u, 0.1))
    alone = [runge_kutta(swing, a.tolist(), b.tolist(), 0.1) for a, b in zip(x.T, u.T, strict=True)]
    np.testing.assert_array_equal(together.T, alone)


@pytest.mark.filterwarnings("ignore:\\s*casadi:FutureWarning")
def test_a_symbolic_step_is_the_numerical_one() -> None:
    x, u = ca.SX.sym("x", 2), ca.SX.sym("u")
    step = ca.Function("step", [x, u], [ca.vertcat(*runge_kutta(swing, (x[0], x[1]), (u,), 0.1))])
    expected = runge_kutta(swing, (0.4, -1.2), (0.3,), 0.1)
    np.testing.assert_allclose(np.array(step([0.4, -1.2], 0.3)).ravel(), expected, rtol=1e-15)


def test_components_and_states_are_two_views_of_the_same_numbers() -> None:
    x = np.random.default_rng(0).normal(size=(3, 4, 2))
    np.testing.assert_array_equal(components(x)[1], x[..., 1])
    np.testing.assert_array_equal(stacked(components(x)), x)


def test_stacked_components_broadcast() -> None:
    np.testing.assert_array_equal(stacked([1, np.array([2.0, 3.0])]), [[1.0, 2.0], [1.0, 3.0]])
