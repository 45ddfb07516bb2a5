"""Closed-loop evaluation over many reset seeds, and what it found: frozen numbers."""

from __future__ import annotations

import pickle
import traceback
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import closing
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import cloudpickle
import numpy as np
from gymnasium.vector import VectorEnv
from numpy.typing import ArrayLike, NDArray
from threadpoolctl import threadpool_limits

from koopman_control.common.arrays import Array, positive_int, seed_number
from koopman_control.common.border import checked
from koopman_control.common.protocols import Controller
from koopman_control.common.workers import WorkerLostError, in_order
from koopman_control.evaluation.copies import Recipe, recipe_for
from koopman_control.evaluation.episode import Episode, action_bounds, run_episode, run_in_lockstep
from koopman_control.evaluation.report import package_versions
from koopman_control.evaluation.statistics import bootstrap_interval, interquartile_mean
from koopman_control.trajectories.environments import (
    Environment,
    VectorEnvironment,
    open_environment,
)

if TYPE_CHECKING:
    from matplotlib.figure import Figure


@dataclass(frozen=True)
class Evaluation:
    """Results of one controller over n episodes of one environment.

    Attributes:
        env_id: Id of the environment.
        seeds: The n reset seeds.
        returns: Undiscounted returns, shape (n,), in the order of the seeds.
        lengths: Steps per episode, shape (n,).
        act_seconds: Wall time of every call of `controller.act`, all episodes one after another.
        fallback_share: Share of all steps in which the controller used its fallback.
        rungs: Steps by the rung that the controller says it used (see `mpc.Step`), if it does.
        violations: `steps` and `episodes` with a violation, and the `total` of
            `info["violation"]`, which is None where the environment reports none.
        episodes: The first few episodes and the worst one, with their signals.
        action_bounds: The action box, shape (2, m).
        dt: Time between two steps in seconds, None where the environment does not say.
    """

    env_id: str
    seeds: tuple[int, ...]
    returns: Array
    lengths: NDArray[np.int_]
    act_seconds: Array
    fallback_share: float
    rungs: dict[str, int]
    violations: dict[str, float | int | None]
    episodes: tuple[Episode, ...]
    action_bounds: Array
    dt: float | None = None

    @property
    def mean(self) -> float:
        """Mean return."""
        return float(self.returns.mean())

    @property
    def ci95(self) -> tuple[float, float]:
        """Bootstrap 95 % interval of the mean return over the initial states."""
        return bootstrap_interval(self.returns)

    @property
    def iqm(self) -> float:
        """Interquartile mean of the returns."""
        return float(interquartile_mean(self.returns))

    @property
    def worst(self) -> float:
        """Lowest return."""
        return float(self.returns.min())

    @property
    def act_us(self) -> dict[str, float]:
        """Median, 99th percentile and maximum of the time per `act`, in microseconds."""
        p50, p99, longest = np.quantile(self.act_seconds, [0.5, 0.99, 1.0]) * 1e6
        return {"p50": float(p50), "p99": float(p99), "max": float(longest)}

    def metrics(self) -> dict[str, Any]:
        """Return the figures of the run as plain data, under the names of metrics.json."""
        return {
            "env_id": self.env_id,
            "seeds": list(self.seeds),
            "returns": self.returns.tolist(),
            "return_mean": self.mean,
            "return_ci95": list(self.ci95),
            "return_iqm": self.iqm,
            "return_worst": self.worst,
            "act_us": self.act_us,
            "fallback_share": self.fallback_share,
            "rungs": dict(self.rungs),
            "violations": dict(self.violations),
            "versions": package_versions(),
            "settings": {"dt": self.dt},
        }

    @checked
    def figures(
        self,
        references: Mapping[str, ArrayLike | Evaluation] | None = None,
        observation_names: Sequence[str] | None = None,
        action_names: Sequence[str] | None = None,
    ) -> dict[str, Figure]:
        """Draw the closed loop, the returns and the step times.

        Args:
            references: Name to returns of another controller on the same seeds, or its mean alone.
            observation_names: Labels of the observations.
            action_names: Labels of the actions.
        """
        from koopman_control.evaluation import plots

        return {
            "closed_loop": plots.closed_loop(
                self.episodes, self.dt, observation_names, action_names, self.action_bounds
            ),
            "return_distribution": plots.return_distribution(
                self.returns, references=_returns(references)
            ),
            "step_times": plots.step_time_histogram(self.act_seconds, dt=self.dt),
        }

    @checked
    def report(
        self,
        folder: str | Path,
        references: Mapping[str, ArrayLike | Evaluation] | None = None,
        metrics: Mapping[str, Any] | None = None,
        figures: Mapping[str, Figure] | None = None,
        title: str | None = None,
    ) -> Path:
        """Write report.html, metrics.json and the figures into a folder.

        Args:
            folder: Where to; made if it is not there.
            references: Name to returns of another controller on the same seeds (an array or its
                `Evaluation`), or its mean alone.
            metrics: More metrics, added to `metrics()`; `settings` are merged.
            figures: More figures, shown after those of `figures()`, or in their place.
            title: Heading of the page; the environment's id if None.

        Returns:
            Path of report.html.

        Raises:
            OSError: If the folder cannot be written.

        Example:
            >>> evaluate(controller, "Pendulum-v1").report("runs/pendulum")  # doctest: +SKIP
        """
        from koopman_control.evaluation.report import write_report

        merged = {**self.metrics(), **(metrics or {})}
        merged["settings"] = {"dt": self.dt, **(metrics or {}).get("settings", {})}
        drawn = {**self.figures(references), **(figures or {})}
        return write_report(
            folder, merged, drawn, title=title or self.env_id, references=_returns(references)
        )


