import gymnasium as gym
import numpy as np
import pytest
from numpy.typing import NDArray
from scipy.integrate import solve_ivp
from scipy.special import ellipj, ellipk

from koopman_envs.korteweg_de_vries import ACTUATORS, PROFILES, KortewegDeVries, dynamics
from koopman_envs.ring import MESH, WAVES

Array = NDArray[np.float64]
Spectrum = NDArray[np.complex128]


def act(*action: float) -> NDArray[np.float32]:
    return np.array(action, np.float32)


def started(state: Array, wanted: float = 0.0) -> KortewegDeVries:
    env = KortewegDeVries()
    env.reset(options={"state": state, "reference": [wanted]})
    return env


def coast(env: KortewegDeVries, steps: int) -> Array:
    for _ in range(steps):
        env.step(act(0.0, 0.0, 0.0))
    return env.state


def accurate_step(y: Array, u: Array) -> Array:
    """One time step by an adaptive integrator, in the picture that rotates with the dispersion."""
    dispersion = 1j * np.where(WAVES < 64, WAVES, 0.0) ** 3

    def rate(t: float, turned: Spectrum) -> Spectrum:
        wave = np.exp(dispersion * t) * turned
        change = np.fft.rfft(dynamics(np.fft.irfft(wave), u)) - dispersion * wave
        return np.exp(-dispersion * t) * change

    times = (0.0, KortewegDeVries.dt)
    solution = solve_ivp(rate, times, np.fft.rfft(y), "DOP853", rtol=1e-10, atol=1e-8)
    return np.fft.irfft(np.exp(dispersion * times[1]) * solution.y[:, -1])


def test_a_cnoidal_wave_keeps_its_shape_and_speed() -> None:
    # y = y0 + 12 m k² cn²(k (x - c t) | m) with c = y0 + 4 k² (2 m - 1) solves the equation.
    m, y0 = 0.5, -1.0
    k = ellipk(m) / np.pi
    speed = y0 + 4 * k**2 * (2 * m - 1)

    def wave(t: float) -> Array:
        height: Array = y0 + 12 * m * k**2 * ellipj(k * (MESH - speed * t), m)[1] ** 2
        return height

    env = started(wave(0.0))
    np.testing.assert_allclose(coast(env, 300), wave(3.0), atol=1e-8)


def test_small_waves_travel_with_the_phase_speed_of_the_dispersion() -> None:
    env = started(1e-7 * np.cos(5 * MESH))
    np.testing.assert_allclose(coast(env, 30), 1e-7 * np.cos(5 * MESH + 125 * 0.3), atol=1e-13)


def test_left_alone_it_keeps_mass_and_momentum() -> None:
    env = started(np.array([0.5, 0.2, 0.3]) @ PROFILES)
    first = env.state
    last = coast(env, 200)
    assert np.abs(last - first).max() > 0.1
    assert last.mean() == pytest.approx(first.mean(), rel=1e-13)
    assert (last**2).mean() == pytest.approx((first**2).mean(), rel=1e-7)


def test_actuators_add_the_mass_of_their_bumps() -> None:
    env = started(np.zeros(128))
    for _ in range(100):
        env.step(act(1.0, -0.5, 0.25))
    # The integral of exp(-25 x²) is sqrt(π / 25).
    expected = 0.75 * np.sqrt(np.pi / 25) / (2 * np.pi)
    assert env.state.mean() == pytest.approx(expected, rel=1e-12)


def test_actuators_and_profiles_are_those_of_korda_and_mezic() -> None:
    np.testing.assert_allclose(MESH[[0, 32, 64, 96]], [-np.pi, -np.pi / 2, 0, np.pi / 2])
    np.testing.assert_allclose(ACTUATORS[:, [32, 64, 96]], np.eye(3), atol=1e-12)
    away = MESH[64:96] - np.pi / 2
    np.testing.assert_allclose(ACTUATORS[2, 64:96], np.exp(-25 * away**2), rtol=1e-12)
    np.testing.assert_allclose(PROFILES[0, 64:96], np.exp(-(away**2)), atol=1e-9)
    np.testing.assert_allclose(PROFILES[1], -(np.sin(MESH / 2) ** 2))
    np.testing.assert_allclose(PROFILES[2], PROFILES[0, ::-1].take(np.arange(-1, 127)), rtol=1e-12)


