from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray
from scipy.optimize import approx_fprime

from koopman_envs.quadruple_tank import (
    PARAMETERS,
    Phase,
    QuadrupleTank,
    dynamics,
    holding_input,
    steady_levels,
)

Array = NDArray[np.float64]
both_phases = pytest.mark.parametrize("phase", ["minimum", "non_minimum"])

# Johansson (2000), tables II and III: levels and voltages at rest, time constants, zeros.
JOHANSSON: dict[Phase, tuple[Any, ...]] = {
    "minimum": ((12.4, 12.7, 1.8, 1.4), (3.00, 3.00), (62, 90, 23, 30), (-0.060, -0.018)),
    "non_minimum": ((12.6, 13.0, 4.8, 4.9), (3.15, 3.15), (63, 91, 39, 56), (-0.057, 0.013)),
}


def linearised(phase: Phase) -> tuple[Array, Array]:
    """A (4, 4) and B (4, 2) at rest under Johansson's voltages."""
    u = np.array(JOHANSSON[phase][1])
    h = np.array(steady_levels(u, PARAMETERS[phase]))

    def of_levels(x: Array, /) -> Any:
        return dynamics(x, u, PARAMETERS[phase])

    def of_voltages(v: Array, /) -> Any:
        return dynamics(h, v, PARAMETERS[phase])

    a, b = approx_fprime(h, of_levels, 1e-6), approx_fprime(u, of_voltages, 1e-6)
    return a, b


@both_phases
def test_the_operating_point_is_that_of_johansson(phase: Phase) -> None:
    levels, voltages, *_ = JOHANSSON[phase]
    # His levels are measured, with three digits, and his valve settings have two.
    np.testing.assert_allclose(steady_levels(voltages, PARAMETERS[phase]), levels, atol=0.4)


@both_phases
def test_time_constants_are_those_of_johansson(phase: Phase) -> None:
    a, _ = linearised(phase)
    np.testing.assert_allclose(-1.0 / np.diag(a), JOHANSSON[phase][2], rtol=0.06)


@both_phases
def test_zeros_are_those_of_johansson(phase: Phase) -> None:
    # det C (s - A)⁻¹ B has two poles fewer than A and is quadratic over det(s - A).
    a, b = linearised(phase)
    points = np.array([0.1, 0.2, 0.3])
    heads = [
        np.linalg.det(np.linalg.solve(s * np.eye(4) - a, b)[:2]) * np.linalg.det(s * np.eye(4) - a)
        for s in points
    ]
    zeros = np.sort(np.roots(np.polyfit(points, heads, 2)))
    np.testing.assert_allclose(zeros, JOHANSSON[phase][3], atol=0.002)


@both_phases
def test_the_level_reached_by_a_voltage_is_held_by_it_without_cost(phase: Phase) -> None:
    env = QuadrupleTank(phase=phase)
    u = [2.7, 3.3]
    levels = steady_levels(u, PARAMETERS[phase])
    np.testing.assert_allclose(
        dynamics(np.array(levels), np.array(u), PARAMETERS[phase]), 0.0, atol=1e-15
    )
    np.testing.assert_allclose(holding_input(levels[:2], PARAMETERS[phase]), u, rtol=1e-12)
    assert env.cost(levels, u, levels[:2]) == pytest.approx(0.0, abs=1e-20)


def test_the_outflow_is_torricellis() -> None:
    levels = np.array([1.4, 5.0, 15.0])
    states = np.stack([0.0 * levels, 0.0 * levels, levels, 0.0 * levels], axis=-1)
    speed = dynamics(states, np.zeros(2))[:, 2]
    torricelli = -0.071 / 28.0 * np.sqrt(2.0 * 981.0 * levels)
    np.testing.assert_allclose(speed, torricelli, rtol=1.3e-3)
    np.testing.assert_allclose(speed[1:], torricelli[1:], rtol=1.1e-4)


