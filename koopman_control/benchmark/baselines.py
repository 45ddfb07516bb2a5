"""What ours is compared with, at equal data: LQR, a linear model, pykoop's features, deep RL."""

from __future__ import annotations

import time
from collections.abc import Sequence
from contextlib import closing
from dataclasses import dataclass, field, replace
from typing import Any, Literal

import numpy as np
from scipy.linalg import block_diag, solve_discrete_are
from sklearn.model_selection import GridSearchCV, GroupKFold

from koopman_control.benchmark.variants import fingerprint, without_angles, without_estimator
from koopman_control.common import Array, optional_package
from koopman_control.common.border import CheckedFields, at_least
from koopman_control.common.protocols import Controller
from koopman_control.evaluation import Learned
from koopman_control.features import Coordinates
from koopman_control.identification import LiftedModel
from koopman_control.mpc.state import NothingAskedError, TargetRows
from koopman_control.tasks import Task
from koopman_control.trajectories import Trajectory, total_steps


@dataclass(frozen=True)
class Trained(CheckedFields):
    """A controller and what it took to get it.

    Args:
        controller: To be judged.
        data_steps: Environment steps that were used.
        seconds: Duration of learning; at equal data, of what follows on collecting them.
        rounds: Plain facts about each round of learning, if there were any.
    """

    controller: Controller
    data_steps: int = 0
    seconds: float = 0.0
    rounds: list[dict[str, Any]] = field(default_factory=list)

    def __post_init__(self) -> None:
        """Refuse steps or seconds below zero, too."""
        super().__post_init__()
        at_least("data_steps", self.data_steps, 0)
        at_least("seconds", self.seconds, 0)


_latest: dict[tuple[str, int], Learned] = {}


def shared_learning(task: Task, seed: int) -> Learned:
    """Learn the task, or return the latest learning of this process if it was the same."""
    key = (fingerprint(task), seed)
    if key not in _latest:
        _latest.clear()
        _latest[key] = task.learn(seed)
    return _latest[key]


def linear(task: Task, seed: int) -> Trained:
    """Fit to the data of the task's own controller, plan by one convex program per step."""
    data = shared_learning(task, seed).data
    started = time.perf_counter()
    plain = without_estimator(task)
    twin = replace(plain, rollout="linear", coupling="linear", input_features=None)
    controller = twin.controller(twin.estimator(seed).fit(data).model_)
    return Trained(controller, total_steps(data), time.perf_counter() - started)


# Share of the data, nearest to their targets, that is fitted. A quarter, which mostly stood still,
# left the four tanks' inputs untold (a score of -11); with all of it, all scores are alike.
NEAR = 0.5
PER_UNKNOWN = 5  # but at least so many samples per unknown of a row
EXACTLY = 1e4  # weight of resting, beside the costs of states and inputs, in the choice of a rest
DETECTABLE = 1e-6  # weight of states that cost nothing, in units of the largest weight


@dataclass(frozen=True)
class AffineFit:
    """x+ = x + A x + B u + c near the targets: A (d, d), B (d, m), c (d,)."""

    A: Array
    B: Array
    c: Array


