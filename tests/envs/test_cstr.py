from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray
from scipy.optimize import approx_fprime, brentq

from koopman_envs.cstr import CSTR, PARAMETERS, dynamics, holding_input

Array = NDArray[np.float64]


def concentration(temperature: float) -> float:
    """At rest, where inflow and reaction balance."""
    speed = 34930800.0 * np.exp(-11843.0 / 1.987 / temperature)
    return float(10.0 / (1.0 + speed))


def growth(temperature: float) -> float:
    """Largest real part of the linearisation's eigenvalues at rest at a temperature."""
    coolant = np.array([holding_input(temperature)])

    def rate(x: Array, /) -> Any:
        return dynamics(x, coolant)

    jacobian = approx_fprime(np.array([concentration(temperature), temperature]), rate, 1e-6)
    return float(np.linalg.eigvals(jacobian).real.max())


def test_a_coolant_of_298_kelvin_has_the_three_steady_states_of_bequette() -> None:
    def warming(temperature: float) -> float:
        state = np.array([concentration(temperature), temperature])
        return float(dynamics(state, np.array([298.0]))[1])

    for bracket, state, stable in (
        ((305.0, 315.0), (8.564, 311.2), True),
        ((335.0, 345.0), (5.518, 339.1), False),
        ((360.0, 375.0), (2.359, 368.1), True),
    ):
        temperature = float(brentq(warming, *bracket))
        np.testing.assert_allclose((concentration(temperature), temperature), state, rtol=2e-4)
        assert (growth(temperature) < 0.0) == stable


def test_the_set_points_between_the_folds_are_unstable() -> None:
    assert [growth(t) > 0.0 for t in (323.4, 323.6, 354.8, 355.0)] == [False, True, True, False]


@pytest.mark.parametrize("temperature", [311.0, 339.0, 366.0])
def test_the_holding_input_is_an_equilibrium_without_cost(temperature: float) -> None:
    state = np.array([concentration(temperature), temperature])
    coolant = holding_input(temperature)
    np.testing.assert_allclose(dynamics(state, np.array([coolant])), 0.0, atol=1e-12)
    assert CSTR().cost(state.tolist(), [coolant], [temperature]) == 0.0


def test_every_drawn_set_point_can_be_held() -> None:
    coolant = holding_input(np.linspace(325.0, 360.0, 100))
    assert (coolant > CSTR.input_low[0] + 15.0).all()
    assert (coolant < CSTR.input_high[0] - 15.0).all()


def test_without_reaction_heat_and_matter_mix_exactly() -> None:
    # c' = 10 - c and T' = 298 - T + 0.3 (308 - T) have exponential solutions.
    env = CSTR(mismatch={"frequency": 0.0})
    env.reset(options={"state": [4.0, 350.0]})
    for _ in range(200):
        observation, *_ = env.step(np.array([1.0 / 3.0], np.float64))
    rest = (298.0 + 0.3 * 308.0) / 1.3
    expected = [10.0 - 6.0 * np.exp(-10.0), rest + (350.0 - rest) * np.exp(-13.0)]
    np.testing.assert_allclose(observation[:2], expected, rtol=1e-9)


def test_an_episode_agrees_with_an_accurate_integrator(accurately: Callable[..., Array]) -> None:
    env = CSTR()
    rng = np.random.default_rng(0)
    actions = rng.uniform(-1.0, 1.0, size=(200, 1))
    actions[:60] = 1.0  # ignites
    start, _ = env.reset(options={"state": [9.0, 308.0]})
    states = np.array([start[:2]] + [env.step(a)[0][:2] for a in actions])
    exact = accurately(dynamics, start[:2], 298.0 + 30.0 * actions, 0.05)
    assert states[:, 1].max() > 365.0
    assert (np.abs(states - exact) / exact.max(axis=0)).max() < 1e-6


def test_episodes_begin_near_rest() -> None:
    env = CSTR()
    starts = np.array([env.reset(seed=i)[0] for i in range(500)])
    nearest = np.linspace(302.0, 363.0, 2000)
    off = np.abs(starts[:, [0]] - [concentration(t) for t in nearest]) / 0.3
    off = np.maximum(off, np.abs(starts[:, [1]] - nearest) / 3.0).min(axis=1)
    assert off.max() <= 1.0
    assert (off > 0.1).mean() > 0.5
    assert starts[:, 1].min() < 307.0
    assert starts[:, 1].max() > 358.0
    assert (starts[:, 2] >= 325.0).all()
    assert (starts[:, 2] <= 360.0).all()


def test_the_hottest_ignition_stays_finite_and_below_the_adiabatic_bound() -> None:
    env = CSTR()
    env.reset(options={"state": [10.0, 370.0]})
    hottest = max(env.step(np.ones(1, np.float32))[0][1] for _ in range(200))
    assert 440.0 < hottest < 370.0 + PARAMETERS.heat * 10.0 < CSTR.observation_high[1]


def test_the_violation_is_the_temperature_above_its_limit() -> None:
    env = CSTR()
    env.reset(options={"state": [9.0, 369.0]})
    observation, *_, info = env.step(np.ones(1, np.float32))
    assert info["violations"] == {"temperature": pytest.approx(observation[1] - 370.0)}
    assert info["violation"] > 1.0
    assert env.reset(seed=0)[1]["violation"] == 0.0


def test_cooling_in_proportion_holds_an_unstable_set_point_that_plain_holding_loses() -> None:
    def last_error(gain: float) -> float:
        env = CSTR()
        observation, _ = env.reset(options={"state": [5.6, 338.0], "reference": [339.0]})
        for _ in range(200):
            coolant = holding_input(339.0) - gain * (observation[1] - 339.0)
            action = np.clip((coolant - 298.0) / 30.0, -1.0, 1.0)
            observation, *_ = env.step(np.array([action]))
        return abs(float(observation[1]) - 339.0)

    assert last_error(0.0) > 20.0
    assert last_error(8.0) < 0.01
