"""The input that acts when a controller is switched on, or in place of its own (do-mpc #84, #480).

A plant at rest under another input than the safe one must not be moved; what an operator or a
saturated actuator did must be known to rates, observers, memories and delays.
"""

from typing import Any

import gymnasium as gym
import numpy as np
import pytest

from koopman_control.common.arrays import Array
from koopman_control.evaluation import evaluate, run_episode
from koopman_control.features import PolynomialFeatures
from koopman_control.identification import EDMDc, LiftedModel, Rollout
from koopman_control.mpc import (
    Bounds,
    Cost,
    Inputs,
    KalmanObserver,
    KoopmanMPC,
    MovingHorizonEstimator,
    OffsetFree,
)
from koopman_control.mpc.estimation import Observer
from koopman_control.trajectories import HeldUniform, Trajectory, collect

LAG = LiftedModel.from_arrays([[0.9]], [[1.0]], dt=1.0)
REST: dict[str, Any] = {
    "Q": 1.0,
    "reference": 50.0,
    "input_bounds": [[0.0], [10.0]],
    "cost": Cost(S=5.0),
}


def at_rest(rate: float | None = 0.5, **more: Any) -> KoopmanMPC:
    return KoopmanMPC(LAG, 10, bounds=Bounds(rates=rate), **REST, **more)


@pytest.mark.parametrize("rate", [0.5, None])
@pytest.mark.parametrize("solver", ["auto", "daqp", "osqp", "piqp", "clarabel"])
def test_a_plant_at_rest_is_left_alone(rate: float | None, solver: Any) -> None:
    mpc = at_rest(rate, solver=solver)
    mpc.reset(previous_input=[5.0])
    np.testing.assert_allclose(mpc.act([50.0]), 5.0, atol=1e-4 if solver == "osqp" else 1e-6)
    mpc.reset()
    told = mpc.act([50.0], applied=[5.0])  # the same, said in the first step
    np.testing.assert_allclose(told, 5.0, atol=1e-4 if solver == "osqp" else 1e-6)
    mpc.reset()  # forgets it
    np.testing.assert_array_equal(mpc.previous_input, 0.0)


def test_a_reset_input_does_as_a_safe_input_did() -> None:
    mpc, other = at_rest(), at_rest(inputs=Inputs(safe=3.0))
    mpc.reset(previous_input=[3.0])
    for y in ([20.0], [30.0], [41.0]):
        np.testing.assert_array_equal(mpc.act(y), other.act(y))


def test_changes_count_from_what_acted() -> None:
    mpc = at_rest()
    mpc.reset(previous_input=[5.0])
    mpc.act([50.0])
    mpc.act([50.0])
    u = mpc.act([20.0], applied=[2.0])  # somebody turned it down
    np.testing.assert_allclose(u, 2.5, atol=1e-6)
    assert mpc.last is not None
    assert mpc.last.rung == "solved"


def test_following_an_operator_and_taking_over_from_him() -> None:
    """In manual mode the answers are not used; at the hand-over nothing jumps."""
    mpc, y, u = at_rest(), 30.0, 3.0
    mpc.reset(previous_input=[u])
    for k in range(30):
        mpc.act([y], applied=[u])
        u = 3.0 + 0.1 * k
        y = 0.9 * y + u
    taken_over = mpc.act([y], applied=[u])
    assert abs(taken_over[0] - u) <= 0.5 + 1e-9


@pytest.mark.parametrize("solver", ["auto", "osqp", "piqp", "clarabel"])
@pytest.mark.parametrize(("before", "first"), [(30.0, 10.0), (-7.0, 0.0), (10.2, 10.0)])
def test_an_input_beyond_the_box_comes_back_into_it(
    before: float, first: float, solver: Any
) -> None:
    mpc = at_rest(solver=solver)
    mpc.reset(previous_input=[before])
    u = mpc.act([50.0])
    assert mpc.last is not None
    assert mpc.last.rung == "solved"
    assert abs(u[0] - first) <= 0.5
    if before != 10.2:
        np.testing.assert_allclose(u, first, atol=1e-4)


@pytest.mark.parametrize("rollout", ["linear", "relifted"])
def test_with_a_delay_the_inputs_on_their_way_are_those_that_were_sent(rollout: Any) -> None:
    """A plant at rest under u = 5, whose inputs act three steps late, stays at rest."""
    mpc = KoopmanMPC(
        LAG, 10, rollout=rollout, bounds=Bounds(rates=0.5), inputs=Inputs(delay=3), **REST
    )
    mpc.reset(previous_input=[5.0])
    y, sent = 50.0, [5.0] * 3
    for _ in range(8):
        sent.append(float(mpc.act([y])[0]))
        y = 0.9 * y + sent.pop(0)
        assert y == pytest.approx(50.0, abs=1e-4)
    # An interlock sent 0 for 5 once; three steps later that acts, and the plan has seen it coming.
    sent[-1] = 0.0
    mpc.act([y], applied=[0.0])
    assert mpc.last is not None and mpc.last.situation is not None
    for u in sent:
        y = 0.9 * y + u
    np.testing.assert_allclose(mpc.last.situation.start.x, y, atol=1e-9)