class LocalRegulator:
    """u = u_s - K (x - x_s), clipped to the box.

    (x_s, u_s) is the rest of the affine model that costs least at the present targets.
    """

    def __init__(self, task: Task, data: Sequence[Trajectory]) -> None:
        """Fit to the samples near their targets and solve the Riccati equation."""
        n_observations, m = data[0].observations.shape[1], data[0].actions.shape[1]
        self._coordinates = Coordinates.of(n_observations, task.states, task.angles)
        d = self._coordinates.dim
        self._target = TargetRows("reference", task.reference, 1, d)
        self._input_target = TargetRows("input_reference", task.input_reference, 1, m)
        bounds = data[0].action_bounds
        self._box = np.tile([[-np.inf], [np.inf]], m) if bounds is None else bounds
        self._weights = np.concatenate([task.Q, np.full(m, task.R)])
        self._fit = self._near_targets(data)
        A, B, Q = np.eye(d) + self._fit.A, self._fit.B, np.diag(self._weights[:d])
        R = np.diag(self._weights[d:])
        self._K = _gain(A, B, Q + DETECTABLE * Q.max() * np.eye(d), R, task.horizon)
        self._base, self._map = self._rest_maps()
        self._step = 0

    def reset(self) -> None:
        """Go back to the first row of a target that is a trajectory."""
        self._step = 0

    def act(self, observation: Array) -> Array:
        """Return the action (m,)."""
        x, d = self._coordinates.state(observation), len(self._fit.A)
        step, self._step = self._step, self._step + 1
        try:
            target = self._target(observation, step)[0]
        except NothingAskedError:
            return self._clipped(np.zeros(len(self._K)))
        x = target + self._coordinates.wrap(x - target)
        asked = np.concatenate([target, self._input_target(observation, step)[0]])
        rest = self._base + self._map @ asked
        return self._clipped(rest[d:] - self._K @ (x - rest[:d]))

    def _clipped(self, u: Array) -> Array:
        return np.asarray(np.clip(u, *self._box))

    def _rest_maps(self) -> tuple[Array, Array]:
        """Return the rest (d + m,) that costs least as base + map @ [target, input target]."""
        d, root = len(self._fit.A), np.sqrt(self._weights)
        rows = np.vstack([EXACTLY * np.hstack([self._fit.A, self._fit.B]), np.diag(root)])
        solved = np.linalg.lstsq(rows, np.eye(len(rows)), rcond=None)[0]
        return -EXACTLY * solved[:, :d] @ self._fit.c, solved[:, d:] * root

    def _near_targets(self, data: Sequence[Trajectory]) -> AffineFit:
        """Fit increments by least squares to the samples that cost least."""
        samples = np.concatenate([self._samples(run) for run in data])
        d, m = self._coordinates.dim, len(self._weights) - self._coordinates.dim
        x, u, dx, deviation = np.split(samples, [d, d + m, 2 * d + m], axis=1)
        count = min(len(x), max(int(NEAR * len(x)), PER_UNKNOWN * (d + m + 1)))
        near = np.argsort(deviation**2 @ self._weights[:d], kind="stable")[:count]
        regressors = np.hstack([x, u, np.ones((len(x), 1))])[near]
        scale = np.maximum(np.abs(regressors).max(axis=0), 1e-12)
        K = (np.linalg.lstsq(regressors / scale, dx[near], rcond=None)[0] / scale[:, None]).T
        return AffineFit(K[:, :d], K[:, d:-1], K[:, -1])

    def _samples(self, run: Trajectory) -> Array:
        """Return rows [state, input, increment, deviation from the target] where there is one."""
        states, rows = self._coordinates.state(run.observations), []
        for k, u in enumerate(run.actions):
            try:
                target = self._target(run.observations[k], k)[0]
            except NothingAskedError:
                continue
            deviation = self._coordinates.wrap(states[k] - target)
            increment = self._coordinates.wrap(states[k + 1] - states[k])
            rows.append(np.concatenate([target + deviation, u, increment, deviation]))
        return np.array(rows).reshape(-1, 3 * states.shape[1] + len(run.actions[0]))


def _gain(A: Array, B: Array, Q: Array, R: Array, horizon: int) -> Array:
    """Return K (m, d): of the infinite horizon, or of the task's where the fit cannot be held."""
    try:
        P = np.asarray(solve_discrete_are(A, B, Q, R))
    except np.linalg.LinAlgError:
        P = Q
        for _ in range(horizon):
            K = np.linalg.solve(R + B.T @ P @ B, B.T @ P @ A)
            P = Q + A.T @ P @ (A - B @ K)
    return np.asarray(np.linalg.solve(R + B.T @ P @ B, B.T @ P @ A))


def lqr(task: Task, seed: int) -> Trained:
    """Regulate by an affine model, from the data of the task's own controller."""
    data = shared_learning(task, seed).data
    started = time.perf_counter()
    controller = LocalRegulator(task, data)
    return Trained(controller, total_steps(data), time.perf_counter() - started)


N_FEATURES = 100
STRENGTHS = (1e-6, 1e-3, 1.0)  # of the Tikhonov regularisation; its cross-validation chooses
FOLDS, JUDGED = 3, 10  # folds; steps ahead that the choice is judged by


def pykoop_features(task: Task, seed: int) -> Trained:
    """Fit to the data of the task's own controller, as pykoop's documentation advises."""
    data = shared_learning(task, seed).data
    started = time.perf_counter()
    n_observations = data[0].observations.shape[1]
    columns = without_angles(without_estimator(task), n_observations)
    plain = replace(columns, rollout="linear", memory=0)
    model = fitted(plain, data, seed)
    return Trained(plain.controller(model), total_steps(data), time.perf_counter() - started)


@dataclass(frozen=True)
class PipelineLift:
    """The lifting [1, scaled states, features] of a fitted pipeline."""

    pipeline: Any
    center: Array
    scale: Array

    def __call__(self, X: Array) -> Array:
        """Lift states (S, d)."""
        lifted = self.pipeline.lift_state((X - self.center) / self.scale, episode_feature=False)
        return np.hstack([np.ones((len(X), 1)), lifted])


