"""A model as an environment: its steps are the model's, its noise as asked, its edges told."""

import pickle
import warnings
from typing import Any

import gymnasium as gym
import numpy as np
import pytest
from gymnasium.utils.env_checker import check_env

from koopman_control import (
    Bounds,
    Cost,
    EDMDc,
    KoopmanMPC,
    LiftedModel,
    SampledFeatures,
    Trajectory,
    collect,
    evaluate,
)
from koopman_control.common.arrays import Array
from koopman_control.evaluation import ModelEnv, rehearse, tracking_reward
from koopman_control.identification import bootstrap_models
from koopman_control.mpc import Observed

F, G = np.array([[1.0, 0.1], [-0.1, 0.9]]), np.array([[0.0], [0.1]])
BOX = np.array([[-1.0], [1.0]])


def runs(memory: bool = False) -> list[Trajectory]:
    rng, made = np.random.default_rng(0), []
    for _ in range(5):
        U, X = rng.uniform(-1.0, 1.0, (40, 1)), [rng.normal(size=2)]
        for u in U:
            X.append(F @ X[-1] + G @ u - 0.02 * X[-1] ** 3)
        goal = np.full((41, 1), rng.normal())
        seen = np.array(X)[:, :1] if memory else np.hstack([X, goal])
        made.append(Trajectory(seen, U, dt=0.1, action_bounds=BOX))
    return made


ESTIMATOR = EDMDc(SampledFeatures(8, random_state=0), states=[0, 1], horizon=5, n_folds=2)
MODEL = ESTIMATOR.fit(runs()).model_


@pytest.mark.parametrize("rollout", ["linear", "relifted"])
def test_an_episode_is_the_models_prediction(rollout: Any) -> None:
    env = ModelEnv(MODEL, runs(), rollout=rollout, n_steps=12)
    y, info = env.reset(seed=3)
    U = np.random.default_rng(1).uniform(-1.0, 1.0, (12, 1))
    expected = MODEL.predict(y[:2], U, rollout)
    seen = [env.step(u) for u in U]
    np.testing.assert_allclose([step[0][:2] for step in seen], expected, atol=1e-12)
    assert [step[3] for step in seen] == [False] * 11 + [True]
    assert {step[0][2] for step in seen} == {y[2]}, "what is no state stays"
    assert any((run.observations == y).all(axis=1).any() for run in runs())
    assert info["model"] == 0 and info["distance"] == pytest.approx(MODEL.distance(y[:2]))


def test_a_bilinear_roll_out_is_the_models_too() -> None:
    estimator = EDMDc(SampledFeatures(6, random_state=0), coupling="bilinear", states=[0, 1])
    model = estimator.fit(runs()).model_
    env = ModelEnv(model, runs(), rollout="bilinear")
    y, _ = env.reset(seed=0)
    U = np.full((6, 1), 0.5)
    seen = [env.step(u)[0][:2] for u in U]
    np.testing.assert_allclose(seen, model.predict(y[:2], U, "bilinear"), atol=1e-12)


def test_a_memory_is_filled_from_the_data_and_an_input_delay_is_the_plants() -> None:
    estimator = EDMDc(SampledFeatures(6, random_state=0), memory=2, input_delay=3, horizon=5)
    model = estimator.fit(runs(memory=True)).model_
    env = ModelEnv(model, runs(memory=True))
    env.reset(seed=0)
    x = env.state
    acting = [0.0, 0.0, 0.0, 1.0, 1.0]
    expected = model.predict(x, np.array(acting)[:, None], "relifted")[:, 0]
    given = [env.step([1.0])[0][0] for _ in acting]
    np.testing.assert_allclose(given, expected, atol=1e-12)
    with pytest.raises(ValueError, match="expected trajectories, which fill the model's memory"):
        ModelEnv(model)