def _returns(references: Mapping[str, ArrayLike | Evaluation] | None) -> dict[str, ArrayLike]:
    return {
        name: value.returns if isinstance(value, Evaluation) else value
        for name, value in (references or {}).items()
    }


KEPT_EPISODES = 6  # episodes whose signals are kept for the report, besides the worst one
_NOTHING = np.empty((0, 0))


@checked
def evaluate(
    controller: Controller,
    env: Environment | VectorEnvironment | str,
    seeds: Iterable[int] = range(1000, 1100),
    workers: int = 1,
    on_episode: Callable[[Episode], None] | None = None,
    previous_input: ArrayLike | None = None,
) -> Evaluation:
    """Run a controller once per seed and summarise returns, violations and step times.

    A controller is told what acted in place of its actions, where the environment says so; see
    `run_episode`.

    Linear algebra runs on one thread, both here and in the workers: the matrices of a controller
    are too small for more, and step times mean the same for any number of workers.

    Args:
        controller: Anything with `reset()` and `act(observation) -> action`; pickled for the
            workers if there are several.
        env: A Gymnasium environment or its id. Several workers get copies of it, with whatever was
            changed or fitted in it, which are first seen to behave as it does. Or a vector
            environment (`gymnasium.make_vec`): as many episodes at once as it has copies, for a
            controller with `batch`; a step's time is then shared out among the copies.
        seeds: One reset seed per episode.
        workers: Number of processes, of this machine or of what joblib is told outside
            (`joblib.parallel_config("dask")`, or `koopman_control.common.cluster`). Episodes of one
            that ends are run again in another.
        on_episode: Called after each episode, in the order of the seeds (a progress bar, say).
        previous_input: Action that acts as each episode begins, shape (m,), for a plant that is not
            at rest under the safe input; for a controller whose `reset` takes it, too.

    Returns:
        The evaluation.

    Raises:
        ValueError: If there are no seeds, `workers` is below 1, the environment cannot be copied
            for several workers, it raises or returns what is no observation or reward, or the
            controller returns what is no action.
        TypeError: If the controller lacks a method, takes no previous input or cannot be pickled
            for several workers, or the actions are not continuous.
        WorkerLostError: If an episode ends its process every time.
        Exception: Whatever else the controller raises. What is raised after the first episode has
            the `Evaluation` of the episodes that were finished as an attribute `evaluation`.

    Example:
        >>> import gymnasium as gym
        >>> from koopman_control.evaluation import ZeroPolicy, action_bounds
        >>> env = gym.make("Pendulum-v1")
        >>> evaluate(ZeroPolicy(action_bounds(env)), env, seeds=range(3)).lengths
        array([200, 200, 200])
    """
    chosen = tuple(seed_number("seeds", seed) for seed in seeds)
    if not chosen:
        raise ValueError("seeds is empty; give one reset seed per episode, e.g. range(1000, 1100)")
    workers = min(positive_int("workers", workers), len(chosen))
    if workers > 1 and isinstance(env, VectorEnv):
        raise ValueError(f"workers is {workers}; a vector environment runs in one process")
    ours = isinstance(env, str)
    made = env if isinstance(env, VectorEnv) else open_environment(env)
    try:
        if isinstance(made, VectorEnv):
            episodes = run_in_lockstep(controller, made, chosen, previous_input)
        elif workers == 1:
            episodes = _run(controller, made, chosen, previous_input)
        else:
            with threadpool_limits(limits=1):
                recipe = Recipe(spec=made.spec) if ours else recipe_for(made, chosen[0], workers)
            episodes = _run_in_processes(controller, recipe, chosen, workers, previous_input)
        found = _Found()
        try:
            with threadpool_limits(limits=1):
                for episode in episodes:
                    found.add(episode)
                    if on_episode is not None:
                        on_episode(episode)
        except Exception as error:
            if found.light:
                error.evaluation = _summary(made, found)  # type: ignore[attr-defined]
                error.add_note(
                    f"The {len(found.light)} episodes finished before are in this error's "
                    "`evaluation`."
                )
            raise
        return _summary(made, found)
    finally:
        if ours:
            made.close()


