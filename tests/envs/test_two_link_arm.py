from collections.abc import Callable
from typing import Any

import gymnasium as gym
import numpy as np
import pytest
from numpy.typing import NDArray

from koopman_envs.two_link_arm import PARAMETERS, TwoLinkArm, dynamics, joints

Array = NDArray[np.float64]
Accurately = Callable[..., Array]

HIGH = np.array(TwoLinkArm.input_high)


def act(*action: float) -> NDArray[np.float32]:
    return np.array(action, np.float32)


def motion(x: Array) -> tuple[float, float]:
    """Return kinetic energy and angular momentum about the shoulder, from the moving bodies."""
    m2, l1, s2, i1, i2 = 1.0, 0.30, 0.16, 0.025, 0.045
    q1, q2, w1, w2 = x
    whole, spin = q1 + q2, w1 + w2
    place = np.array([l1 * np.cos(q1) + s2 * np.cos(whole), l1 * np.sin(q1) + s2 * np.sin(whole)])
    speed = w1 * l1 * np.array([-np.sin(q1), np.cos(q1)])
    speed = speed + spin * s2 * np.array([-np.sin(whole), np.cos(whole)])
    about_center = i2 - m2 * s2**2
    energy = 0.5 * (i1 * w1**2 + m2 * speed @ speed + about_center * spin**2)
    turning = place[0] * speed[1] - place[1] * speed[0]
    return float(energy), float(i1 * w1 + m2 * turning + about_center * spin)


def started(state: list[float], goal: list[float], **options: Any) -> TwoLinkArm:
    env = TwoLinkArm(**options)
    env.reset(options={"state": state, "reference": goal})
    return env


def test_free_of_friction_and_torque_it_keeps_energy_and_momentum() -> None:
    env = started([0.2, 1.0, -1.0, 2.0], [0, 0], mismatch={"friction": 0, "coupled_friction": 0})
    first = motion(env.state)
    for _ in range(60):
        env.step(act(0.0, 0.0))
        np.testing.assert_allclose(motion(env.state), first, rtol=1e-7)


def test_power_is_that_of_torque_less_friction() -> None:
    x, u = np.array([0.4, 1.3, 1.5, -2.5]), np.array([0.7, -0.4])
    ahead, behind = x + 1e-6 * dynamics(x, u), x - 1e-6 * dynamics(x, u)
    friction = np.array([[0.05, 0.025], [0.025, 0.05]])
    power = u @ x[2:] - x[2:] @ friction @ x[2:]
    change = [(a - b) / 2e-6 for a, b in zip(motion(ahead), motion(behind), strict=True)]
    assert change[0] == pytest.approx(power, rel=1e-8)
    # Only what acts at the shoulder changes the momentum about it; friction there is coupled.
    assert change[1] == pytest.approx(u[0] - friction[0] @ x[2:], rel=1e-8)


def test_every_resting_posture_is_an_equilibrium() -> None:
    np.testing.assert_array_equal(dynamics(np.array([0.3, 1.1, 0, 0]), np.zeros(2)), np.zeros(4))


def test_an_episode_agrees_with_an_accurate_integrator(accurately: Accurately) -> None:
    env = TwoLinkArm()
    env.reset(seed=0)
    actions = np.random.default_rng(0).uniform(-0.5, 0.5, size=(150, 2)).astype(np.float32)
    exact = accurately(dynamics, env.state, HIGH * actions.astype(np.float64), env.dt)
    for action, x in zip(actions, exact[1:], strict=True):
        env.step(action)
        np.testing.assert_allclose(env.state, x, atol=1e-7)


def test_single_steps_agree_with_full_inputs_and_stops_too(accurately: Accurately) -> None:
    env = TwoLinkArm()
    env.reset(seed=0)
    actions = np.random.default_rng(0).uniform(-1.0, 1.0, size=(100, 2)).astype(np.float32)
    for u, action in zip(HIGH * actions.astype(np.float64), actions, strict=True):
        end = accurately(dynamics, env.state, u[None], env.dt)[1]
        env.step(action)
        np.testing.assert_allclose(env.state, [float(a) for a in env.limit(end)], atol=2e-6)


def test_the_stretched_hand_is_at_the_sum_of_the_lengths() -> None:
    np.testing.assert_allclose(joints([0.0, 0.0], PARAMETERS), [0.30, 0, 0.63, 0])
    np.testing.assert_allclose(joints([0.5 * np.pi, 0.5 * np.pi], PARAMETERS)[2:], [-0.33, 0.30])


def test_resting_with_the_hand_at_the_goal_costs_nothing() -> None:
    goal = [float(a) for a in joints([0.7, 1.2], PARAMETERS)[2:]]
    env = started([0.7, 1.2, 0.0, 0.0], goal)
    observation, reward, *_ = env.step(act(0.0, 0.0))
    assert reward == 0.0
    np.testing.assert_allclose(observation, [0.7, 1.2, 0, 0, *goal, *goal], rtol=1e-15)


