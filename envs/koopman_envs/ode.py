"""Environments given by an ordinary differential equation x' = f(x, u).

The input is held constant over a time step (zero-order hold) and the state advances by classical
Runge–Kutta steps in float64. A subclass states parameters, right-hand side, resets, cost and
picture; spaces, checks, seeding and rendering are done here once.
"""

from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping
from typing import Any, ClassVar

import gymnasium as gym
import numpy as np
from numpy.typing import NDArray

from koopman_envs.drawing import Canvas, Window

Array = NDArray[np.float64]
Dynamics = Callable[[Array, Array], Array]


def rk4_step(dynamics: Dynamics, x: Array, u: Array, dt: float) -> Array:
    """One classical fourth-order Runge–Kutta step of x' = dynamics(x, u) with u held.

    Args:
        dynamics: Right-hand side, (..., n), (..., m) -> (..., n).
        x: States (..., n).
        u: Inputs (..., m).
        dt: Length of the step in seconds.

    Returns:
        The states dt later, (..., n).
    """
    k1 = dynamics(x, u)
    k2 = dynamics(x + (0.5 * dt) * k1, u)
    k3 = dynamics(x + (0.5 * dt) * k2, u)
    k4 = dynamics(x + dt * k3, u)
    return x + (dt / 6.0) * (k1 + 2.0 * (k2 + k3) + k4)


class ODEEnv(gym.Env[Array, NDArray[np.float32]], ABC):
    """Base class: fixed-step simulation, normalised actions, quadratic-style cost.

    The action box is [-1, 1]^m; the physical input is ``action * input_high``. The reward is minus
    the stage cost of the state *before* the step and the input applied in it, as in Pendulum-v1.

    ``reset(options={"state": ..., "reference": ...})`` starts from a chosen state or set-point.

    Args:
        render_mode: None, "rgb_array" or "human".
    """

    # Gymnasium declares this as an attribute of the instance, so it cannot be a ClassVar.
    metadata = {"render_modes": ["rgb_array", "human"], "render_fps": 50}  # noqa: RUF012

    dt: ClassVar[float]
    """Seconds between two observations."""
    substeps: ClassVar[int] = 1
    """Runge–Kutta steps per time step."""
    state_high: ClassVar[tuple[float, ...]]
    """A chosen initial state lies within plus or minus this."""
    observation_high: ClassVar[tuple[float, ...]]
    """Observations stay within plus or minus this, whatever the inputs."""
    input_high: ClassVar[tuple[float, ...]]
    """Largest magnitude of each physical input."""
    reference_high: ClassVar[tuple[float, ...]] = ()
    """A chosen reference lies within plus or minus this."""

    def __init__(self, render_mode: str | None = None) -> None:
        if render_mode not in (None, *self.metadata["render_modes"]):
            raise ValueError(
                f"render_mode is {render_mode!r}; choose None or one of "
                f"{self.metadata['render_modes']}"
            )
        self.render_mode = render_mode
        high = np.array(self.observation_high, dtype=np.float64)
        one = np.ones(len(self.input_high), dtype=np.float32)
        self.observation_space = gym.spaces.Box(-high, high, dtype=np.float64)
        self.action_space = gym.spaces.Box(-one, one, dtype=np.float32)
        self.state: Array = np.zeros(len(self.state_high))
        self.reference: Array = np.zeros(len(self.reference_high))
        self._trail: list[Array] = []
        self._window: Window | None = None

    # What a subclass states ---------------------------------------------------------------------

    @abstractmethod
    def dynamics(self, x: Array, u: Array) -> Array:
        """Right-hand side f(x, u), (..., n), (..., m) -> (..., n)."""

    @abstractmethod
    def sample_state(self, rng: np.random.Generator) -> Array:
        """Draw an initial state (n,)."""

    @abstractmethod
    def stage_cost(self, x: Array, u: Array) -> float:
        """Cost of one time step at state x (n,) with physical input u (m,)."""

    @abstractmethod
    def draw(self, canvas: Canvas, trail: Array) -> None:
        """Draw the current state; trail (k, n) holds the states since the reset."""

    def sample_reference(self, rng: np.random.Generator) -> Array:
        """Draw the reference of an episode (q,); zero unless overridden."""
        return np.zeros(len(self.reference_high))

    def observe(self) -> Array:
        """Return the current observation (p,); the state followed by the reference by default."""
        return np.concatenate([self.state, self.reference])

    def violation(self, x: Array) -> float:
        """By how much state x (n,) breaks the task's constraints; 0 where there are none."""
        return 0.0

    # What Gymnasium calls -----------------------------------------------------------------------

    def reset(
        self, *, seed: int | None = None, options: dict[str, Any] | None = None
    ) -> tuple[Array, dict[str, Any]]:
        """Start an episode; see the class for ``options``."""
        super().reset(seed=seed)
        chosen = _checked_options(options, state=self.state_high, reference=self.reference_high)
        # Both are always drawn, so a chosen state does not change which reference a seed gives.
        state, reference = self.sample_state(self.np_random), self.sample_reference(self.np_random)
        self.state = chosen.get("state", state)
        self.reference = chosen.get("reference", reference)
        self._trail = [self.state]
        self._show()
        return self.observe(), {"violation": self.violation(self.state)}

    def step(self, action: NDArray[np.float32]) -> tuple[Array, float, bool, bool, dict[str, Any]]:
        """Hold one action for dt seconds; actions beyond the box are clipped to it."""
        u = self._input(action)
        cost = self.stage_cost(self.state, u)
        x = self.state
        for _ in range(self.substeps):
            x = rk4_step(self.dynamics, x, u, self.dt / self.substeps)
        self.state = x
        if self.render_mode is not None:
            self._trail.append(x)
        self._show()
        return self.observe(), -float(cost), False, False, {"violation": self.violation(x)}

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

    def _input(self, action: NDArray[np.float32]) -> Array:
        a = np.asarray(action, dtype=np.float64)
        if a.shape != self.action_space.shape:
            raise ValueError(
                f"action has shape {a.shape}; {type(self).__name__} expects "
                f"{self.action_space.shape}"
            )
        if not np.isfinite(a).all():
            raise ValueError(f"action is {a}; {type(self).__name__} expects finite numbers")
        u: Array = np.clip(a, -1.0, 1.0) * np.asarray(self.input_high)
        return u

    def _picture(self) -> Canvas:
        canvas = Canvas()
        self.draw(canvas, np.array(self._trail))
        return canvas

    def _show(self) -> None:
        if self.render_mode == "human":
            if self._window is None:
                self._window = Window(type(self).__name__, self.metadata["render_fps"])
            self._window.show(self._picture())


def _checked_options(
    options: Mapping[str, Any] | None, **limits: tuple[float, ...]
) -> dict[str, Array]:
    """Return the given reset options as float64 vectors within their limits."""
    checked: dict[str, Array] = {}
    for name, value in (options or {}).items():
        if name not in limits:
            raise ValueError(f"unknown reset option {name!r}; known are {sorted(limits)}")
        high = np.asarray(limits[name])
        vector = np.array(value, dtype=np.float64)
        if vector.shape != high.shape:
            raise ValueError(
                f"reset option {name!r} has shape {vector.shape}; expected {high.shape}"
            )
        if not (np.abs(vector) <= high).all():
            raise ValueError(
                f"reset option {name!r} is {vector}; expected every entry within ±{high}"
            )
        checked[name] = vector
    return checked