def test_no_water_is_lost_between_the_tanks() -> None:
    rng = np.random.default_rng(0)
    h, u = rng.uniform(1.0, 15.0, size=(20, 4)), rng.uniform(0.0, 10.0, size=(20, 2))
    change = dynamics(h, u) @ [28.0, 32.0, 28.0, 32.0]
    alone = dynamics(h * [1.0, 1.0, 0.0, 0.0], 0.0 * u) @ [28.0, 32.0, 28.0, 32.0]
    np.testing.assert_allclose(change, alone + u @ [3.33, 3.35], rtol=1e-13)


@both_phases
def test_an_episode_agrees_with_an_accurate_integrator(
    phase: Phase, accurately: Callable[..., Array]
) -> None:
    env = QuadrupleTank(phase=phase)
    actions = np.random.default_rng(1).uniform(-0.4, 0.4, size=(120, 2))
    start, _ = env.reset(seed=0)
    states = np.array([start[:4]] + [env.step(a)[0][:4] for a in actions])
    exact = accurately(
        lambda x, u: dynamics(x, u, PARAMETERS[phase]), start[:4], 3.0 + 3.0 * actions, 5.0
    )
    assert states.max() < 20.0
    assert (np.abs(states - exact) / exact.max(axis=0)).max() < 1e-6


def test_more_water_first_lowers_the_other_level_only_without_minimum_phase() -> None:
    # Along the direction of a right half-plane zero the response starts the wrong way.
    def response(phase: Phase) -> Array:
        gain = np.linalg.solve(*linearised(phase))[:2]
        change = np.linalg.solve(gain, [-1.0, 0.0])
        env = QuadrupleTank(phase=phase)
        u = np.array(JOHANSSON[phase][1]) + 0.3 * change / np.abs(change).max()
        h = steady_levels(JOHANSSON[phase][1], PARAMETERS[phase])
        env.reset(options={"state": h})
        return np.array([env.step((u - 3.0) / 3.0)[0][0] - h[0] for _ in range(120)])

    calm, wrong = response("minimum"), response("non_minimum")
    assert calm[0] > 0.0
    assert calm[-1] > 0.0
    assert wrong[0] < 0.0 < wrong[-1]


def test_empty_tanks_stay_empty_and_full_ones_overflow() -> None:
    env = QuadrupleTank()
    env.reset(options={"state": [0.0, 0.0, 0.0, 0.0]})
    observation, *_, info = env.step(-np.ones(2, np.float32))
    np.testing.assert_array_equal(observation[:4], 0.0)
    assert info["violations"] == {f"tank_{i}": 0.5 for i in (1, 2, 3, 4)}
    assert info["violation"] == 2.0
    for _ in range(120):
        observation, *_, info = env.step(np.ones(2, np.float32))
    np.testing.assert_array_equal(observation[:2], 20.0)
    assert info["violations"]["tank_1"] == 2.0
    assert info["violation"] == pytest.approx(np.maximum(observation[:4] - 18.0, 0.0).sum())


def test_tanks_run_dry_without_a_negative_level() -> None:
    env = QuadrupleTank()
    env.reset(seed=3)
    levels = np.array([env.step(-np.ones(2, np.float32))[0][:4] for _ in range(120)])
    assert (levels >= 0.0).all()
    assert levels[-1].max() < 1e-3


@both_phases
def test_drawn_set_points_need_voltages_between_two_and_a_half_and_three_point_four(
    phase: Phase,
) -> None:
    env = QuadrupleTank(phase=phase)
    references = np.array([env.reset(seed=i)[0][4:] for i in range(300)])
    voltages = np.array(holding_input(references.T, PARAMETERS[phase]))
    assert voltages.min() >= 2.5 - 1e-9
    assert voltages.max() <= 3.4 + 1e-9
    assert (references > 5.0).all()
    assert (references < 17.0).all()


def test_mismatch_leaves_the_holding_voltages_of_the_cost_nominal() -> None:
    x, u, r = [10.0, 10.0, 2.0, 2.0], [3.0, 3.0], [9.0, 11.0]
    assert QuadrupleTank(mismatch={"pump_left": 0.9}).cost(x, u, r) == QuadrupleTank().cost(x, u, r)


def test_an_unknown_phase_is_refused() -> None:
    unknown: Any = "maximum"
    with pytest.raises(ValueError, match=r"phase is 'maximum'; expected one of minimum, non"):
        QuadrupleTank(phase=unknown)