def test_angles_are_observed_as_they_were_measured() -> None:
    data = collect("Pendulum-v1", n_steps=200, seed=0)
    features = SampledFeatures(10, random_state=0)
    model = EDMDc(features, angles=[(0, 1)], coupling="bilinear", horizon=5).fit(data).model_
    env = ModelEnv(model, data)
    env.reset(seed=0)
    for _ in range(20):
        y, *_ = env.step([1.0])
        assert np.hypot(y[0], y[1]) == pytest.approx(1.0)
        assert np.arctan2(y[1], y[0]) == pytest.approx(np.angle(np.exp(1j * env.state[0])))


def test_noise_is_as_large_as_asked_and_seeded() -> None:
    env = ModelEnv(MODEL, runs(), observation_noise=0.1, n_steps=2000)
    y, _ = env.reset(seed=0)
    errors = np.array([env.step([0.0])[0][:2] - env.state for _ in range(2000)])
    np.testing.assert_allclose(errors.std(axis=0), 0.1 * MODEL.signals.scale, rtol=0.1)
    again, _ = env.reset(seed=0)
    np.testing.assert_array_equal(again, y)
    still = ModelEnv(MODEL, runs(), process_noise=0.1)
    still.reset(seed=0)
    moved = [still.state - MODEL.predict(x, [[0.0]])[0] for x in _course(still)]
    np.testing.assert_allclose(np.std(moved, axis=0), 0.1 * MODEL.signals.scale, rtol=0.3)


def _course(env: ModelEnv) -> Any:
    for _ in range(150):
        before = env.state
        env.step([0.0])
        yield before


def test_each_episode_is_of_one_of_several_models() -> None:
    models = bootstrap_models(MODEL, runs(), 4, seed=0)
    env = ModelEnv(models, runs())
    which = [env.reset(seed=seed)[1]["model"] for seed in range(30)]
    assert set(which) == {0, 1, 2, 3}
    y, info = env.reset(seed=0, options={"model": 2, "observation": [0.1, 0.2, 0.3]})
    assert (info["model"], y.tolist()) == (2, [0.1, 0.2, 0.3])
    expected = models[2].predict([0.1, 0.2], [[1.0]])[0]
    np.testing.assert_allclose(env.step([1.0])[0][:2], expected, atol=1e-12)
    with pytest.raises(ValueError, match="expected observation, and model below 4"):
        env.reset(options={"model": 4})


def test_models_fitted_like_a_model_are_those_of_its_estimator() -> None:
    by_model = bootstrap_models(MODEL, runs(), 2, seed=0, redraw_features=False)
    strength = MODEL.summary["regularization"]
    alone = EDMDc(
        SampledFeatures(8, random_state=0), states=[0, 1], regularization=strength, n_folds=0
    )
    expected = bootstrap_models(alone, runs(), 2, seed=0, redraw_features=False)
    for given, wanted in zip(by_model, expected, strict=True):
        np.testing.assert_array_equal(given.A, wanted.A)


def test_what_leaves_the_data_is_flagged_and_what_runs_away_is_held() -> None:
    wild = LiftedModel.from_arrays([[3.0]], [[1.0]], action_bounds=BOX)
    env = ModelEnv(wild, n_steps=400)
    env.reset(seed=0)
    values = [env.step([1.0])[0][0] for _ in range(400)]
    assert np.isfinite(values).all() and max(np.abs(values)) == 1000.0
    far = ModelEnv(MODEL, runs(), output_bounds=([-1.0, -1.0], [1.0, 1.0]))
    _, info = far.reset(options={"observation": [50.0, 0.0, 0.0]})
    assert info["out_of_data"] and info["violation"] == pytest.approx(49.0)
    _, info = far.reset(options={"observation": [0.1, 0.0, 0.0]})
    assert not info["out_of_data"] and info["violation"] == 0.0


def test_it_is_a_gymnasium_environment_that_can_be_evaluated_and_copied() -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # infinite observation spaces
        check_env(ModelEnv(MODEL, runs()), skip_render_check=True)
    mpc = KoopmanMPC(MODEL, 10, R=0.1, reference=Observed([2, None]))
    env = ModelEnv(MODEL, runs(), reward=tracking_reward(mpc), n_steps=30)
    one = evaluate(mpc, env, range(1000, 1004))
    two = evaluate(mpc, env, range(1000, 1004), workers=2)
    np.testing.assert_array_equal(one.returns, two.returns)
    assert one.dt == 0.1 and isinstance(env, gym.Env)
    pickle.loads(pickle.dumps(env))


