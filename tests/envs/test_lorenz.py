from collections.abc import Callable

import numpy as np
import pytest

from koopman_envs import ODEEnv
from koopman_envs.lorenz import Lorenz, dynamics

ROOT = float(np.sqrt(72.0))


@pytest.mark.parametrize("r", [-ROOT, ROOT])
def test_the_references_are_the_fixed_points_of_the_classical_parameters(r: float) -> None:
    env = Lorenz()
    np.testing.assert_allclose(dynamics(np.array([r, r, 27.0]), np.zeros(1)), 0.0, atol=1e-13)
    assert env.cost([r, r, 27.0], [0.0], [r]) == 0.0
    assert env.reference_high[0] == pytest.approx(ROOT)


def test_both_fixed_points_are_unstable_spirals() -> None:
    # Known: eigenvalues 0.094 ± 10.19 i and -13.85 at rho = 28.
    x, step = np.array([ROOT, ROOT, 27.0]), 1e-6
    shifts = step * np.eye(3)
    jacobian = (dynamics(x + shifts, np.zeros(1)) - dynamics(x - shifts, np.zeros(1))).T / (
        2 * step
    )
    values = sorted(np.linalg.eigvals(jacobian), key=lambda v: (v.real, v.imag))
    np.testing.assert_allclose(values, [-13.8546, 0.0940 - 10.1945j, 0.0940 + 10.1945j], atol=1e-4)


def test_volumes_shrink_at_the_known_rate() -> None:
    # The divergence of the flow is -(sigma + 1 + beta) everywhere.
    x = np.random.default_rng(0).normal(size=(10, 3))
    traces = np.zeros(10)
    for i, shift in enumerate(1e-3 * np.eye(3)):
        change = dynamics(x + shift, np.zeros((10, 1))) - dynamics(x - shift, np.zeros((10, 1)))
        traces += change[:, i] / 2e-3
    np.testing.assert_allclose(traces, -(10.0 + 1.0 + 8.0 / 3.0), rtol=1e-9)


def test_runge_kutta_is_converged(integration_error: Callable[[ODEEnv, int], float]) -> None:
    assert integration_error(Lorenz(), 100) < 1e-6


def test_linear_feedback_holds_the_fixed_point() -> None:
    env = Lorenz()
    env.reset(options={"state": [ROOT + 1.0, ROOT, 27.0], "reference": [ROOT]})
    for _ in range(500):
        x1, x2, _ = env.state
        _, reward, *_ = env.step(np.array([-(10.0 * (x2 - ROOT) + x1 - ROOT) / 50.0], np.float32))
    assert reward > -1e-6


def test_resets_choose_either_fixed_point() -> None:
    env = Lorenz()
    signs = [np.sign(env.reset(seed=seed)[0][3]) for seed in range(400)]
    assert np.mean(signs) == pytest.approx(0.0, abs=0.15)