@pytest.mark.parametrize("steps", [20, pytest.param(100, marks=pytest.mark.slow)])
def test_random_steps_agree_with_an_accurate_integrator(steps: int) -> None:
    env = gym.make("koopman_envs/KortewegDeVries-v0").unwrapped
    assert isinstance(env, KortewegDeVries)
    env.reset(seed=0)
    y = env.state
    actions = np.random.default_rng(0).uniform(-1, 1, size=(steps, 3)).astype(np.float32)
    for action in actions:
        env.step(action)
        y = accurate_step(y, action.astype(np.float64))
    np.testing.assert_allclose(env.state, y, atol=1e-6)


def test_right_hand_sides_come_in_batches() -> None:
    rng = np.random.default_rng(0)
    x, u = rng.normal(size=(4, 1, 128)), rng.normal(size=(3, 3))
    together = dynamics(x, u)
    assert together.shape == (4, 3, 128)
    np.testing.assert_allclose(together[2, 1], dynamics(x[2, 0], u[1]), rtol=1e-9, atol=1e-7)


def test_the_wanted_height_at_rest_costs_nothing() -> None:
    env = started(np.full(128, 0.4), wanted=0.4)
    observation, reward, *_ = env.step(act(0.0, 0.0, 0.0))
    assert reward == 0.0
    np.testing.assert_allclose(observation, np.full(129, 0.4), rtol=1e-13)


def test_the_reward_is_minus_the_mean_square_distance() -> None:
    env = started(0.2 + np.cos(MESH), wanted=0.5)
    assert env.step(act(1.0, 1.0, 1.0))[1] == pytest.approx(-(0.3**2 + 0.5))


def test_pushing_where_it_is_low_brings_it_near_the_wanted_height() -> None:
    env = gym.make("koopman_envs/KortewegDeVries-v0")
    observation, _ = env.reset(seed=0)
    for _ in range(1000):
        low = ACTUATORS @ (observation[128] - observation[:128])
        observation, reward, _, truncated, _ = env.step(np.clip(low, -1, 1).astype(np.float32))
    assert truncated
    assert float(reward) > -1e-4


def test_full_input_does_not_reach_the_limit_within_an_episode() -> None:
    env = gym.make("koopman_envs/KortewegDeVries-v0")
    for profile in np.maximum(PROFILES, 0.0)[[0, 2]]:
        env.reset(options={"state": profile, "reference": [0.0]})
        largest = max(np.abs(env.step(act(1.0, 1.0, 1.0))[0]).max() for _ in range(1000))
        assert 2.0 < largest < 4.5


def test_heights_are_held_within_the_limit() -> None:
    np.testing.assert_array_equal(KortewegDeVries().limit([-9.0, 4.0, 7.0]), [-5.0, 4.0, 5.0])


def test_the_picture_shows_wave_and_wanted_height() -> None:
    pytest.importorskip("pygame")
    env = KortewegDeVries(render_mode="rgb_array")
    env.reset(options={"state": np.full(128, 1.5), "reference": [0.5]})
    coast(env, 60)
    picture = env.render()
    assert picture is not None

    def row(height: float) -> int:
        return round(500 * (1 - (height + 1.2) / 4.0))

    np.testing.assert_array_equal(picture[row(1.5), 250], [0, 114, 178])
    np.testing.assert_array_equal(picture[row(0.5), 250], [0, 158, 115])
    np.testing.assert_array_equal(picture[row(1.8), 250], [214, 214, 214])