def test_the_tracking_reward_is_the_controllers_stage_cost() -> None:
    cost = Cost(Q=[2.0, 0.5], R=0.1, linear_input=0.3, input_reference=0.2)
    mpc = KoopmanMPC(MODEL, 10, cost=cost, reference=Observed([2, None]))
    reward = tracking_reward(mpc)
    y, u, then = np.array([0.0, 0.0, 1.0]), np.array([0.5]), np.array([0.4, -0.1, 1.0])
    expected = 2.0 * 0.6**2 + 0.5 * 0.1**2 + 0.1 * 0.3**2 + 0.3 * 0.5
    assert reward(y, u, then) == pytest.approx(-expected)


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"n_steps": 0}, "n_steps is 0"),
        ({"observation_noise": -1.0}, "observation_noise is -1.0"),
        ({"action_bounds": [[-np.inf], [1.0]]}, "expected finite numbers"),
        ({"output_bounds": [[0.0], [1.0]]}, "output_bounds has shape"),
        ({"rollout": "bilinear"}, "no input couplings"),
        ({"data": Trajectory(np.zeros((3, 1)), np.zeros((2, 1)))}, "data has 1 observations"),
    ],
)
def test_settings_that_do_not_suit_the_model_are_refused(
    settings: dict[str, Any], message: str
) -> None:
    with pytest.raises(ValueError, match=message):
        ModelEnv(MODEL, **settings)


def test_a_step_needs_an_episode_and_bounds() -> None:
    with pytest.raises(ValueError, match="call reset first"):
        ModelEnv(MODEL).step([0.0])
    unbounded = LiftedModel.from_arrays([[0.5]], [[1.0]])
    with pytest.raises(ValueError, match="neither the model nor data tell any"):
        ModelEnv(unbounded)


def test_a_rehearsal_tells_what_the_data_leave_open(tmp_path: Any) -> None:
    mpc = KoopmanMPC(MODEL, 10, R=0.1, bounds=Bounds(outputs=(-2.0, 2.0)), reference=[0.2, 0.0])
    one = rehearse(mpc, runs()[0], n_variants=2, n_starts=2, n_steps=30)
    many = rehearse(mpc, runs(), n_variants=2, n_starts=2, n_steps=30)
    assert spread(one) > spread(many) > 0.0
    assert "on 2 other fits to the data" in str(many)
    assert many.nominal.fallback_share == 0.0
    many.write(tmp_path)
    loaded = KoopmanMPC.load(tmp_path / "controller.npz")
    loaded.reset()
    mpc.reset()
    np.testing.assert_array_equal(loaded.act([0.1, 0.2, 0.0]), mpc.act([0.1, 0.2, 0.0]))
    assert {path.name for path in tmp_path.iterdir()} >= {"report.html", "variants.png"}
    alone = rehearse(mpc, n_starts=1, n_steps=5)
    assert alone.variants == () and np.isnan(alone.ratio)


def spread(found: Any) -> float:
    means: Array = np.array([each.mean for each in found.variants])
    return float(np.ptp(means))


def test_a_rehearsal_takes_the_controllers_bounds_where_the_model_has_none() -> None:
    bare = LiftedModel.from_arrays(F, G, dt=0.1)
    mpc = KoopmanMPC(bare, 5, R=0.1, input_bounds=[[-0.3], [0.3]])
    found = rehearse(mpc, n_starts=2, n_steps=10)
    assert np.abs(found.nominal.episodes[0].actions).max() <= 0.3
    with pytest.raises(ValueError, match="action_bounds is None"):
        rehearse(KoopmanMPC(bare, 5, R=0.1), n_starts=1, n_steps=5)
