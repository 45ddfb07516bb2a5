"""A fitted model as a Gymnasium environment, so that controllers can be judged from a log alone."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import gymnasium as gym
import numpy as np
from numpy.typing import ArrayLike, NDArray

from koopman_control.common.arrays import (
    Array,
    bounds_array,
    finite_array,
    positive_int,
    seed_number,
)
from koopman_control.common.border import at_least, checked
from koopman_control.identification import LiftedModel, Rollout
from koopman_control.mpc import KoopmanMPC
from koopman_control.mpc.estimation.base import state_mean, state_scale
from koopman_control.mpc.planning.prediction import checked_models
from koopman_control.trajectories import Trajectory, check_trajectories

FAR = 1e3  # deviations of the data from their mean, beyond which states are held
Reward = Callable[[Array, Array, Array], float]


class ModelEnv(gym.Env[Array, NDArray[np.float64]]):
    """What a model says the plant would do, with noise and with what the data leave open.

    An episode starts where the data were, or near their mean without any. Observation columns that
    are no state of the model (a set-point, say) keep the value that they had there. Angles are
    observed as they were measured. An input delay of the model is the plant's.

    `info` holds "out_of_data", whether the state lies beyond what the model was fitted on (then the
    model guesses); "distance", how far in half widths of the data (`LiftedModel.distance`);
    "model", which of several the episode is of; and, with output bounds, "violation", the sum of
    what breaks them. States that run away are held at a thousand deviations of the data.

    Args:
        model: The model, or several of one plant (`bootstrap_models`): each episode is of one of
            them, drawn by the seed.
        data: Trajectories whose samples episodes start from; needed for models with a memory. None:
            states are drawn around the mean of the data the model was fitted on.
        reward: Reward of a step, of the observation, the action and the next observation, all
            without noise; see `tracking_reward`. None: 0 throughout.
        rollout: How the model is rolled out.
        n_steps: Steps of an episode.
        observation_noise: Standard deviation of Gaussian noise on observed states, in standard
            deviations of the states in the data (radians for angles).
        process_noise: Likewise of what each step adds to the states.
        action_bounds: Lowest and highest action, shape (2, m); None: the model's, or else those of
            the data.
        output_bounds: (low, high) of the d present states, shape (2, d), whose violation `info`
            tells; None: there are none.

    Raises:
        ValueError: If a setting does not suit the model, or no action bounds are known.

    Example:
        >>> env = ModelEnv(model, data, reward=tracking_reward(mpc))  # doctest: +SKIP
        >>> evaluate(mpc, env).mean  # doctest: +SKIP
    """

    metadata = {"render_modes": []}  # noqa: RUF012  # Gymnasium declares it so

    @checked
    def __init__(
        self,
        model: LiftedModel | Sequence[LiftedModel],
        data: Trajectory | Sequence[Trajectory] | None = None,
        *,
        reward: Reward | None = None,
        rollout: Rollout = "relifted",
        n_steps: int = 200,
        observation_noise: float = 0.0,
        process_noise: float = 0.0,
        action_bounds: ArrayLike | None = None,
        output_bounds: ArrayLike | None = None,
    ) -> None:
        self._models = checked_models(model, rollout)
        self.model = first = self._models[0]
        self._rollout, self._reward = rollout, reward
        self._n_steps = positive_int("n_steps", n_steps)
        at_least("observation_noise", observation_noise, 0)
        at_least("process_noise", process_noise, 0)
        self._runs = None if data is None else _checked_runs(first, data)
        box = _action_box(first, action_bounds, self._runs)
        p = first.coordinates.n_observations
        self.observation_space = gym.spaces.Box(-np.inf, np.inf, (p,), np.float64)
        self.action_space = gym.spaces.Box(box[0], box[1], dtype=np.float64)
        self.dt, d = first.dt, first.coordinates.n_outputs
        self._bounds = None
        if output_bounds is not None:
            self._bounds = bounds_array("output_bounds", output_bounds, d)
        scale, mean = state_scale(first), state_mean(first)
        self._noise = observation_noise * scale[:d], process_noise * scale[:d]
        self._edge = np.stack([mean - FAR * scale, mean + FAR * scale])
        self._edge[:, first.coordinates.is_angle] = [[-np.inf], [np.inf]]
        self._active: LiftedModel | None = None

    @checked
    def reset(
        self, *, seed: int | None = None, options: Mapping[str, Any] | None = None
    ) -> tuple[Array, dict[str, Any]]:
        """Start an episode; `options` may hold "observation", (p,), and "model", its index.

        Raises:
            ValueError: If an option is unknown, or of the wrong shape.
        """
        super().reset(seed=None if seed is None else seed_number("seed", seed))
        asked = dict(options or {})
        self._which = int(self.np_random.integers(len(self._models)))
        self._y, self._x = self._start()
        if "model" in asked:
            self._which = positive_int("model", asked.pop("model"), minimum=0)
        if "observation" in asked:
            given = asked.pop("observation")
            self._y = finite_array("observation", given, shape=self._y.shape).copy()
            self._x = self.model.state(self._y)
        if asked or self._which >= len(self._models):
            raise ValueError(
                f"options is {options}; expected observation, and model below {len(self._models)}"
            )
        self._active, self._step = self._models[self._which], 0
        rest = np.clip(np.zeros(self.model.n_inputs), *self._box)
        self._pending = deque([rest] * self.model.input_delay)
        self._z = None if self._rollout == "relifted" else self._active.lift(self._x)
        return self._observed(), self._info()

    def step(self, action: ArrayLike) -> tuple[Array, float, bool, bool, dict[str, Any]]:
        """Hold one action for a step; actions beyond the box are clipped to it."""
        if self._active is None:
            raise ValueError("no episode has begun; call reset first")
        u = finite_array("action", action, shape=(self.model.n_inputs,))
        u = np.clip(u, *self._box)
        before = self._y.copy()
        self._pending.append(u)
        self._advance(self._active, self._pending.popleft())
        self._step += 1
        reward = 0.0 if self._reward is None else float(self._reward(before, u, self._y.copy()))
        return self._observed(), reward, False, self._step >= self._n_steps, self._info()

    @property
    def state(self) -> Array:
        """The current state (d,), without observation noise."""
        return self._x.copy()

    @property
    def _box(self) -> tuple[Array, Array]:
        space: Any = self.action_space
        return space.low, space.high

    def _advance(self, model: LiftedModel, u: Array) -> None:
        """Move the state on by a step under an input that acts."""
        d, x = model.coordinates.n_outputs, self._x
        with np.errstate(all="ignore"):  # a model may well run away
            if self._z is None:
                x = model.one_step.step(x[None], u[None])[0]
            else:
                v = model.signals.lifted_inputs(u[None])[0]
                z = model.A @ self._z + model.B @ v
                if self._rollout == "bilinear" and model.N is not None:
                    z = z + np.tensordot(v, model.N, 1) @ self._z
                self._z, x = z, model.C @ z
            added = self._noise[1] * self.np_random.normal(size=d)
            x = np.nan_to_num(x, nan=0.0, posinf=np.inf, neginf=-np.inf)
            x[:d] += added
            if model.coordinates.memory:  # whose first entry is the step that led here
                x[d : 2 * d] += added
        self._x = np.clip(x, *self._edge)
        if self._z is not None and (added.any() or (self._x != x).any()):
            self._z = model.lift(self._x)
        self._y = self._embedded(self._x, self._y)

    def _embedded(self, x: Array, y: Array) -> Array:
        """Write a state (d,) into an observation (p,) whose other columns stay."""
        seen = y.copy()
        for value, column in zip(x, self.model.coordinates.columns, strict=False):
            if not isinstance(column, tuple):
                seen[column] = value
            elif len(column) == 1:
                seen[column[0]] = (value + np.pi) % (2.0 * np.pi) - np.pi
            else:
                seen[list(column)] = np.cos(value), np.sin(value)
        return seen

    def _observed(self) -> Array:
        noise = self._noise[0]
        if not noise.any():
            return self._y.copy()
        x = self._x[: len(noise)] + noise * self.np_random.normal(size=len(noise))
        return self._embedded(x, self._y)

    def _info(self) -> dict[str, Any]:
        assert self._active is not None
        with np.errstate(all="ignore"):
            distance = float(self._active.distance(self._x))
        info: dict[str, Any] = {"distance": distance, "out_of_data": distance > 1.0}
        info["model"] = self._which
        if self._bounds is not None:
            low, high = self._bounds
            x = self._x[: len(low)]
            info["violation"] = float(np.maximum(0.0, np.maximum(low - x, x - high)).sum())
        return info

    def _start(self) -> tuple[Array, Array]:
        """Draw an observation (p,) and the state (d,) that goes with it."""
        rng, model = self.np_random, self.model
        if self._runs is None:
            x = state_mean(model) + state_scale(model) * rng.normal(size=model.n_states)
            x = np.clip(x, *model.limits)
            return self._embedded(x, np.zeros(model.coordinates.n_observations)), x
        memory = model.coordinates.memory
        run = self._runs[int(rng.integers(len(self._runs)))]
        k = memory + int(rng.integers(len(run.observations) - memory))
        past = run.observations[k - memory : k + 1]
        x = model.coordinates.along(past, run.actions[k - memory : k])[-1]
        return run.observations[k].copy(), x


def _checked_runs(model: LiftedModel, data: Trajectory | Sequence[Trajectory]) -> list[Trajectory]:
    """Check that trajectories are of the model's plant and longer than its memory."""
    runs = check_trajectories(data)
    shape = runs[0].observations.shape[1], runs[0].actions.shape[1]
    expected = model.coordinates.n_observations, model.n_inputs
    if shape != expected:
        raise ValueError(
            f"data has {shape[0]} observations and {shape[1]} actions; expected {expected[0]} and "
            f"{expected[1]}, as the model was fitted on"
        )
    long = [run for run in runs if len(run) >= model.coordinates.memory]
    if not long:
        raise ValueError(f"data has no run as long as the memory, {model.coordinates.memory}")
    return long


