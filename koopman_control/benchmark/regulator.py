"""The baseline `lqr`: a linear-quadratic regulator on an affine fit near the target."""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from scipy.linalg import solve_discrete_are

from koopman_control.benchmark.own_data import own_learning
from koopman_control.benchmark.trained import Trained
from koopman_control.common import Array
from koopman_control.features import Coordinates
from koopman_control.mpc.targets import NothingAskedError, TargetRows
from koopman_control.tasks import Task
from koopman_control.trajectories import Trajectory, total_steps

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
    data = own_learning(task, seed).data
    started = time.perf_counter()
    controller = LocalRegulator(task, data)
    return Trained(controller, total_steps(data), time.perf_counter() - started)
