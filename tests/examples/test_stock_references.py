import gymnasium as gym
import numpy as np
import pytest

from examples.references.mujoco_regulator import WEIGHTS, Regulator
from examples.references.reacher import LINKS, Simulator, distance_model, hand, postures
from koopman_control.evaluation.episode import run_episode
from koopman_control.tasks import reference_returns


@pytest.mark.parametrize("env_id", WEIGHTS)
def test_the_regulator_earns_the_stored_return(env_id: str) -> None:
    env = gym.make(env_id)
    env.reset(seed=0)
    episode = run_episode(Regulator(env, WEIGHTS[env_id]), env, 1000)
    stored = reference_returns(env_id, [1000])
    assert stored is not None
    assert episode.episode_return == pytest.approx(stored[1][0], abs=1e-3)


def test_both_postures_reach_the_goal() -> None:
    goal = np.array([0.11, -0.07])
    first, second = postures(goal)
    np.testing.assert_allclose(hand(first), goal, atol=1e-14)
    np.testing.assert_allclose(hand(second), goal, atol=1e-14)
    assert first[1] == -second[1]


def test_a_goal_out_of_reach_is_pointed_at() -> None:
    for posture in postures(np.array([0.0, 1.0])):
        np.testing.assert_allclose(hand(posture), [0.0, sum(LINKS)], atol=1e-14)


def test_the_slope_of_the_distance_agrees_with_finite_differences() -> None:
    sim, x, h = Simulator(), np.array([0.4, -1.1, 2.0, 3.0]), 1e-6
    sim.goal = np.array([-0.05, 0.1])
    slope, _ = distance_model(sim, x, rounding=0.0)
    still = np.zeros(2)
    for j, d in enumerate(h * np.eye(4)):
        difference = sim.cost(x + d, still) - sim.cost(x - d, still)
        assert slope[j] == pytest.approx(difference / (2.0 * h), abs=1e-8)


def test_interpolation_is_exact_for_bilinear_functions_and_wraps_around() -> None:
    pytest.importorskip("numba", reason="needs pip install 'koopman-control[benchmarks]'")
    from examples.references.dynamic_programming import Grid, interpolated

    box = Grid((5, 4), (-1.0, 0.0), (1.0, 3.0)).box
    x, y = np.meshgrid(np.linspace(-1.0, 1.0, 5), np.linspace(0.0, 3.0, 4), indexing="ij")
    V = (1.0 + 2.0 * x - y + 0.5 * x * y).astype(np.float32)
    assert interpolated(V, 0.3, 1.7, box) == pytest.approx(1.0 + 0.6 - 1.7 + 0.255, abs=1e-6)
    assert interpolated(V, 1.0, 3.0, box) == pytest.approx(1.0 + 2.0 - 3.0 + 1.5, abs=1e-6)
    ring = Grid((4, 2), (0.0, 0.0), (4.0, 1.0), periodic=True).box
    heights = np.array([[0.0, 0.0], [1.0, 1.0], [2.0, 2.0], [3.0, 3.0]], np.float32)
    assert interpolated(heights, 3.5, 0.5, ring) == pytest.approx(1.5)
    assert interpolated(heights, -0.5, 0.5, ring) == pytest.approx(1.5)
    assert interpolated(heights, 5.25, 0.0, ring) == pytest.approx(1.25)