def _action_box(
    model: LiftedModel, given: ArrayLike | None, runs: Sequence[Trajectory] | None
) -> Array:
    if given is None:
        given = model.action_bounds
    if given is None and runs is not None:
        actions = np.concatenate([run.actions for run in runs])
        given = np.stack([actions.min(axis=0), actions.max(axis=0)])
    if given is None:
        raise ValueError(
            "action_bounds is None, and neither the model nor data tell any; give (low, high)"
        )
    box = bounds_array("action_bounds", given, model.n_inputs)
    if not np.isfinite(box).all():
        raise ValueError(f"action_bounds is {box.tolist()}; expected finite numbers")
    if model.coordinates.memory and runs is None:
        raise ValueError("data is None; expected trajectories, which fill the model's memory")
    return box


@checked
def tracking_reward(mpc: KoopmanMPC) -> Reward:
    """Return minus the controller's own cost of a step, for `ModelEnv`.

    |x - r|_Q^2 + |u - u_r|_R^2 + linear costs, with the weights of the first step, r and u_r being
    those at the observation; angles count the short way round. Changes, terminal costs and added
    terms are left out, and so are targets that move with time: their first row is taken.

    Args:
        mpc: The controller.
    """
    return _TrackingReward(mpc)


class _TrackingReward:
    """See `tracking_reward`; a class, so that it travels to other processes."""

    def __init__(self, mpc: KoopmanMPC) -> None:
        w, d = mpc._weights, mpc.model.coordinates.n_outputs
        n = len(mpc._scenarios.models)
        self._Q, self._R = w.Q[0][:d, :d] * n, w.R[0]
        self._linear = w.linear_output[0][:d] * n, w.linear_input[0]
        self._targets, self._coordinates = mpc._targets, mpc.model.coordinates
        self._controlled, self._d = mpc._layout.controlled, d

    def __call__(self, observation: Array, action: Array, then: Array) -> float:
        """Return the reward of the step that led to the observation `then`."""
        r, v = (target(observation, 0)[0] for target in self._targets)
        x = self._coordinates._now(then)
        wrapped = np.zeros(self._coordinates.dim)
        wrapped[: self._d] = x - r[: self._d]
        e, u = self._coordinates.wrap(wrapped)[: self._d], action[self._controlled]
        cost = e @ self._Q @ e + (u - v) @ self._R @ (u - v)
        return -float(cost + self._linear[0] @ x + self._linear[1] @ u)