def second_order(n: int = 400) -> LiftedModel:
    """A position whose speed is not seen; the state ends with the input before."""
    rng, A, B = np.random.default_rng(0), np.array([[1.0, 0.1], [0.0, 0.95]]), np.array([0.0, 0.1])
    x, seen, us = np.zeros(2), [[0.0]], np.repeat(rng.uniform(-1.0, 1.0, n // 4), 4)[:, None]
    for u in us:
        x = A @ x + B * u[0]
        seen.append([x[0]])
    return EDMDc(PolynomialFeatures(1), memory=1).fit([Trajectory(np.array(seen), us)]).model_


def test_a_memory_holds_what_acted() -> None:
    mpc = KoopmanMPC(second_order(), 8, input_bounds=[[-1.0], [1.0]])

    def remembered() -> float:
        assert mpc.last is not None and mpc.last.situation is not None
        return float(mpc.last.situation.start.x[-1])

    mpc.reset(previous_input=[0.4])
    mpc.act([0.2])
    assert remembered() == 0.4
    u = mpc.act([0.25], applied=[-0.3])
    assert remembered() == -0.3
    mpc.act([0.26])
    assert remembered() == u[0]


OBSERVERS: list[tuple[Observer, Rollout]] = [
    (KalmanObserver(0.1), "linear"),
    (KalmanObserver(0.1), "relifted"),
    (OffsetFree(0.1), "linear"),
    (OffsetFree(0.1), "relifted"),
    (MovingHorizonEstimator(0.1, window=3), "linear"),
]


@pytest.mark.parametrize(("observer", "rollout"), OBSERVERS)
def test_observers_predict_with_what_acted(observer: Observer, rollout: Rollout) -> None:
    """While the actuator is stuck at 1, an observer that knows it makes no error."""
    model = LiftedModel.from_arrays([[0.9]], [[1.0]])
    settings: dict[str, Any] = {"estimator": observer, "rollout": rollout, "reference": 50.0}
    mpc = KoopmanMPC(model, 5, input_bounds=[[0.0], [10.0]], **settings)
    mpc.reset(previous_input=[1.0])
    y = 10.0  # at rest under 1
    for k in range(12):
        seen: Any = [y] if k < 6 else None
        mpc.act(seen, applied=[1.0] if k else None)
        assert mpc.last is not None and mpc.last.situation is not None
        np.testing.assert_allclose(mpc.last.situation.start.x, y, atol=1e-9)
        y = 0.9 * y + 1.0


@pytest.mark.parametrize("bad", [[1.0, 2.0], [np.nan], [np.inf], "five", [[1.0]], object(), []])
def test_what_is_no_input_is_refused_first_and_ignored_later(bad: Any) -> None:
    mpc = at_rest()
    with pytest.raises((TypeError, ValueError), match="previous_input "):
        mpc.reset(previous_input=bad)
    mpc.reset(previous_input=[5.0])
    with pytest.raises((TypeError, ValueError), match=r"applied .*1 controlled"):
        mpc.act([50.0], applied=bad)
    assert mpc._loop.step == 0  # nothing has happened
    np.testing.assert_allclose(mpc.act([50.0]), 5.0, atol=1e-6)
    u = mpc.act([50.0], applied=bad)
    assert mpc.last is not None
    assert mpc.last.rung == "solved"
    assert mpc.last.ignored.startswith("applied ")
    np.testing.assert_allclose(u, 5.0, atol=1e-6)
    mpc.act([50.0])
    assert mpc.last.ignored == ""


def test_a_useless_forecast_is_told_too() -> None:
    model = LiftedModel.from_arrays([[0.9]], [[1.0, 0.5]])
    mpc = KoopmanMPC(model, 5, inputs=Inputs(measured=[1]))
    mpc.act([1.0], [0.2])
    mpc.act([1.0], [0.2, 0.3], applied=[np.nan])
    assert mpc.last is not None
    assert "disturbance has shape (2,)" in mpc.last.ignored
    assert "applied holds nan" in mpc.last.ignored


def test_copies_of_a_plant_are_told_one_by_one() -> None:
    """Each does as a controller of its own."""
    batch, alone = at_rest().batch(3), [at_rest() for _ in range(3)]
    before = np.array([[5.0], [1.0], [30.0]])
    batch.reset(previous_input=before)
    for own, u in zip(alone, before, strict=True):
        own.reset(previous_input=u)
    Y, applied = np.array([[50.0], [20.0], [55.0]]), None
    for k in range(6):
        U = batch.act(Y, applied=applied)
        each = [
            own.act(y, applied=None if applied is None else applied[i])
            for i, (own, y) in enumerate(zip(alone, Y, strict=True))
        ]
        np.testing.assert_allclose(U, np.array(each), atol=1e-6)
        assert batch.solved.all()
        applied = np.minimum(U, 4.0) if k % 2 else None
        Y = 0.9 * Y + (U if applied is None else applied)
    batch.reset(np.array([False, True, False]), previous_input=[5.0])
    np.testing.assert_allclose(batch.act([[50.0]] * 3)[1], 5.0, atol=1e-6)
    with pytest.raises(ValueError, match=r"previous_input has shape \(2,\); expected \(1,\)"):
        batch.reset(previous_input=[1.0, 2.0])
    with pytest.raises(ValueError, match=r"applied has shape \(3,\); expected \(3, 1\)"):
        batch.act(Y, applied=[1.0, 2.0, 3.0])


class Tank(gym.Env[Any, Any]):
    """x+ = 0.9 x + u from rest at 50 under u = 5; its valve opens no further than 6."""

    observation_space = gym.spaces.Box(-1e3, 1e3, (1,))
    action_space = gym.spaces.Box(0.0, 10.0, (1,))
    start = 50.0

    def reset(self, *, seed: int | None = None, options: Any = None) -> Any:
        super().reset(seed=seed)
        self.level, self.steps = self.start, 0
        return np.array([self.level], dtype=np.float32), {}

    def step(self, action: Any) -> Any:
        acted = np.minimum(action, np.float32(6.0))
        self.level, self.steps = 0.9 * self.level + float(acted[0]), self.steps + 1
        told = {"applied_action": acted}
        return np.array([self.level], dtype=np.float32), 0.0, False, self.steps >= 20, told


class LowTank(Tank):
    start = 20.0


def test_an_evaluation_begins_without_a_bump() -> None:
    found = evaluate(at_rest(), Tank(), range(2), previous_input=[5.0])
    for episode in found.episodes:
        np.testing.assert_allclose(episode.observations, 50.0, atol=1e-3)
    bumped = run_episode(at_rest(), Tank(), 0)
    assert bumped.observations.min() < 40.0
    with pytest.raises(TypeError, match="reset of MovesOnly does not take it"):
        evaluate(MovesOnly(), Tank(), range(1), previous_input=[5.0])


class MovesOnly:
    """A controller that knows of nothing."""

    def reset(self) -> None:
        pass

    def act(self, observation: Array) -> Array:
        return np.array([5.0])


class Attentive(MovesOnly):
    """Notes what it is told."""

    def __init__(self) -> None:
        self.told: list[Any] = []

    def act(self, observation: Array, applied: Array | None = None) -> Array:
        self.told.append(applied)
        return np.array([9.0])


def test_an_environment_tells_what_acted() -> None:
    controller = Attentive()
    episode = run_episode(controller, Tank(), 0)
    assert controller.told[0] is None
    np.testing.assert_array_equal(np.array(controller.told[1:]), 6.0)
    np.testing.assert_array_equal(episode.actions, 9.0)
    run_episode(MovesOnly(), Tank(), 0)  # nobody listens


class Deaf(MovesOnly):
    """Lets a controller act without telling it anything."""

    def __init__(self, mpc: KoopmanMPC) -> None:
        self.mpc = mpc

    def reset(self) -> None:
        self.mpc.reset()

    def act(self, observation: Array) -> Array:
        return self.mpc.act(observation)


def test_a_saturated_valve_is_known_to_the_controller() -> None:
    """Changes count from where the valve is, so nothing winds up behind its stop."""
    told, deaf = (run_episode(given, LowTank(), 0) for given in (at_rest(), Deaf(at_rest())))
    assert 6.0 < told.actions.max() <= 6.5 + 1e-6
    assert deaf.actions.max() > 7.0  # three steps of winding up


def test_vector_environments_tell_it_for_every_copy() -> None:
    envs = gym.vector.SyncVectorEnv([Tank, LowTank])
    single = [run_episode(at_rest(), kind(), 0, [5.0]) for kind in (Tank, LowTank)]
    found = evaluate(at_rest(), envs, [0, 0], previous_input=[5.0])
    for one, many in zip(single, found.episodes, strict=True):
        np.testing.assert_allclose(many.observations, one.observations, atol=1e-4)


def test_noise_on_top_of_the_actions_is_known_to_the_controller() -> None:
    controller = Attentive()
    (run,) = collect(Tank(), controller, n_steps=20, noise=HeldUniform())
    assert controller.told[0] is None
    np.testing.assert_array_equal(np.array(controller.told[1:]), run.actions[:-1])
