"""What holds for every registered environment."""

from collections.abc import Iterator
from dataclasses import fields
from importlib import import_module
from typing import Any

import casadi as ca
import gymnasium as gym
import numpy as np
import pytest
from gymnasium.utils.env_checker import check_env
from numpy.typing import NDArray

import koopman_envs
from koopman_envs import ODEVectorEnv

Array = NDArray[np.float64]

REGISTERED = sorted(name for name in gym.registry if name.startswith("koopman_envs/"))


def rounding(env_id: str) -> float:
    """Bound what the order of a sum can change."""
    # The third derivative over 128 points multiplies rounding errors by up to 64³.
    return 1e-10 if "KortewegDeVries" in env_id else 1e-12


every_environment = pytest.mark.parametrize("env_id", REGISTERED)


def single(env_id: str, **options: Any) -> koopman_envs.ODEEnv:
    env = gym.make(env_id, disable_env_checker=True, **options).unwrapped
    assert isinstance(env, koopman_envs.ODEEnv)
    return env


def vector(env_id: str, copies: int, **options: Any) -> ODEVectorEnv:
    env = gym.make_vec(env_id, copies, "vector_entry_point", **options)
    assert isinstance(env, ODEVectorEnv)
    return env


def test_environments_are_registered() -> None:
    assert "koopman_envs/VanDerPol-v0" in REGISTERED


@every_environment
def test_the_checker_finds_nothing(env_id: str) -> None:
    pytest.importorskip("pygame")
    check_env(gym.make(env_id, render_mode="rgb_array").unwrapped)


@every_environment
def test_the_same_seed_gives_the_same_bits(env_id: str) -> None:
    def play(seed: int) -> Iterator[Array]:
        env = gym.make(env_id)
        env.action_space.seed(0)
        yield env.reset(seed=seed)[0]
        for _ in range(50):
            yield env.step(env.action_space.sample())[0]

    np.testing.assert_array_equal(np.array(list(play(1))), np.array(list(play(1))))
    assert (next(play(1)) != next(play(2))).any()


@every_environment
def test_copies_equal_single_environments_to_the_last_bit(env_id: str) -> None:
    # Three steps an episode, so that automatic resets are compared too.
    options: dict[str, Any] = {
        "observation_noise": 0.01,
        "actuator_delay": 2,
        "max_episode_steps": 3,
    }
    for given in ({}, options):
        one_by_one = gym.make_vec(env_id, 5, "sync", **given)
        together = vector(env_id, 5, **given)
        together.action_space.seed(0)
        compare(one_by_one.reset(seed=7), together.reset(seed=7))
        for _ in range(25):
            actions = together.action_space.sample()
            compare(one_by_one.step(actions), together.step(actions), transforms_rounding(env_id))


def transforms_rounding(env_id: str) -> float:
    """Bound what NumPy, from 2.5 on, rounds differently where it transforms many waves at once."""
    return 1e-12 if "Korteweg" in env_id else 0.0


def compare(expected: Any, got: Any, atol: float = 0.0) -> None:
    for one, other in zip(expected[:-1], got[:-1], strict=True):
        np.testing.assert_allclose(one, other, rtol=0.0, atol=atol)
        assert one.dtype == other.dtype
    np.testing.assert_equal(got[-1], expected[-1])


@every_environment
def test_a_thousand_copies_equal_single_ones(env_id: str) -> None:
    # Long arrays take other loops inside NumPy than short ones do.
    copies = vector(env_id, 1000)
    copies.action_space.seed(0)
    copies.reset(seed=0)
    actions = [copies.action_space.sample() for _ in range(3)]
    results = [copies.step(a)[0] for a in actions]
    env = single(env_id)
    for i in (0, 1, 500, 998, 999):
        env.reset(seed=i)
        for a, result in zip(actions, results, strict=True):
            np.testing.assert_array_equal(env.step(a[i])[0], result[i])


@every_environment
def test_observations_stay_in_their_box_under_the_worst_corners(env_id: str) -> None:
    copies = vector(env_id, 64)
    copies.reset(seed=0)
    corners = np.random.default_rng(0)
    shape = copies.action_space.shape
    assert shape is not None
    for k in range(300):
        if k % 25 == 0:
            actions = corners.choice([-1.0, 1.0], size=shape).astype(np.float32)
        observations, rewards, *_ = copies.step(actions)
        assert copies.observation_space.contains(np.ascontiguousarray(observations))
        assert (rewards <= 0.0).all()


@every_environment
def test_the_first_stage_costs_are_of_order_one(env_id: str) -> None:
    copies = vector(env_id, 200)
    copies.reset(seed=0)
    actions = np.zeros(copies.action_space.shape or (), np.float32)
    mean = -copies.step(actions)[1].mean()
    assert 0.05 < mean < 20.0


@every_environment
def test_the_right_hand_side_serves_outside_the_environment_in_batches(env_id: str) -> None:
    env = single(env_id)
    dynamics = import_module(type(env).__module__).dynamics
    rng = np.random.default_rng(0)
    x = np.array([[env.sample_state(rng) for _ in range(2)] for _ in range(3)])
    u = rng.uniform(env.input_low, env.input_high, size=(3, 2, len(env.input_low)))
    batch = dynamics(x, u)
    assert (batch.shape, batch.dtype) == (x.shape, np.float64)
    alone = env.rates(x[1, 0].tolist(), u[1, 0].tolist())
    np.testing.assert_allclose(batch[1, 0], list(alone), rtol=1e-12, atol=rounding(env_id))


@every_environment
@pytest.mark.filterwarnings("ignore:\\s*casadi:FutureWarning")
def test_the_formulas_take_symbols(env_id: str) -> None:
    env = single(env_id)
    env.reset(seed=0)
    sizes = [len(env.state), len(env.input_center), len(env.reference)]
    parts = [[ca.SX.sym("s") for _ in range(n)] for n in sizes]
    value = ca.vertcat(*env.rates(*parts[:2]), env.cost(*parts))
    function = ca.Function("f", [ca.vertcat(*part) for part in parts], [value])
    point = [env.state.tolist(), [0.3] * sizes[1], env.reference.tolist()]
    expected = [*env.rates(*point[:2]), env.cost(*point)]
    found = np.array(function(*point)).ravel()
    np.testing.assert_allclose(found, expected, rtol=1e-12, atol=rounding(env_id))


@every_environment
def test_every_parameter_can_be_mismatched(env_id: str) -> None:
    true = single(env_id)
    for name in [field.name for field in fields(true.parameters)]:
        changed = single(env_id, mismatch={name: 1.1}).parameters
        assert getattr(changed, name) == pytest.approx(1.1 * getattr(true.parameters, name))


@every_environment
def test_the_picture_is_more_than_a_blank_sheet(env_id: str) -> None:
    pytest.importorskip("pygame")
    env = gym.make(env_id, render_mode="rgb_array")
    env.reset(seed=0)
    picture: Any = env.render()
    assert (picture.shape, picture.dtype) == ((500, 500, 3), np.uint8)
    assert len(np.unique(picture.reshape(-1, 3), axis=0)) >= 4
    assert (picture != 255).any(axis=2).mean() > 0.01
