"""The learning loop: collect, fit, control, collect what the controller meets, fit again.

Every environment step is counted. A new model replaces the old one only if it predicts the data the
old one's controller has just collected at least as well, judged by fits that left that data out: a
model must not get worse with data.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import gymnasium as gym
import numpy as np
from sklearn.base import clone
from threadpoolctl import threadpool_limits

from koopman_control.common import Array, Controller, PathLike, positive_int
from koopman_control.common.arrays import seed_number
from koopman_control.common.border import checked
from koopman_control.identification import EDMDc, LiftedModel
from koopman_control.mpc import KoopmanMPC
from koopman_control.trajectories import (
    CollectionFailed,
    CollectionInterrupted,
    HeldUniform,
    Signal,
    Trajectory,
    collect,
    total_steps,
)
from koopman_control.trajectories.collect import carry

TOLERATED = 1.1  # a new model may have up to this factor of the old one's error


@dataclass(frozen=True)
class Round:
    """One round of learning.

    Args:
        steps: Environment steps used so far, this round's included.
        returns: Returns of the episodes collected in this round; the last may be cut.
        score: Left-out multi-step error of the new model, 0 (perfect) to 1 (as bad as the mean), on
            all data that the model before has not seen.
        kept: Whether the new model replaced the one before.
        fit_seconds: Duration of the fit.
    """

    steps: int
    returns: tuple[float, ...]
    score: float
    kept: bool
    fit_seconds: float


@dataclass(frozen=True)
class Learned:
    """What came out of learning.

    Args:
        estimator: The fitted estimator kept in the end.
        controller: A controller on its model.
        data: All trajectories, in the order collected.
        rounds: One entry per fit.
        seconds: Duration of everything: environment, fits, control.
    """

    estimator: EDMDc
    controller: Controller
    data: list[Trajectory]
    rounds: list[Round]
    seconds: float

    @property
    def model(self) -> LiftedModel:
        """The model kept in the end."""
        return self.estimator.model_

    @property
    def fit_seconds(self) -> float:
        """Duration of all fits together."""
        return sum(r.fit_seconds for r in self.rounds)


@checked
def learn(
    env: gym.Env[Any, Any] | str,
    estimator: EDMDc,
    controller: Callable[[LiftedModel], KoopmanMPC],
    *,
    n_steps: int,
    first_steps: int | None = None,
    n_rounds: int = 1,
    excitation: Signal | None = None,
    noise: Signal | None = None,
    until: Callable[[Array], bool] | None = None,
    seed: int = 0,
    on_step: Callable[[int], None] | None = None,
    checkpoint: PathLike | None = None,
) -> Learned:
    """Learn a controller from at most `n_steps` environment steps.

    Args:
        env: A Gymnasium environment or its id.
        estimator: Settings of the fit; it is cloned for every round.
        controller: Makes a controller from a model.
        n_steps: Budget of environment steps, exploration included.
        first_steps: Steps under the excitation, before there is a controller; default half.
        n_rounds: Rounds of control and refit that share the rest of the budget; 0 uses the
            excitation only.
        excitation: Open-loop signal of the first steps; default uniform, held for 1 to 10 steps.
        noise: Signal added to the controller's actions while collecting; None adds nothing.
        until: Says of an observation whether to break the episode off there and reset, while
            collecting; None never does.
        seed: Determines reset seeds and everything random in the signals.
        on_step: Called after each environment step with the number of steps so far.
        checkpoint: Folder in which every finished episode is kept at once, as `collect` does. After
            an interruption the same call repeats the fits, but no finished episode, and learns the
            same model to the last bit.

    Returns:
        The controller, its model, all data and a record of each round.

    Raises:
        ValueError: If the budget does not suffice for a fit, or the checkpoint is of other
            settings.
        CollectionInterrupted: Ctrl-C at any time; carries everything collected until then.
        CollectionFailed: The environment raised, or gave what is no observation or reward;
            likewise.
        Exception: Whatever else is raised has what was collected as an attribute `trajectories`.

    Example:
        >>> task = TASKS["Pendulum-v1"]  # doctest: +SKIP
        >>> learned = learn(task.env_id, task.estimator(), task.controller, n_steps=600)
        ... # doctest: +SKIP
    """
    start = time.perf_counter()
    edges = _edges(n_steps, first_steps, n_rounds)
    signal = HeldUniform(hold=(1, 10)) if excitation is None else excitation
    seeds = np.random.SeedSequence(seed_number("seed", seed)).generate_state(len(edges))
    data: list[Trajectory] = []

    def more(policy: Signal | KoopmanMPC, number: int) -> list[Trajectory]:
        done = total_steps(data)
        counted = None if on_step is None else lambda steps: on_step(done + steps)
        extra = noise if isinstance(policy, KoopmanMPC) else None
        return collect(
            env,
            policy,
            n_steps=edges[number] - done,
            seed=int(seeds[number]),
            noise=extra,
            until=until,
            on_step=counted,
            checkpoint=None if checkpoint is None else Path(checkpoint) / f"round-{number}",
        )

    with threadpool_limits(limits=1), carrying(data):
        data.extend(more(signal, 0))
        best, record = _first_fit(estimator, data)
        history = [record]
        acting, n_seen = controller(best.model_), len(data)
        for number in range(1, len(edges)):
            if edges[number] == total_steps(data):
                continue
            new = more(acting, number)
            data.extend(new)
            best, record = _refit(estimator, best, data[:n_seen], data[n_seen:], _returns(new))
            history.append(record)
            if record.kept:
                acting, n_seen = controller(best.model_), len(data)
    return Learned(best, acting, data, history, time.perf_counter() - start)


def _edges(n_steps: int, first_steps: int | None, n_rounds: int) -> list[int]:
    """Return the number of environment steps after the excitation and after each round."""
    budget = positive_int("n_steps", n_steps)
    rounds = positive_int("n_rounds", n_rounds, minimum=0)
    first = max(1, budget // 2) if first_steps is None else positive_int("first_steps", first_steps)
    if rounds == 0:
        return [budget]
    if first > budget:
        raise ValueError(f"first_steps is {first}; expected at most n_steps, which is {budget}")
    edges: list[int] = np.linspace(first, budget, rounds + 1).astype(int).tolist()
    return edges


@contextmanager
def carrying(data: list[Trajectory]) -> Iterator[None]:
    """Let an interruption or a failure of the environment carry what was collected before it."""
    try:
        yield
    except CollectionInterrupted as stop:
        raise CollectionInterrupted([*data, *stop.trajectories]) from None
    except CollectionFailed as failure:
        raise CollectionFailed(str(failure), [*data, *failure.trajectories]) from failure.__cause__
    except KeyboardInterrupt:  # during a fit
        raise CollectionInterrupted(list(data)) from None
    except Exception as error:
        carry(error, [*data, *getattr(error, "trajectories", [])])
        raise


def _first_fit(settings: EDMDc, data: list[Trajectory]) -> tuple[EDMDc, Round]:
    fitted, seconds = _timed_fit(settings, data)
    return fitted, Round(total_steps(data), _returns(data), fitted.choices_[0].score, True, seconds)


def _refit(
    settings: EDMDc,
    old: EDMDc,
    seen: list[Trajectory],
    since: list[Trajectory],
    returns: tuple[float, ...],
) -> tuple[EDMDc, Round]:
    """Fit to all data; keep the old model if it predicts clearly better what it has not seen.

    Noise would judge by luck: where the fit takes it out of the data, they are judged by those.
    """
    fitted, seconds = _timed_fit(settings, [*seen, *since])
    if hasattr(fitted, "smoothed_"):
        seen, since = fitted.smoothed_[: len(seen)], fitted.smoothed_[len(seen) :]
    error = -fitted.score_left_out(seen, since)
    kept = error <= TOLERATED * -old.score(since)
    record = Round(total_steps([*seen, *since]), returns, error, kept, seconds)
    return (fitted if kept else old), record


def _timed_fit(settings: EDMDc, data: list[Trajectory]) -> tuple[EDMDc, float]:
    start = time.perf_counter()
    fitted: EDMDc = clone(settings).fit(data)
    return fitted, time.perf_counter() - start


def _returns(data: Sequence[Trajectory]) -> tuple[float, ...]:
    return tuple(float(t.rewards.sum()) for t in data if t.rewards is not None)
