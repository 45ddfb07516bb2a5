"""How well can koopman_envs/KortewegDeVries-v0 be controlled at all?

The whole episode's 3,000 inputs are optimised at once by L-BFGS-B, many seeds side by side, with
the exact gradient of the environment's own integrator, by its adjoint. To be quick, plans are made
on 64 points and with one integrator step per time step, which is off by less than 0.0001 after a
whole episode; what counts is the return of the plan in the stock environment.

    python -m examples.references.korteweg_de_vries --store
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Annotated, Any

import gymnasium as gym
import numpy as np
import typer
from numpy.typing import NDArray
from scipy.optimize import minimize

import koopman_envs
from examples.references.episodes import SEEDS, outcomes, store
from koopman_control.common import Array
from koopman_control.trajectories.environments import Environment
from koopman_envs.korteweg_de_vries import FORCING
from koopman_envs.ring import POINTS

ENV_ID = "koopman_envs/KortewegDeVries-v0"
NAME = "optimal control, true model"
HOW = (
    "optimal control of the whole episode: L-BFGS-B on all inputs with adjoint gradients of the "
    "same equation and integrator on 64 points, played in the environment"
)
COARSE, STEP, N = 64, 0.01, 1000
BATCH = 10  # seeds optimised side by side
PUSH = 0.056  # heights a second that one actuator adds to the mean
Spectrum = NDArray[np.complex128]


class Waves:
    """Cost of input sequences and its gradient, for several episodes side by side.

    The adjoint spectra are kept divided by the weights that a half spectrum's inner product needs,
    so the transforms are their own adjoints but for complex conjugation.

    Args:
        states: Initial heights (B, 128).
        heights: Wanted heights (B,).
    """

    def __init__(self, states: Array, heights: Array) -> None:
        kept = COARSE // 2 + 1
        waves = np.arange(kept)
        derivative = 1j * np.where(waves < COARSE // 2, waves, 0.0)
        linear = -(derivative**3)
        divisor = np.where(linear == 0.0, 1.0, linear)
        self.half, self.full = np.exp(0.5 * STEP * linear), np.exp(STEP * linear)
        self.push_half = np.where(linear == 0.0, 0.5 * STEP, (self.half - 1.0) / divisor)
        self.push_full = np.where(linear == 0.0, STEP, (self.full - 1.0) / divisor)
        self.factors = -0.5 * derivative * (waves < COARSE / 3)
        self.weights = np.where((waves == 0) | (waves == COARSE // 2), 1.0, 2.0)
        share = COARSE / POINTS
        self.forcing = share * FORCING[:, :kept]
        self.first = share * np.fft.rfft(states)[:, :kept]
        self.goal = np.zeros_like(self.first)
        self.goal[:, 0] = COARSE * heights

    def cost_and_gradient(self, flat: Array) -> tuple[float, Array]:
        """Return the summed cost of inputs (N * B * 3,) and its gradient."""
        inputs = flat.reshape(N, len(self.first), 3)
        spectra, stages = self._forward(inputs)
        off = spectra - self.goal
        cost = float(np.sum(self.weights * (off.real**2 + off.imag**2))) / COARSE**2
        gradient = np.empty_like(inputs)
        adjoint = np.zeros_like(self.first)
        projection = (self.weights * self.forcing.conj()).T
        for k in reversed(range(N)):
            adjoint, force = self._back(adjoint, stages[k])
            adjoint = adjoint + (2.0 / COARSE**2) * off[k]
            gradient[k] = (force @ projection).real
        return cost, gradient.ravel()

    def _forward(self, inputs: Array) -> tuple[Spectrum, list[tuple[Array, ...]]]:
        """Return the spectra (N, B, 33) before each step and the heights at its four stages."""
        wave, h = self.first, STEP
        spectra: Spectrum = np.empty((N, *wave.shape), np.complex128)
        stages: list[tuple[Array, ...]] = []
        for k, force in enumerate(inputs @ self.forcing):
            spectra[k] = wave
            middle = self.half * wave + self.push_half * force
            end = self.full * wave + self.push_full * force
            k1, y1 = self._of_square(wave)
            k2, y2 = self._of_square(middle + 0.5 * h * (self.half * k1))
            k3, y3 = self._of_square(middle + 0.5 * h * k2)
            k4, y4 = self._of_square(end + h * (self.half * k3))
            wave = end + (h / 6.0) * (self.full * k1 + 2.0 * (self.half * (k2 + k3)) + k4)
            stages.append((y1, y2, y3, y4))
        return spectra, stages

    def _of_square(self, wave: Spectrum) -> tuple[Spectrum, Array]:
        y: Array = np.fft.irfft(wave)
        return self.factors * np.fft.rfft(y * y), y

    def _back(self, g: Spectrum, stages: tuple[Array, ...]) -> tuple[Spectrum, Spectrum]:
        """Carry the adjoint over a step; return it and that of the forcing."""
        h, half, full = STEP, self.half.conj(), self.full.conj()
        y1, y2, y3, y4 = stages
        a4 = self._of_square_back((h / 6.0) * g, y4)
        end = g + a4
        a3 = self._of_square_back((h / 3.0) * (half * g) + h * (half * a4), y3)
        a2 = self._of_square_back((h / 3.0) * (half * g) + (0.5 * h) * a3, y2)
        a1 = self._of_square_back((h / 6.0) * (full * g) + (0.5 * h) * (half * a2), y1)
        middle = a2 + a3
        before = a1 + half * middle + full * end
        return before, self.push_half.conj() * middle + self.push_full.conj() * end

    def _of_square_back(self, g: Spectrum, y: Array) -> Spectrum:
        return np.fft.rfft(2.0 * y * np.fft.irfft(self.factors.conj() * g))


def plans(states: Array, heights: Array, iterations: int) -> Array:
    """Return good inputs (B, N, 3) for initial heights (B, 128) and wanted heights (B,)."""
    # The start pushes with full strength until the mean is right.
    missing = heights - states.mean(axis=1)
    pushing = np.arange(N)[:, None] * STEP * 3.0 * PUSH < np.abs(missing)
    first = np.repeat((pushing * np.sign(missing))[:, :, None], 3, axis=2)
    found = minimize(
        Waves(states, heights).cost_and_gradient,
        first.ravel(),
        jac=True,
        method="L-BFGS-B",
        bounds=[(-1.0, 1.0)] * first.size,
        options={"maxiter": iterations, "maxcor": 20, "ftol": 1e-9, "gtol": 1e-7},
    )
    inputs: Array = found.x.reshape(first.shape).swapaxes(0, 1)
    return inputs


class Planned:
    """Plays the plans, which it makes for a batch of seeds when it meets the first of them."""

    def __init__(self, env: Environment, seeds: range, iterations: int) -> None:
        self._env, self._seeds, self._iterations = env, seeds, iterations
        self._plans: dict[int, Array] = {}
        self._actions: Iterator[Any] = iter(())

    def seed(self, seed: int) -> None:
        self._seed = seed

    def reset(self) -> None:
        if self._seed not in self._plans:
            batch = range(self._seed, min(self._seed + BATCH, self._seeds.stop))
            starts = [self._start(seed) for seed in batch]
            states, heights = (np.array(part) for part in zip(*starts, strict=True))
            inputs = plans(states, heights[:, 0], self._iterations)
            self._plans = dict(zip(batch, inputs, strict=True))
        self._actions = iter(self._plans[self._seed])

    def act(self, observation: Array) -> Array:
        action: Array = next(self._actions)
        return action

    def _start(self, seed: int) -> tuple[Array, Array]:
        plant = gym.make(ENV_ID).unwrapped
        assert isinstance(plant, koopman_envs.ODEEnv)
        plant.reset(seed=seed)
        return plant.state, plant.reference


def main(
    first_seed: int = SEEDS[0],
    episodes: Annotated[int, typer.Option(min=1)] = len(SEEDS),
    iterations: Annotated[int, typer.Option(min=1, help="Of L-BFGS-B.")] = 80,
    save: Annotated[bool, typer.Option("--store", help="Into references.json.")] = False,
) -> None:
    """Play the whole-episode optimum of the true model on each seed."""
    env, seeds = gym.make(ENV_ID), range(first_seed, first_seed + episodes)
    found = outcomes(env, Planned(env, seeds, iterations), NAME, seeds)
    if save:
        store(ENV_ID, "reference", NAME, HOW, found, packages=["scipy"])


if __name__ == "__main__":
    typer.run(main)