def test_the_reward_is_minus_the_cost_before_the_step() -> None:
    env = started([0.0, 0.5 * np.pi, 1.0, -2.0], [0.1, 0.2])
    _, reward, *_ = env.step(act(1.0, -0.5))
    miss = (0.30 - 0.1) ** 2 + (0.33 - 0.2) ** 2
    assert reward == pytest.approx(-(10 * miss + 0.01 * (1 + 4) + 0.01 * (1.5**2 + 0.5**2)))


def posture(hand: Array) -> Array:
    """Return the joint angles (2,) with the elbow bent to the right that bring the hand there."""
    l1, l2 = 0.30, 0.33
    elbow = np.arccos((hand @ hand - l1**2 - l2**2) / (2 * l1 * l2))
    inner = np.arctan2(l2 * np.sin(elbow), l1 + l2 * np.cos(elbow))
    return np.array([np.arctan2(hand[1], hand[0]) - inner, elbow])


def test_springs_and_dampers_at_the_joints_reach_every_goal() -> None:
    env = gym.make("koopman_envs/TwoLinkArm-v0")
    for seed in range(10):
        observation, _ = env.reset(seed=seed)
        wanted = posture(observation[6:])
        for _ in range(150):
            q, w = observation[:2], observation[2:4]
            torque = np.array([4.0, 2.0]) * (wanted - q) - np.array([1.0, 0.4]) * w
            action = np.clip(torque / HIGH, -1, 1).astype(np.float32)
            observation, _, _, truncated, _ = env.step(action)
        assert truncated
        assert np.linalg.norm(observation[4:6] - observation[6:]) < 0.01


def test_leaving_the_joint_ranges_is_reported_in_radians() -> None:
    env = started([2.5, 0.1, 1.0, -1.0], [0.3, 0.3])
    _, _, terminated, _, info = env.step(act(0.0, 0.0))
    assert not terminated
    assert info["violations"]["shoulder"] == pytest.approx(env.state[0] - 2.5)
    assert info["violations"]["elbow"] == pytest.approx(0.1 - env.state[1])
    assert min(info["violations"].values()) > 0.01


def test_a_joint_at_its_stop_stops_the_arm() -> None:
    env = TwoLinkArm()
    assert [float(a) for a in env.limit([0.1, 3.2, 2.0, 5.0])] == [0.1, np.pi, 0.0, 0.0]
    assert [float(a) for a in env.limit([0.1, 3.1, 2.0, 5.0])] == [0.1, 3.1, 2.0, 5.0]


def test_the_worst_torques_do_not_leave_the_observation_bounds() -> None:
    envs = gym.make_vec("koopman_envs/TwoLinkArm-v0", num_envs=300)
    observation, _ = envs.reset(seed=0)
    rng = np.random.default_rng(0)
    largest = np.zeros(4)
    for k in range(150):
        with_motion = np.sign(observation[:, 2:4] + 1e-9)
        if k % 10 == 0:
            turned = rng.choice([-1.0, 1.0], p=[0.2, 0.8], size=(300, 2))
        observation = envs.step((with_motion * turned).astype(np.float32))[0]
        largest = np.maximum(largest, np.abs(observation[:, :4]).max(axis=0))
    assert (largest[2:] > [10, 15]).all()
    assert (largest[2:] < np.array(TwoLinkArm.observation_high)[2:4]).all()


def test_resets_and_goals_lie_within_the_joint_ranges() -> None:
    env = TwoLinkArm()
    env.reset(seed=0)
    starts = np.array([env.reset()[0] for _ in range(2000)])
    assert (starts[:, :2].min(axis=0) > [-0.5, 0.4]).all()
    assert (starts[:, :2].max(axis=0) < [2.0, 2.3]).all()
    np.testing.assert_allclose(starts[:, :2].mean(axis=0), [0.75, 1.35], atol=0.05)
    np.testing.assert_allclose(starts[:, 4:6].mean(axis=0), starts[:, 6:].mean(axis=0), atol=0.02)


def test_the_picture_shows_hand_and_goal() -> None:
    pytest.importorskip("pygame")
    env = started([0.0, 0.5 * np.pi, 0, 0], [0.3, -0.3], render_mode="rgb_array")
    picture = env.render()
    assert picture is not None

    def pixel(x: float, y: float) -> tuple[int, int]:
        return round(500 * (1 - (y + 0.75) / 1.5)), round(500 * (x + 0.75) / 1.5)

    np.testing.assert_array_equal(picture[pixel(0.30, 0.33)], [213, 94, 0])
    row, column = pixel(0.3, -0.3)
    np.testing.assert_array_equal(picture[row, column + 11], [0, 158, 115])