def fitted(task: Task, data: Sequence[Trajectory], seed: int) -> LiftedModel:
    """Fit a pipeline of pykoop on standardised states and import it.

    Args:
        task: A task without angles.
        data: Runs.
        seed: Of the centres of the radial functions.

    Returns:
        The linear model z+ = A z + B u with z = [1, scaled states, features].
    """
    columns = list(task.states or ())
    states = [run.observations[:, columns] for run in data]
    center = np.concatenate(states).mean(axis=0)
    scale = np.maximum(np.concatenate(states).std(axis=0), 1e-12)
    pipeline = _searched(
        [(x - center) / scale for x in states], [run.actions for run in data], seed
    )
    n, d = pipeline.n_states_out_, len(columns)
    K = pipeline.regressor_.coef_.T  # pykoop multiplies from the right

    return LiftedModel.from_arrays(
        block_diag(np.ones((1, 1)), np.asarray(K[:, :n], dtype=np.float64)),
        np.vstack([np.zeros((1, K.shape[1] - n)), K[:, n:]]),
        C=np.hstack([center[:, None], np.diag(scale), np.zeros((d, n - d))]),
        lift=PipelineLift(pipeline, center, scale),
        dt=data[0].dt,
        action_bounds=data[0].action_bounds,
        coordinates=Coordinates.of(data[0].observations.shape[1], columns),
    )


def _searched(states: list[Array], inputs: list[Array], seed: int) -> Any:
    """Return the pipeline with the strength that predicts left-out runs best."""
    pykoop = optional_package("pykoop", "peers")
    lifting = pykoop.SplitPipeline(
        lifting_functions_state=[
            (
                "thin plate",
                pykoop.RbfLiftingFn(
                    rbf="thin_plate",
                    centers=pykoop.QmcCenters(N_FEATURES, random_state=seed),
                ),
            )
        ],
        lifting_functions_input=None,
    )
    pipeline = pykoop.KoopmanPipeline([("split", lifting)], regressor=pykoop.Edmd())
    rows = np.vstack(
        [
            np.column_stack([np.full(len(x), i), x, np.vstack([u, np.zeros_like(u[:1])])])
            for i, (x, u) in enumerate(zip(states, inputs, strict=True))
        ]
    )
    folds = min(FOLDS, len(states))
    if folds < 2:
        return pipeline.set_params(regressor__alpha=STRENGTHS[0]).fit(
            rows, n_inputs=inputs[0].shape[1], episode_feature=True
        )
    search = GridSearchCV(
        pipeline,
        {"regressor__alpha": STRENGTHS},
        scoring=pykoop.KoopmanPipeline.make_scorer(n_steps=JUDGED, relift_state=False),
        cv=GroupKFold(folds),
    )
    search.fit(rows, groups=rows[:, 0], n_inputs=inputs[0].shape[1], episode_feature=True)
    return search.best_estimator_


Algorithm = Literal["sac", "tqc"]

# Settings that RL Baselines3 Zoo tuned (its hyperparams/sac.yml, used for both algorithms); all
# else is Stable-Baselines3's default. Left at it is learning_starts, where the tuned 10,000 steps
# are more than the budget; of falling learning rates the first value is taken.
TUNED: dict[str, dict[str, Any]] = {
    "Pendulum-v1": {"learning_rate": 1e-3},
    "MountainCarContinuous-v0": {
        "buffer_size": 50_000,
        "batch_size": 512,
        "ent_coef": 0.1,
        "train_freq": 32,
        "gradient_steps": 32,
        "gamma": 0.9999,
        "tau": 0.01,
        "learning_starts": 0,
        "use_sde": True,
        "policy_kwargs": {"log_std_init": -3.67, "net_arch": [64, 64]},
    },
    "LunarLanderContinuous-v3": {
        "learning_rate": 7.3e-4,
        "tau": 0.01,
        "policy_kwargs": {"net_arch": [400, 300]},
    },
    "Swimmer-v5": {"gamma": 0.9999},
}


class Policy:
    """The deterministic policy of a trained agent as a controller."""

    def __init__(self, agent: Any) -> None:
        self._agent = agent

    def reset(self) -> None:
        """Nothing to forget."""

    def act(self, observation: Array) -> Array:
        """Return the action (m,)."""
        action: Array = self._agent.predict(observation, deterministic=True)[0]
        return action


@dataclass(frozen=True)
class DeepRL:
    """Train an agent from nothing but its own environment steps.

    Args:
        algorithm: "sac" or "tqc".
        factor: Budget of environment steps in units of the task's.
    """

    algorithm: Algorithm
    factor: int = 1

    def __call__(self, task: Task, seed: int) -> Trained:
        """Train on one thread."""
        module = "stable_baselines3" if self.algorithm == "sac" else "sb3_contrib"
        package, torch = optional_package(module, "rl"), optional_package("torch", "rl")
        torch.set_num_threads(1)
        started, steps = time.perf_counter(), self.factor * task.n_steps
        with closing(task.environment()) as env:
            agent = getattr(package, self.algorithm.upper())(
                "MlpPolicy",
                env,
                seed=seed,
                device="cpu",
                **{"buffer_size": steps} | TUNED.get(task.env_id, {}),
            )
            agent.learn(steps)
        return Trained(Policy(agent), int(agent.num_timesteps), time.perf_counter() - started)
