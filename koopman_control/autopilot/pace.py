"""The pace of decisions: how many steps of the environment one input is held for.

Environments step as fast as their integrators need. A decision every few steps sees as far with
fewer of them, and what one does stands out from rounding and noise.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import ArrayLike

from koopman_control.common.arrays import Array
from koopman_control.trajectories import HeldUniform, Trajectory

HOLDS = (1, 2, 4)  # steps that a decision may last
STEPS = (1, 2)  # steps of the environment that a step of the model may last
CHANGE = 0.25  # of a state's spread, which may pass in one decision
FINE = 0.15  # and in a step of the model


@dataclass(frozen=True)
class Exploration:
    """Uniform inputs held for 1 to 4 times the longest decision.

    Data at any of the paces can then be read from them.

    Args:
        share: Of the range of each input that is used, about its middle.
    """

    share: float = 1.0

    def sample(
        self, n_steps: int, low: ArrayLike, high: ArrayLike, rng: np.random.Generator
    ) -> Array:
        """Draw (n_steps, m) inputs."""
        k = HOLDS[-1]
        low, high = np.asarray(low), np.asarray(high)
        spare = 0.5 * (1.0 - self.share) * (high - low)
        signal = HeldUniform(hold=(1, 4))
        blocks = signal.sample(-(-n_steps // k), low + spare, high - spare, rng)
        return np.asarray(np.repeat(blocks, k, axis=0)[:n_steps])


def pace_of(
    data: Sequence[Trajectory], choices: Sequence[int] = HOLDS, change: float = CHANGE
) -> int:
    """Return for how many steps to hold an input: until the fastest state has moved noticeably.

    Args:
        data: Data at the pace of the environment.
        choices: Steps to choose from, rising.
        change: Share of its spread that a state may move, as a root mean square.
    """
    spread = np.concatenate([t.observations for t in data]).std(axis=0)
    moving, best = spread > 0.0, choices[0]
    for k in choices[1:]:
        steps = [t.observations[k:] - t.observations[:-k] for t in data if len(t) > k]
        if not steps or not moving.any():
            break
        moved = np.sqrt((np.concatenate(steps) ** 2).mean(axis=0))[moving] / spread[moving]
        if moved.max() > change:
            break
        best = k
    return best


def at_pace(data: Sequence[Trajectory], k: int) -> list[Trajectory]:
    """Read data whose inputs are held for k steps from each reset as one step per decision.

    Rewards are summed. A last decision that was not finished is left out, unless the episode ended
    in it.
    """
    if k == 1:
        return list(data)
    out = []
    for t in data:
        n = len(t) // k
        last = t.terminated and n * k < len(t)
        edges = np.append(np.arange(n) * k, [n * k] if last else []).astype(int)
        if not len(edges):
            continue
        rewards = None
        if t.rewards is not None:
            whole = t.rewards if last else t.rewards[: n * k]
            rewards = np.add.reduceat(whole, edges)
        seen = np.append(edges, len(t) if last else n * k)
        ended = t.terminated and seen[-1] == len(t)
        out.append(
            replace(
                t,
                observations=t.observations[seen],
                actions=t.actions[edges],
                rewards=rewards,
                dt=None if t.dt is None else k * t.dt,
                terminated=ended,
                truncated=not ended,
            )
        )
    return out
