from __future__ import annotations

from contextlib import closing
from dataclasses import replace
from typing import Any

import gymnasium as gym
import numpy as np
import pytest

from koopman_control.benchmark import CONDITIONS, NotApplicableError
from koopman_control.benchmark.conditions import PARTIAL_OBSERVATIONS
from koopman_control.benchmark.wrappers import Delay, Hidden, Imperfect, Noise, Scaled
from koopman_control.evaluation import ZeroPolicy, action_bounds, run_episode
from koopman_control.features import Coordinates
from koopman_control.identification import LeastSquares
from koopman_control.tasks import TASKS
from tests.benchmark.tiny import tiny_task

CHANGING = ("noise", "dropped", "delay", "hidden", "changed")


def observed(env: gym.Env[Any, Any], actions: Any, seed: int = 0) -> np.ndarray[Any, Any]:
    rows = [env.reset(seed=seed)[0]]
    rows += [env.step(np.array([a], dtype=np.float32))[0] for a in actions]
    return np.array(rows)


@pytest.mark.parametrize("condition", CHANGING)
@pytest.mark.parametrize("name", TASKS)
def test_every_cell_has_an_environment_or_a_reason(name: str, condition: str) -> None:
    task = TASKS[name]
    try:
        judged = CONDITIONS[condition].judging(task)
        learned = CONDITIONS[condition].learning(task)
    except NotApplicableError as reason:
        assert len(str(reason)) > 10
        return
    with closing(judged.environment()) as env, closing(task.environment()) as plain:
        first, _ = env.reset(seed=0)
        assert first.shape == plain.reset(seed=0)[0].shape
        env.step(env.action_space.sample())
    states = Coordinates.of(len(first), learned.states, learned.angles)
    assert states.n_outputs == len(learned.Q)
    assert learned.settings() == learned.settings()


@pytest.mark.parametrize("name", PARTIAL_OBSERVATIONS)
def test_no_hidden_column_is_modelled_and_targets_fit_what_remains(name: str) -> None:
    task = CONDITIONS["hidden"].learning(TASKS[name])
    with closing(task.environment()) as env:
        observation = env.reset(seed=3)[0]
    columns = Coordinates.of(len(observation), task.states, task.angles).columns
    modelled = {c for entry in columns for c in np.atleast_1d(entry)}
    assert not modelled & set(PARTIAL_OBSERVATIONS[name].hidden)
    assert not observation[list(PARTIAL_OBSERVATIONS[name].hidden)].any()
    target = task.reference(observation) if callable(task.reference) else task.reference
    assert np.ndim(target) == 0 or np.shape(target)[-1] == len(task.Q)


def test_a_delayed_action_acts_one_step_later() -> None:
    actions = [1.0, -2.0, 0.5, 2.0, 0.0]
    late = observed(Delay(gym.make("Pendulum-v1")), actions)
    on_time = observed(gym.make("Pendulum-v1"), [0.0, *actions[:-1]])
    np.testing.assert_array_equal(late, on_time)


def test_a_reset_forgets_the_action_under_way() -> None:
    env = Delay(gym.make("Pendulum-v1"))
    first = observed(env, [2.0, 0.0])
    np.testing.assert_array_equal(observed(env, [0.0, 0.0])[1], first[1])


def test_noise_is_one_per_cent_of_half_the_range_and_follows_the_seed() -> None:
    env = Noise(0.01)(gym.make("Pendulum-v1"))
    plain = observed(gym.make("Pendulum-v1"), np.zeros(199), seed=5)
    noise = observed(env, np.zeros(199), seed=5) - plain
    np.testing.assert_allclose(noise.std(axis=0), [0.01, 0.01, 0.08], rtol=0.2)
    np.testing.assert_array_equal(observed(env, np.zeros(199), seed=5) - plain, noise)


def test_flags_of_contact_stay_exact_under_noise() -> None:
    task = CONDITIONS["noise"].learning(TASKS["LunarLanderContinuous-v3"])
    with closing(task.environment()) as env:
        first = env.reset(seed=0)[0]
    assert first[6:].tolist() == [0.0, 0.0]
    assert np.all(first[:6] != 0.0)


def test_masses_are_scaled_in_the_environment_itself() -> None:
    plain = gym.make("InvertedPendulum-v5")
    env = CONDITIONS["changed"].judging(TASKS["InvertedPendulum-v5"]).environment()
    own: Any = env.unwrapped
    stock: Any = plain.unwrapped
    np.testing.assert_allclose(own.model.body_mass, 1.2 * stock.model.body_mass)
    pendulum: Any = Scaled(("m",), 1.2)(gym.make("Pendulum-v1")).unwrapped
    assert pendulum.m == 1.2


def test_a_changed_plant_moves_differently_under_the_same_actions() -> None:
    task = TASKS["koopman_envs/VanDerPol-v0"]
    with closing(task.environment()) as env:
        plain = run_episode(ZeroPolicy(action_bounds(env)), env, 0)
    with closing(CONDITIONS["changed"].judging(task).environment()) as env:
        other = run_episode(ZeroPolicy(action_bounds(env)), env, 0)
    np.testing.assert_array_equal(plain.observations[0], other.observations[0])
    assert np.abs(plain.observations[-1] - other.observations[-1]).max() > 1e-3


