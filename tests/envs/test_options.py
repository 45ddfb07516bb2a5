"""The options that every environment takes when it is made."""

from typing import Any

import numpy as np
import pytest

from koopman_envs import ODEEnv
from koopman_envs.bilinear_motor import BilinearMotor
from koopman_envs.planar_quadrotor import PlanarQuadrotor
from koopman_envs.quadruple_tank import QuadrupleTank

Env = type[ODEEnv]


def action(value: float) -> Any:
    return np.array([value], np.float32)


def test_noise_has_the_stated_spread_on_outputs_and_spares_the_reference(oscillator: Env) -> None:
    env = oscillator(observation_noise=0.05)
    seen = [
        env.reset(seed=seed, options={"state": [0.5, 0.0], "reference": [3.0]})[0]
        for seed in range(4000)
    ]
    np.testing.assert_allclose(np.mean(seen, axis=0), [0.5, 0.0, 3.0], atol=0.03)
    np.testing.assert_allclose(np.std(seen, axis=0), [0.05 * 8.0, 0.05 * 9.0, 0.0], rtol=0.04)


def test_noise_changes_what_is_seen_and_not_what_happens(oscillator: Env) -> None:
    clean, noisy = oscillator(), oscillator(observation_noise=0.1)
    for env in (clean, noisy):
        env.reset(seed=3)
        for _ in range(5):
            env.step(action(-0.4))
    np.testing.assert_array_equal(clean.state, noisy.state)


def test_noisy_observations_stay_in_their_box(oscillator: Env) -> None:
    env = oscillator(observation_noise=5.0)
    assert all(env.reset(seed=seed)[0] in env.observation_space for seed in range(50))


def test_a_delayed_action_acts_the_stated_number_of_steps_later(oscillator: Env) -> None:
    prompt, late = oscillator(), oscillator(actuator_delay=2)
    actions, start = [0.3, -0.7, -0.4, 0.1, -0.2], {"state": [0.2, 0.1], "reference": [0.0]}
    prompt.reset(options=start)
    late.reset(options=start)
    expected = [prompt.step(action(a))[:2] for a in [0.0, 0.0, *actions]]
    got = [late.step(action(a))[:2] for a in [*actions, 0.9, 0.9]]
    for (x, reward), (y, price) in zip(expected, got, strict=True):
        np.testing.assert_array_equal(x, y)
        assert reward == price


def test_a_reset_forgets_the_actions_under_way(oscillator: Env) -> None:
    env, start = oscillator(actuator_delay=1), {"state": [0.2, 0.1]}
    env.reset(options=start)
    first = env.step(action(0.9))[0]
    env.reset(options=start)
    np.testing.assert_array_equal(env.step(action(0.0))[0], first)


def test_a_mismatch_changes_the_plant_and_not_its_class(oscillator: Env) -> None:
    env = oscillator(mismatch={"stiffness": 4.0})
    env.reset(options={"state": [0.5, 0.0]})
    x, *_ = env.step(action(-0.5))
    # x1'' = -4 x1 with no input: x1 = 0.5 cos 2t.
    assert x[0] == pytest.approx(0.5 * np.cos(0.2), abs=1e-7)
    assert oscillator().parameters.stiffness == 1.0


def test_a_mismatch_reaches_what_is_computed_from_the_parameters() -> None:
    true, other = BilinearMotor().parameters, BilinearMotor(mismatch={"load": 2.0}).parameters
    assert other.coefficients[-1] == pytest.approx(2.0 * true.coefficients[-1])
    assert other.coefficients[:-1] == true.coefficients[:-1]


def test_only_the_chosen_outputs_are_observed(oscillator: Env) -> None:
    env = oscillator(observed=[1])
    observation, _ = env.reset(options={"state": [0.3, -0.4], "reference": [2.0]})
    np.testing.assert_array_equal(observation, [-0.4, 2.0])
    np.testing.assert_array_equal(env.observation_space.high, [9.0, 10.0])  # type: ignore[attr-defined]


def test_outputs_are_observed_in_the_order_given(oscillator: Env) -> None:
    observation, _ = oscillator(observed=[1, 0]).reset(options={"state": [0.3, -0.4]})
    np.testing.assert_array_equal(observation[:2], [-0.4, 0.3])


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (
            {"observation_noise": -0.1},
            "observation_noise is -0.1; expected a finite number of at least 0",
        ),
        ({"observation_noise": np.nan}, "observation_noise is nan"),
        ({"actuator_delay": -1}, "actuator_delay is -1; expected a finite number of at least 0"),
        ({"actuator_delay": 1.5}, "actuator_delay is 1.5; expected an integer"),
        ({"mismatch": {"stiffness": -1.0}}, "is -1.0; expected a finite factor of at least 0"),
        ({"mismatch": {"mass": 2.0}}, r"mismatch names 'mass'; the parameters are \['stiffness'\]"),
        ({"mismatch": {"stiffness": np.inf}}, r"mismatch\['stiffness'\] is inf"),
        ({"observed": [2]}, "observed is .*; expected distinct indices out of 0 … 1"),
        ({"observed": [0, 0]}, "expected distinct indices"),
        ({"observed": []}, "expected distinct indices"),
    ],
)
def test_impossible_options_are_refused(
    oscillator: Env, options: dict[str, Any], message: str
) -> None:
    with pytest.raises((TypeError, ValueError), match=message):
        oscillator(**options)


@pytest.mark.parametrize(
    ("plant", "parameter"), [(PlanarQuadrotor, "mass"), (QuadrupleTank, "area_left")]
)
def test_a_plant_that_would_move_infinitely_fast_is_refused(plant: Env, parameter: str) -> None:
    with pytest.raises(ValueError, match=f"mismatch is .*{parameter}.* infinitely fast"):
        plant(mismatch={parameter: 0.0})


def test_an_unknown_option_is_named(oscillator: Env) -> None:
    unknown: dict[str, Any] = {"observation_nose": 0.1}
    with pytest.raises(TypeError, match="observation_nose"):
        oscillator(**unknown)