def _run(
    controller: Controller,
    env: Environment,
    seeds: Iterable[int],
    previous_input: ArrayLike | None,
) -> Iterator[Episode]:
    for seed in seeds:
        yield run_episode(controller, env, seed, previous_input)


def _run_in_processes(
    controller: Controller,
    recipe: Recipe,
    seeds: tuple[int, ...],
    workers: int,
    previous_input: ArrayLike | None,
) -> Iterator[Episode]:
    try:
        packed = cloudpickle.dumps(controller)
    except Exception as error:
        raise TypeError(
            f"controller is a {type(controller).__name__} that other processes cannot be given "
            f"({error}); use workers=1, or let it hold no lock, open file or process"
        ) from error
    # A few seeds per unit: the controller travels with each unit, and progress stays visible.
    size = max(1, min(5, len(seeds) // (2 * workers)))
    units = [seeds[start : start + size] for start in range(0, len(seeds), size)]
    run = partial(_run_batch, packed, recipe, previous_input)
    with closing(in_order(run, units, workers)) as batches:
        for _, found in batches:
            if isinstance(found, WorkerLostError):
                raise found
            episodes, fault = found
            yield from episodes
            if fault is not None:
                raise fault


def _run_batch(
    packed: bytes,
    recipe: Recipe,
    previous_input: ArrayLike | None,
    seeds: tuple[int, ...],
) -> tuple[list[Episode], Exception | None]:
    """Run a few episodes; an error is returned with those before it, which raising would lose."""
    episodes: list[Episode] = []
    try:
        with threadpool_limits(limits=1), closing(recipe.environment()) as env:
            for episode in _run(cloudpickle.loads(packed), env, seeds, previous_input):
                episodes.append(episode)
    except Exception as error:
        error.add_note(traceback.format_exc())  # the traceback itself does not travel
        try:
            pickle.loads(pickle.dumps(error))
        except Exception:
            return episodes, RuntimeError(f"{type(error).__name__}: {error}")
        return episodes, error
    return episodes, None


class _Found:
    """All episodes so far without their signals, and the few that keep them."""

    def __init__(self) -> None:
        self.light: list[Episode] = []
        self._first: list[Episode] = []
        self._worst: Episode | None = None

    def add(self, episode: Episode) -> None:
        self.light.append(replace(episode, observations=_NOTHING, actions=_NOTHING))
        if len(self._first) < KEPT_EPISODES:
            self._first.append(episode)
        if self._worst is None or episode.episode_return < self._worst.episode_return:
            self._worst = episode

    @property
    def kept(self) -> list[Episode]:
        worst, first = self._worst, self._first
        if worst is None or any(episode is worst for episode in first):
            return first
        return [*first, worst]


def _summary(env: Environment | VectorEnvironment, found: _Found) -> Evaluation:
    light = found.light
    reported = [episode.violation for episode in light if episode.violation is not None]
    lengths = np.array([episode.length for episode in light])
    return Evaluation(
        env_id=_name(env),
        seeds=tuple(episode.seed for episode in light),
        returns=np.array([episode.episode_return for episode in light]),
        lengths=lengths,
        act_seconds=np.concatenate([episode.act_seconds for episode in light]),
        fallback_share=float(sum(episode.fallbacks.sum() for episode in light) / lengths.sum()),
        rungs=dict(sum((Counter(episode.rungs) for episode in light), Counter[str]())),
        violations={
            "steps": sum(episode.violation_steps for episode in light),
            "total": float(np.sum(reported)) if reported else None,
            "episodes": sum(episode.violation_steps > 0 for episode in light),
        },
        episodes=tuple(found.kept),
        action_bounds=action_bounds(env),
        dt=time_step(env),
    )


def _name(env: Environment | VectorEnvironment) -> str:
    return env.spec.id if env.spec is not None else type(env.unwrapped).__name__


def time_step(env: Environment | VectorEnvironment) -> float | None:
    """Return the time between two steps in seconds; None where the environment does not say."""
    copies = getattr(env.unwrapped, "envs", [env])
    dt = getattr(copies[0].unwrapped, "dt", None)
    known = isinstance(dt, int | float | np.number) and not isinstance(dt, bool)
    return float(dt) if dt is not None and known and dt > 0 else None
