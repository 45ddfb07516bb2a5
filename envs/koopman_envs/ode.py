"""Environments given by an ordinary differential equation x' = f(x, u).

The input is held constant over a time step (zero-order hold) and the state advances by fixed steps
in float64. A subclass states the facts of :class:`~koopman_envs.plant.Plant`; spaces, checks,
options, seeding and rendering are done here once.
"""

from collections import deque
from collections.abc import Mapping, Sequence
from math import isfinite
from typing import Any

import gymnasium as gym
import numpy as np
from numpy.typing import NDArray

from koopman_control.common.border import at_least, checked, shown
from koopman_envs import checks
from koopman_envs.drawing import Canvas, Window
from koopman_envs.plant import Plant

Array = NDArray[np.float64]


class ODEEnv(Plant, gym.Env[Array, NDArray[np.float32]]):
    """One copy of a plant, stepped in plain Python floats.

    The action box is [-1, 1]^m and maps linearly onto input_low … input_high. The reward is minus
    the stage cost of the state *before* the step and the input applied in it, as in Pendulum-v1.
    The observation is the plant's outputs followed by the reference.
    ``info["violations"]`` names by how much the new state breaks each constraint and
    ``info["violation"]`` is their sum.

    ``reset(options={"state": ..., "reference": ...})`` starts from a chosen state or set-point.

    Args:
        render_mode: None, "rgb_array" or "human".
        observation_noise: Standard deviation of Gaussian noise on the outputs, as a share of half
            the range of each; noisy outputs are clipped to their range.
        actuator_delay: Time steps between an action and its effect; until the first arrives, the
            input is that of action 0.
        mismatch: Factors of at least 0 that multiply the named parameters.
        observed: Indices of the outputs that are observed; None for all.
    """

    # Gymnasium declares this as an attribute of the instance, so it cannot be a ClassVar.
    metadata = {"render_modes": ["rgb_array", "human"], "render_fps": 50}  # noqa: RUF012

    @checked
    def __init__(
        self,
        render_mode: str | None = None,
        *,
        observation_noise: float = 0.0,
        actuator_delay: int = 0,
        mismatch: Mapping[str, float] | None = None,
        observed: Sequence[int] | None = None,
    ) -> None:
        self.render_mode = checks.render_mode(render_mode, self.metadata["render_modes"])
        self.parameters = checks.mismatched(self.parameters, mismatch)
        at_least("actuator_delay", actuator_delay, 0)
        at_least("observation_noise", observation_noise, 0)
        self.delay = int(actuator_delay)
        self.observed = checks.observed(observed, len(self.observation_high))
        self._everything = self.observed == list(range(len(self.observation_high)))
        self._set_spaces()
        if mismatch:
            middle = [0.5 * (a + b) for a, b in zip(self.state_low, self.state_high, strict=True)]
            checks.finite_rates(self.rates, middle, self.input_center, mismatch)
        scale = 0.5 * (self.highest - self.lowest)[: len(self.observed)]
        self.noise = float(observation_noise) * scale if observation_noise else None
        self._x = [0.0] * len(self.state_high)
        self._r = [0.0] * len(self.reference_high)
        self._queue: deque[list[float]] = deque()
        self._running = False
        self._trail: list[Array] = []
        self._window: Window | None = None

    def _set_spaces(self) -> None:
        pick = self.observed
        self.lowest = np.array([*np.take(self.observation_low, pick), *self.reference_low])
        self.highest = np.array([*np.take(self.observation_high, pick), *self.reference_high])
        one = np.ones(len(self.input_high), dtype=np.float32)
        self.observation_space = gym.spaces.Box(self.lowest, self.highest, dtype=np.float64)
        self.action_space = gym.spaces.Box(-one, one, dtype=np.float32)
        ends = list(zip(self.input_low, self.input_high, strict=True))
        self.input_center = [0.5 * (a + b) for a, b in ends]
        self.input_half = [0.5 * (b - a) for a, b in ends]
        self._input_map = list(zip(self.input_center, self.input_half, strict=True))

    @property
    def state(self) -> Array:
        """The current state (n,)."""
        return np.array(self._x)

    @property
    def reference(self) -> Array:
        """The current reference (q,)."""
        return np.array(self._r)

    # What Gymnasium calls -----------------------------------------------------------------------

    @checked
    def reset(
        self, *, seed: int | None = None, options: Mapping[str, Any] | None = None
    ) -> tuple[Array, dict[str, Any]]:
        """Start an episode; see the class for ``options``."""
        super().reset(seed=checks.seed(seed))
        chosen = self.checked_reset(options)
        # Both are always drawn, so a chosen state does not change which reference a seed gives.
        state, reference = self.sample_state(self.np_random), self.sample_reference(self.np_random)
        self.place(chosen.get("state", state), chosen.get("reference", reference))
        self._queue = deque(list(self.input_center) for _ in range(self.delay))
        self._running = True
        self._show()
        return self._observe(), self._info()

    def step(self, action: NDArray[np.float32]) -> tuple[Array, float, bool, bool, dict[str, Any]]:
        """Hold one action for dt seconds; actions beyond the box are clipped to it."""
        if not self._running:
            raise gym.error.ResetNeeded(
                f"the episode of {type(self).__name__} is over or has not begun; call reset() first"
            )
        u = self._input(action)
        if self.delay:
            self._queue.append(u)
            u = self._queue.popleft()
        reward = -float(self.cost(self._x, u, self._r))
        self._x = [float(a) for a in self.limit(self.advance(self._x, u))]
        self._r = list(self.next_reference(self._r))
        terminated = bool(self.leaves(self._x))
        self._running = not terminated
        if self.render_mode is not None:
            self._trail.append(self.state)
            self._show()
        return self._observe(), reward, terminated, False, self._info()

    def render(self) -> NDArray[np.uint8] | None:
        """Return the picture (height, width, 3) in mode "rgb_array"; "human" shows it by itself."""
        if self.render_mode != "rgb_array":
            return None
        return self._picture().image()

    def close(self) -> None:
        """Close the window, if there is one."""
        if self._window is not None:
            self._window.close()
            self._window = None

    # What the vector version shares -------------------------------------------------------------

    def checked_reset(
        self, options: Mapping[str, Any] | None, copies: tuple[int, ...] = ()
    ) -> dict[str, Array]:
        """Return the chosen state and reference of reset options, as far as given."""
        return checks.reset_options(
            options,
            copies,
            state=(self.state_low, self.state_high),
            reference=(self.reference_low, self.reference_high),
        )

    def place(self, state: Array, reference: Array) -> None:
        """Put the plant into a state (n,) with a reference (q,), for the picture as well."""
        self._x, self._r = state.tolist(), reference.tolist()
        self._trail = [state]

    # Parts --------------------------------------------------------------------------------------

    def _input(self, action: NDArray[np.float32]) -> list[float]:
        known = type(action) is np.ndarray and action.dtype.kind == "f"
        a = action if known else checks.numbers("action", action)
        name = type(self).__name__
        if a.shape != self.action_space.shape:
            raise ValueError(
                f"action has shape {a.shape}; {name} expects {self.action_space.shape}"
            )
        u = []
        for v, (center, half) in zip(a.tolist(), self._input_map, strict=True):
            if not isfinite(v):
                raise ValueError(f"action is {shown(a)}; {name} expects finite numbers")
            u.append(center + half * (-1.0 if v < -1.0 else min(v, 1.0)))
        return u

    def _observe(self) -> Array:
        y = self.outputs(self._x)
        if not self._everything:
            y = [y[i] for i in self.observed]
        observation = np.array([*y, *self._r], dtype=np.float64)
        if self.noise is not None:
            observation[: len(y)] += self.noise * self.np_random.standard_normal(len(y))
            np.clip(observation, self.lowest, self.highest, out=observation)
        return observation

    def _info(self) -> dict[str, Any]:
        named = {name: float(amount) for name, amount in self.violations(self._x).items()}
        return {"violation": sum(named.values()) if named else 0.0, "violations": named}

    def _picture(self) -> Canvas:
        canvas = Canvas()
        self.draw(canvas, np.array(self._trail))
        return canvas

    def _show(self) -> None:
        if self.render_mode == "human":
            if self._window is None:
                self._window = Window(type(self).__name__, self.metadata["render_fps"])
            self._window.show(self._picture())
