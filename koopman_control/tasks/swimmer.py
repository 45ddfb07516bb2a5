"""Swimmer-v5: swim forward with a body of three links, by bending its two joints (MuJoCo)."""

from __future__ import annotations

import time
from collections.abc import Sequence
from contextlib import closing
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from koopman_control.common import Array, PathLike
from koopman_control.evaluation import Learned
from koopman_control.evaluation.learn import carrying
from koopman_control.identification import LiftedModel
from koopman_control.mpc import KoopmanMPC
from koopman_control.tasks.task import OnStep, Task
from koopman_control.trajectories import HeldUniform, Trajectory, collect, total_steps

STEPS, SECONDS_PER_STEP = 1000, 0.04
# Waves that are tried: amplitude in rad, period in steps, lag in rad.
LOWEST, HIGHEST = np.array([0.5, 20.0, -np.pi]), np.array([1.5, 70.0, np.pi])
TRIAL = 200  # steps of a trial: several strokes
N_DRAWN, N_BEST = 12, 4  # trials drawn from all waves; later ones are drawn about the best so far


def gait(amplitude: float, period: float, lag: float) -> Array:
    """Rows (angle, angle, rate, rate) of a wave that runs down the body, for a whole episode.

    Args:
        amplitude: Of both joints, in radians.
        period: In steps.
        lag: Phase of the second joint behind the first, in radians.
    """
    turning = 2.0 * np.pi / period
    phases = turning * np.arange(1, STEPS + 1)[:, None] - np.array([0.0, lag])
    rates = amplitude * turning / SECONDS_PER_STEP * np.cos(phases)
    return np.hstack([amplitude * np.sin(phases), rates])


@dataclass(frozen=True)
class SwimmingTask(Task):
    """Learns how the joints move, then which wave swims best: `first_steps`, then the others."""

    def learn(
        self, seed: int = 0, on_step: OnStep | None = None, checkpoint: PathLike | None = None
    ) -> Learned:
        """Learn a model and a wave; every step of the trials counts among the `n_steps`."""
        start = time.perf_counter()
        joints = super(SwimmingTask, replace(self, n_steps=self._first())).learn(
            seed, on_step, checkpoint
        )
        data = list(joints.data)
        with carrying(data):
            wave = self._searched(joints.model, data, seed, on_step, checkpoint)
        controller = self._swimming(wave).controller(joints.model)
        seconds = time.perf_counter() - start
        return replace(joints, controller=controller, data=data, seconds=seconds)

    def restored(self, model: LiftedModel, data: Sequence[Trajectory], seed: int = 0) -> KoopmanMPC:
        """Return the controller of the fastest wave; the trials are drawn again, not swum."""
        search, trial, steps = WaveSearch(seed), list[Trajectory](), 0
        for run in data:
            steps += len(run)
            if steps > self._first():
                trial.append(run)
            if total_steps(trial) >= TRIAL or (trial and steps == self.n_steps):
                search.draw()
                search.note(trial)
                trial = []
        return self._swimming(search.fastest()).controller(model)

    def _searched(
        self,
        model: LiftedModel,
        data: list[Trajectory],
        seed: int,
        on_step: OnStep | None,
        checkpoint: PathLike | None,
    ) -> Array:
        """Return the fastest wave of the trials, which are appended to the data."""
        search = WaveSearch(seed)
        with closing(self.environment()) as env:
            while left := self.n_steps - total_steps(data):
                name = f"trial-{len(search.waves)}"
                wave, reset_seed = search.draw()
                done = total_steps(data)
                trial = collect(
                    env,
                    self._swimming(wave).controller(model),
                    n_steps=min(TRIAL, left),
                    seed=reset_seed,
                    on_step=_counting_from(done, on_step),
                    checkpoint=None if checkpoint is None else Path(checkpoint) / name,
                )
                data.extend(trial)
                search.note(trial)
        return search.fastest()

    def _first(self) -> int:
        return min(self.first_steps, self.n_steps)

    def _swimming(self, wave: Array) -> Task:
        # A model of the angles alone is given those alone; they come before the rates.
        return replace(self, reference=gait(*wave)[:, : len(self.Q)])


def next_wave(waves: Array, speeds: Array, rng: np.random.Generator) -> Array:
    """Return (amplitude, period, lag) to try next, after (n, 3) waves that had (n,) speeds."""
    if len(waves) < N_DRAWN:
        return rng.uniform(LOWEST, HIGHEST)
    best = waves[np.argsort(speeds)[-N_BEST:]]
    near: Array = best.mean(axis=0) + 1.5 * best.std(axis=0) * rng.standard_normal(3)
    return near.clip(LOWEST, HIGHEST)


class WaveSearch:
    """Waves tried so far, how fast they were, and the next one.

    Args:
        seed: Of the draws.
    """

    def __init__(self, seed: int) -> None:
        self.waves: list[Array] = []
        self._speeds: list[float] = []
        self._rng = np.random.default_rng(seed)

    def draw(self) -> tuple[Array, int]:
        """Return the next wave and the reset seed of its trial."""
        self.waves.append(next_wave(np.array(self.waves), np.array(self._speeds), self._rng))
        return self.waves[-1], int(self._rng.integers(2**31))

    def note(self, trial: Sequence[Trajectory]) -> None:
        """Take in how fast the wave drawn last was."""
        self._speeds.append(float(np.mean([run.rewards for run in trial])))

    def fastest(self) -> Array:
        """Return the fastest wave; one in the middle of all if none was tried."""
        return self.waves[int(np.argmax(self._speeds))] if self.waves else (LOWEST + HIGHEST) / 2.0


def _counting_from(done: int, on_step: OnStep | None) -> OnStep | None:
    return None if on_step is None else lambda steps: on_step(done + steps)


# Swimming pays only over a whole stroke of some 40 steps; so the controller tracks a travelling
# wave, and the model is one of the joints. The wave is found by trials of 200 steps with that
# controller: 12 of any amplitude, period and lag (half of those swim backwards), 28 about the best
# four so far.
SWIMMER = SwimmingTask(
    env_id="Swimmer-v5",
    summary="swim forward by a wave through two joints",
    Q=(1.0, 1.0, 0.003, 0.003),
    R=0.001,
    horizon=5,
    n_steps=10_000,
    first_steps=2000,
    n_rounds=0,
    n_features=(50,),
    steepness=(0.25,),
    prediction=10,
    states=(1, 2, 6, 7),
    excitation=HeldUniform(hold=(1, 10)),
    state_names=("angle (rad)", "second angle (rad)", "rate (rad/s)", "second rate (rad/s)"),
)
