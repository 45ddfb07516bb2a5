import gymnasium as gym
import numpy as np

from examples.references.korteweg_de_vries import ENV_ID, N, Waves
from koopman_control.common import Array
from koopman_envs.korteweg_de_vries import KortewegDeVries

SEEDS = (2000, 2001)


def begun(seed: int) -> KortewegDeVries:
    plant = gym.make(ENV_ID).unwrapped
    assert isinstance(plant, KortewegDeVries)
    plant.reset(seed=seed)
    return plant


def waves() -> Waves:
    plants = [begun(seed) for seed in SEEDS]
    states, heights = [p.state for p in plants], [p.reference[0] for p in plants]
    return Waves(np.array(states), np.array(heights))


def inputs() -> Array:
    held = np.random.default_rng(4).uniform(-1.0, 1.0, (N // 20, len(SEEDS), 3))
    return np.repeat(held, 20, axis=0)


def test_the_gradient_agrees_with_finite_differences() -> None:
    problem, u = waves(), inputs().ravel()
    direction, h = np.random.default_rng(5).standard_normal(u.size), 1e-5
    _, gradient = problem.cost_and_gradient(u)
    up, _ = problem.cost_and_gradient(u + h * direction)
    down, _ = problem.cost_and_gradient(u - h * direction)
    np.testing.assert_allclose((up - down) / (2.0 * h), gradient @ direction, rtol=1e-7)


def test_the_coarse_cost_is_nearly_that_of_the_environment() -> None:
    u, returns = inputs().astype(np.float32), []
    for column, seed in enumerate(SEEDS):
        plant = begun(seed)
        returns.append(sum(float(plant.step(u[k, column])[1]) for k in range(N)))
    cost, _ = waves().cost_and_gradient(u.astype(np.float64).ravel())
    np.testing.assert_allclose(cost, -sum(returns), rtol=1e-4)
