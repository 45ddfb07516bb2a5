"""Small valid arguments, each made once."""

from functools import cache
from typing import Any

import cvxpy as cp
import gymnasium as gym
import numpy as np

from koopman_control import (
    EDMDc,
    Evaluation,
    KoopmanMPC,
    LiftedModel,
    PolynomialFeatures,
    SampledFeatures,
    SampledRNN,
    Trajectory,
    evaluate,
)
from koopman_control.common import Array
from koopman_control.evaluation import Episode, ZeroPolicy, run_episode
from koopman_control.forecasting import DirectForecaster, TimeTable
from koopman_control.identification import Identified, Structure, identify
from koopman_control.tasks import Task

ENV = "koopman_envs/VanDerPol-v0"
BOX = np.array([[-1.0], [1.0]])


@cache
def runs() -> list[Trajectory]:
    """Four runs of a stable linear plant, two states and one input."""
    F, G = np.array([[0.9, 0.1], [-0.1, 0.8]]), np.array([[0.0], [0.2]])
    rng = np.random.default_rng(0)
    made = []
    for _ in range(4):
        U = rng.uniform(-1.0, 1.0, (15, 1))
        X = [rng.uniform(-1.0, 1.0, 2)]
        for u in U:
            X.append(F @ X[-1] + G @ u)
        made.append(Trajectory(np.array(X), U, dt=0.1, action_bounds=BOX))
    return made


def estimator(**settings: Any) -> EDMDc:
    maps = SampledFeatures(4, random_state=0)
    return EDMDc(maps, **({"regularization": 1e-6, "n_folds": 0, "horizon": 5} | settings))


@cache
def model() -> LiftedModel:
    return estimator().fit(runs()).model_


@cache
def identified() -> Identified:
    return identify(runs(), structure=Structure(0), n_features=4, n_draws=1)


@cache
def exact_model() -> LiftedModel:
    return LiftedModel.from_arrays([[0.9, 0.1], [-0.1, 0.8]], [[0.0], [0.2]], dt=0.1)


@cache
def fitted() -> EDMDc:
    return estimator().fit(runs())


@cache
def controller() -> KoopmanMPC:
    return KoopmanMPC(model(), 3, R=0.1)


def fitted_map() -> PolynomialFeatures:
    map_: PolynomialFeatures = PolynomialFeatures(2).fit(runs()[0].observations)
    return map_


@cache
def environment() -> gym.Env[Any, Any]:
    return gym.make(ENV, max_episode_steps=3)


@cache
def episode() -> Episode:
    return run_episode(ZeroPolicy(BOX), environment(), 0)


@cache
def evaluation() -> Evaluation:
    return evaluate(ZeroPolicy(BOX), environment(), seeds=range(2))


def task(**settings: Any) -> Task:
    asked: dict[str, Any] = {"Q": (1.0, 0.1, 0.1), "R": 0.1, "horizon": 4, "n_steps": 60}
    asked |= {"first_steps": 40, "n_features": (4,), "steepness": (0.5,), "n_rounds": 0}
    return Task(ENV, "small", **(asked | settings))


@cache
def rnn() -> SampledRNN:
    features = SampledFeatures(4, random_state=0)
    return SampledRNN(features, memory=1, horizon=3, n_folds=2).fit(series())


@cache
def direct() -> DirectForecaster:
    return DirectForecaster(3, lookback=9, n_features=(0,)).fit(series())


def series() -> Array:
    t = np.arange(60.0)
    return np.column_stack([np.sin(0.3 * t), np.cos(0.3 * t)])


def table() -> TimeTable:
    dates = np.datetime64("2020-01-01", "ns") + np.timedelta64(1, "h") * np.arange(200)
    t = np.arange(200.0)
    rows = np.column_stack([np.sin(0.3 * t), np.cos(0.3 * t)])
    return TimeTable(dates, rows, ("a", "b"), 3600.0, ())


def program() -> dict[str, Any]:
    x, p = cp.Variable(2, name="x"), cp.Parameter(2, name="p")
    return {
        "problem": cp.Problem(cp.Minimize(cp.sum((x - p) ** 2)), [x >= 0]),  # type: ignore[attr-defined]
        "parameters": [p],
        "variables": [x],
    }


def rng() -> np.random.Generator:
    return np.random.default_rng(0)


def states() -> Array:
    return runs()[0].observations.copy()


def steps() -> Array:
    return np.zeros((3, 1))


def start() -> Array:
    return np.array([0.1, 0.2])