def test_a_plant_of_which_no_parameter_is_known_cannot_be_changed() -> None:
    with pytest.raises(NotApplicableError, match="none of its parameters is known"):
        CONDITIONS["changed"].judging(replace(tiny_task(), env_id="Other-v0"))


def test_noise_needs_to_know_which_environment_it_is_put_around() -> None:
    plain = gym.make("Pendulum-v1").unwrapped
    plain.spec = None
    with pytest.raises(ValueError, match="environment with a spec"):
        Noise(0.01)(plain)


def test_budgets_scale_all_steps_and_nothing_else() -> None:
    task = CONDITIONS["half"].learning(TASKS["Pendulum-v1"])
    assert (task.n_steps, task.first_steps) == (300, 200)
    assert CONDITIONS["half"].judging(TASKS["Pendulum-v1"]) == TASKS["Pendulum-v1"]


def test_a_controller_learns_without_speeds_by_remembering() -> None:
    task = CONDITIONS["hidden"].learning(tiny_task())
    learned = task.learn(0)
    assert learned.model.coordinates.memory == 1
    assert not learned.data[0].observations[:, 1].any()
    assert np.isfinite(learned.controller.act(learned.data[0].observations[0])).all()


def test_settings_tell_wrapped_tasks_apart() -> None:
    task = TASKS["Pendulum-v1"]
    settings = [
        replace(task, wrap=wrap).settings()
        for wrap in (Noise(0.01), Noise(0.02), Hidden((2,)), Delay, Scaled(("m",), 1.2))
    ]
    assert all(a != b for i, a in enumerate(settings) for b in settings[:i])


def test_a_task_passes_settings_on_to_the_fit_and_keeps_its_environment() -> None:
    noisy = CONDITIONS["noise"].learning(TASKS["Pendulum-v1"])
    task = replace(noisy, fit={"least_squares": LeastSquares(limits=None)})
    assert task.estimator().least_squares == LeastSquares(limits=None)
    assert TASKS["Pendulum-v1"].estimator().least_squares is None
    assert task.wrap == Noise(0.01)


@pytest.mark.slow
@pytest.mark.parametrize("condition", ["noise", "delay", "hidden"])
def test_the_swimmer_still_looks_for_its_wave(condition: str) -> None:
    pytest.importorskip("mujoco")
    task = replace(TASKS["Swimmer-v5"], n_steps=800, first_steps=400)
    learned = CONDITIONS[condition].learning(task).learn(0)
    trials = learned.data[-2:]  # of 200 steps each, behind the data of the fit
    assert [len(trial.actions) for trial in trials] == [200, 200]
    assert not np.array_equal(trials[0].actions, trials[1].actions)


SENSORS = ("8-bit", "10-bit", "12-bit", "glitches", "dropped", "coloured", "biased")


def shown(sensors: Imperfect, n: int = 199, seed: int = 5) -> np.ndarray[Any, Any]:
    """What sensors add to the observations of a pendulum at rest torque."""
    plain = observed(gym.make("Pendulum-v1"), np.zeros(n), seed=seed)
    return np.asarray(observed(sensors(gym.make("Pendulum-v1")), np.zeros(n), seed=seed) - plain)


def test_sensors_resolve_so_many_bits() -> None:
    step = 2.0 * np.array([1.0, 1.0, 8.0]) / 2**10
    off = shown(Imperfect(bits=10))
    assert (np.abs(off) <= 0.5 * step + 1e-6).all()
    assert (off.std(axis=0) > 0.2 * step).all()


def test_some_readings_are_anywhere_and_some_are_missing() -> None:
    off = shown(Imperfect(glitches=0.05))
    assert 0.02 < np.mean(off != 0.0) < 0.09
    assert (np.abs(off) <= np.array([1.0, 1.0, 8.0]) + 1e-6).all()
    assert 0.02 < np.isnan(shown(Imperfect(missing=0.05))).mean() < 0.09


def test_coloured_noise_has_the_size_and_the_correlation_asked_for() -> None:
    runs = [shown(Imperfect(noise=0.01, correlation=0.9), seed=s)[:, 0] for s in range(60)]
    noise = np.array(runs)
    assert noise.std() == pytest.approx(0.01, rel=0.1)
    assert np.mean(noise[:, 1:] * noise[:, :-1]) / noise.var() == pytest.approx(0.9, abs=0.03)


def test_a_bias_is_the_same_for_ever() -> None:
    np.testing.assert_allclose(shown(Imperfect(bias=0.01)), [[0.01, -0.01, 0.08]] * 200, atol=1e-6)


@pytest.mark.parametrize("condition", SENSORS)
def test_flags_and_targets_stay_exact_whatever_the_sensors(condition: str) -> None:
    changed = CONDITIONS[condition].learning
    with closing(changed(TASKS["LunarLanderContinuous-v3"]).environment()) as env:
        assert env.reset(seed=0)[0][6:].tolist() == [0.0, 0.0]
    task = TASKS["koopman_envs/VanDerPol-v0"]
    with closing(changed(task).environment()) as env, closing(task.environment()) as plain:
        assert env.reset(seed=0)[0][2] == plain.reset(seed=0)[0][2]


def test_a_task_is_learned_from_what_such_sensors_leave() -> None:
    for condition in ("dropped", "glitches"):
        task = CONDITIONS[condition].learning(tiny_task())
        learned = task.learn(0)
        assert learned.estimator.noise_.replaced.max() > 0.0
        assert not any(t.missing for t in learned.estimator.smoothed_)
