from collections.abc import Iterator
from typing import Any

import gymnasium as gym
import numpy as np
import pytest
from gymnasium.utils.env_checker import check_env
from numpy.typing import NDArray

import koopman_envs
from koopman_envs.drawing import Canvas
from koopman_envs.ode import ODEEnv, rk4_step

Array = NDArray[np.float64]

REGISTERED = sorted(name for name in gym.registry if name.startswith("koopman_envs/"))


class Oscillator(ODEEnv):
    """x1' = x2, x2' = -x1 + u with an input of up to 3 and a limit on x1."""

    dt = 0.1
    substeps = 4
    state_high = (1.0, 1.0)
    observation_high = (9.0, 9.0)
    input_high = (3.0,)

    def dynamics(self, x: Array, u: Array) -> Array:
        return np.stack([x[..., 1], -x[..., 0] + u[..., 0]], axis=-1)

    def sample_state(self, rng: np.random.Generator) -> Array:
        return rng.uniform(-1.0, 1.0, size=2)

    def stage_cost(self, x: Array, u: Array) -> float:
        return float(np.sum(x * x) + np.sum(u * u))

    def draw(self, canvas: Canvas, trail: Array) -> None:
        canvas.disc(self.state, 5)

    def violation(self, x: Array) -> float:
        return float(max(0.0, abs(x[0]) - 1.0))


@pytest.mark.parametrize("env_id", REGISTERED)
def test_every_registered_environment_passes_the_checker_without_a_warning(env_id: str) -> None:
    pytest.importorskip("pygame")
    check_env(gym.make(env_id, render_mode="rgb_array").unwrapped)


@pytest.mark.parametrize("env_id", REGISTERED)
def test_the_same_seed_gives_the_same_bits(env_id: str) -> None:
    def play(seed: int) -> Iterator[Array]:
        env = gym.make(env_id)
        env.action_space.seed(0)
        yield env.reset(seed=seed)[0]
        for _ in range(50):
            yield env.step(env.action_space.sample())[0]

    np.testing.assert_array_equal(np.array(list(play(1))), np.array(list(play(1))))
    assert (next(play(1)) != next(play(2))).any()


def test_at_least_one_environment_is_registered() -> None:
    assert "koopman_envs/VanDerPol-v0" in REGISTERED
    assert "VanDerPol" in koopman_envs.__all__


def test_runge_kutta_converges_with_the_fourth_power_of_the_step() -> None:
    def decay(x: Array, u: Array) -> Array:
        return -x + u

    def error(steps: int) -> float:
        x = np.array([1.0])
        for _ in range(steps):
            x = rk4_step(decay, x, np.array([0.5]), 1.0 / steps)
        return abs(float(x[0]) - float(0.5 + 0.5 * np.exp(-1.0)))

    assert error(20) / error(40) == pytest.approx(16.0, rel=0.1)


def test_runge_kutta_advances_whole_batches() -> None:
    env = Oscillator()
    rng = np.random.default_rng(0)
    x, u = rng.normal(size=(3, 5, 2)), rng.normal(size=(3, 5, 1))
    batch = rk4_step(env.dynamics, x, u, 0.1)
    single = rk4_step(env.dynamics, x[1, 2], u[1, 2], 0.1)
    np.testing.assert_allclose(batch[1, 2], single, rtol=1e-15)


def test_one_step_holds_the_scaled_input_over_all_substeps() -> None:
    env = Oscillator()
    env.reset(options={"state": [1.0, 0.0]})
    observation, reward, terminated, truncated, info = env.step(np.array([0.5], np.float32))
    # x1'' = -x1 + 1.5 from (1, 0): x1 = 1.5 - 0.5 cos t, x2 = 0.5 sin t
    np.testing.assert_allclose(observation, [1.5 - 0.5 * np.cos(0.1), 0.5 * np.sin(0.1)], atol=1e-9)
    assert reward == -(1.0 + 1.5**2)  # of the state before the step
    assert (terminated, truncated) == (False, False)
    assert info["violation"] == pytest.approx(observation[0] - 1.0)


def test_actions_beyond_the_box_are_clipped() -> None:
    env = Oscillator()
    results = []
    for action in (1.0, 7.0):
        env.reset(options={"state": [0.0, 0.0]})
        results.append(env.step(np.array([action], np.float32))[0])
    np.testing.assert_array_equal(results[0], results[1])


@pytest.mark.parametrize(
    ("action", "message"),
    [([np.nan], "expects finite"), ([0.0, 0.0], r"shape \(2,\); Oscillator expects \(1,\)")],
)
def test_impossible_actions_are_refused(action: list[float], message: str) -> None:
    env = Oscillator()
    env.reset(seed=0)
    with pytest.raises(ValueError, match=message):
        env.step(np.array(action, np.float32))


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"stat": [0.0, 0.0]}, r"unknown reset option 'stat'; known are \['reference', 'state'\]"),
        ({"state": [0.0]}, r"shape \(1,\); expected \(2,\)"),
        ({"state": [0.0, 1.1]}, "within ±"),
        ({"state": [0.0, np.nan]}, "within ±"),
        ({"reference": [0.0]}, r"shape \(1,\); expected \(0,\)"),
    ],
)
def test_impossible_reset_options_are_refused(options: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        Oscillator().reset(options=options)


def test_an_unknown_render_mode_is_refused() -> None:
    with pytest.raises(ValueError, match="render_mode is 'ascii'"):
        Oscillator(render_mode="ascii")


def test_without_a_render_mode_there_is_no_picture() -> None:
    env = Oscillator()
    env.reset(seed=0)
    assert env.render() is None


def test_a_window_opens_shows_and_closes(monkeypatch: pytest.MonkeyPatch) -> None:
    pytest.importorskip("pygame")
    monkeypatch.setenv("SDL_VIDEODRIVER", "dummy")
    env = Oscillator(render_mode="human")
    env.reset(seed=0)
    env.step(np.array([0.0], np.float32))
    assert env.render() is None
    env.close()
    env.close()
