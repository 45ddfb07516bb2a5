"""Swimmer-v5: the best swimming stroke of six numbers, found on the true simulator.

    python -m examples.references.swimmer --store

Both joints follow sines of one frequency with a phase between them, by proportional-derivative
control, and bend a little to steer against the heading. The cross-entropy method chooses the six
numbers by whole episodes of the simulator, on reset seeds that are not reported.
"""

from __future__ import annotations

from typing import Annotated, Any

import gymnasium as gym
import numpy as np
import typer

from examples.references.episodes import outcomes, store
from koopman_control.common import Array
from koopman_control.evaluation.episode import run_episode

ENV_ID = "Swimmer-v5"
NAME = "optimised stroke, true simulator"
HOW = (
    "both joints follow phase-shifted sines by proportional-derivative control and steer; the "
    "cross-entropy method chose the six numbers by episodes of the simulator with reset seed 0"
)
# amplitude in rad, frequency in rad a step, phase of the second joint, gains of angle, speed and
# steering
MEAN = np.array([1.0, 0.17, -1.1, 7.0, 0.7, 0.0])
SPREAD = np.array([0.3, 0.04, 0.3, 3.0, 0.4, 0.2])
TUNING_SEED = 0
CANDIDATES, ELITE = 24, 6


class Stroke:
    """Plays the stroke given by six numbers."""

    def __init__(self, numbers: Array) -> None:
        self._numbers, self._step = numbers, 0

    def reset(self) -> None:
        self._step = 0

    def act(self, observation: Array) -> Array:
        amplitude, frequency, phase, angle_gain, speed_gain, steering = self._numbers
        swing = amplitude * np.sin(frequency * self._step + np.array([0.0, phase]))
        self._step += 1
        heading, angles, speeds = observation[0], observation[1:3], observation[6:8]
        off = swing + steering * heading - angles
        action: Array = np.clip(angle_gain * off - speed_gain * speeds, -1.0, 1.0)
        return action


def optimised(env: gym.Env[Any, Any], generations: int) -> Array:
    """Return the numbers of the best stroke, by the cross-entropy method."""
    rng, mean, spread = np.random.default_rng(0), MEAN, SPREAD
    best, best_score = mean, -np.inf
    for generation in range(generations):
        candidates = mean + spread * rng.standard_normal((CANDIDATES, len(mean)))
        scores = np.array([score(env, numbers) for numbers in candidates])
        elite = candidates[np.argsort(scores)[-ELITE:]]
        if scores.max() > best_score:
            best, best_score = elite[-1], scores.max()
        mean, spread = elite.mean(axis=0), elite.std(axis=0) + 0.02 * SPREAD
        print(f"generation {generation}: best {scores.max():.1f}, mean {scores.mean():.1f}")
    print("stroke:", best.round(4).tolist(), flush=True)
    return best


def score(env: gym.Env[Any, Any], numbers: Array) -> float:
    """Return the return of a stroke on the tuning seed."""
    return run_episode(Stroke(numbers), env, TUNING_SEED).episode_return


def main(
    generations: Annotated[int, typer.Option(min=1)] = 15,
    save: Annotated[bool, typer.Option("--store", help="Into references.json.")] = False,
) -> None:
    """Optimise the stroke and swim it on the evaluation seeds."""
    env = gym.make(ENV_ID)
    found = outcomes(env, Stroke(optimised(env, generations)), NAME)
    if save:
        store(ENV_ID, "reference", NAME, HOW, found, packages=["mujoco"])


if __name__ == "__main__":
    typer.run(main)
