"""What of a task is searched: each setting with its range around the task's own value."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from typing import Any

from koopman_control.common.border import CheckedFields, checked, did_you_mean
from koopman_control.mpc import Cost, Search
from koopman_control.tasks import Task

Value = int | float | str
TRUSTS = (0.0, 0.01, 0.1, 1.0, 10.0)
ROLLOUTS = ("linear", "bilinear", "relifted")


@dataclass(frozen=True)
class Range(CheckedFields):
    """The values that a setting may have.

    Args:
        low: Lowest number, or 0 for choices.
        high: Highest number, likewise.
        own: The task's own value, or the nearest in the range.
        log: Whether factors count, not differences.
        choices: All values there are, where they are no range of numbers.
    """

    low: int | float
    high: int | float
    own: int | float | str
    log: bool = False
    choices: tuple[float | str, ...] = ()

    def suggested(self, trial: Any, name: str) -> Value:
        """Let an Optuna trial choose a value."""
        if self.choices:
            chosen: Value = trial.suggest_categorical(name, self.choices)
        elif isinstance(self.low, int) and isinstance(self.high, int):
            chosen = trial.suggest_int(name, self.low, self.high, log=self.log)
        else:
            chosen = trial.suggest_float(name, self.low, self.high, log=self.log)
        return chosen

    def __str__(self) -> str:
        """Say what there is to choose from."""
        if self.choices:
            return ", ".join(str(choice) for choice in self.choices)
        return f"{self.low:g} … {self.high:g}"


def _between(low: int, high: int, own: int, log: bool = False) -> Range:
    return Range(low, high, min(max(own, low), high), log)


def _search(task: Task) -> Search:
    found: Search = task.mpc.get("search", Search())
    return found


def _cost(task: Task) -> Cost:
    found: Cost = task.mpc.get("cost", Cost())
    return found


def _in_mpc(task: Task, name: str, group: Any, **change: Any) -> Task:
    if all(getattr(group, field) == value for field, value in change.items()):
        return task
    return replace(task, mpc={**task.mpc, name: replace(group, **change)})


def _nearest(values: tuple[float, ...], own: float) -> float:
    return min(values, key=lambda value: abs(value - own))


@dataclass(frozen=True)
class Setting:
    """A setting that can be searched.

    Args:
        summary: What it is.
        range: Its range for a task.
        apply: Returns the task with a value of it.
    """

    summary: str
    range: Callable[[Task], Range]
    apply: Callable[[Task, Any], Task]


def _with_rollout(task: Task, rollout: Any) -> Task:
    if rollout == task.rollout:
        return task
    if rollout == "linear":
        return replace(task, rollout=rollout, coupling="linear")
    return replace(task, rollout=rollout, coupling="bilinear", n_draws=1)


def _weight(index: int) -> Setting:
    def apply(task: Task, factor: float) -> Task:
        Q = list(task.Q)
        Q[index] = factor * Q[index]
        return replace(task, Q=tuple(Q))

    return Setting(
        f"factor on the weight of state {index}", lambda t: Range(0.1, 10.0, 1.0, True), apply
    )


_READY = {
    "features": Setting(
        "number of sampled features",
        lambda t: _between(5, 150, max(t.n_features), True),
        lambda t, n: replace(t, n_features=(n,)),
    ),
    "steepness": Setting(
        "steepness of the features",
        lambda t: Range(0.05, 2.0, min(max(t.steepness[0], 0.05), 2.0), True),
        lambda t, s: replace(t, steepness=(s,)),
    ),
    "rollout": Setting(
        "roll-out of the plans, and the coupling that goes with it",
        lambda t: Range(0, 0, t.rollout, choices=ROLLOUTS),
        _with_rollout,
    ),
    "draws": Setting(
        "draws of the features that a linear roll-out averages",
        lambda t: _between(1, 3, t.n_draws),
        lambda t, n: replace(t, n_draws=n if t.rollout == "linear" else 1),
    ),
    "horizon": Setting(
        "steps that are planned ahead",
        lambda t: _between(max(2, t.horizon // 2), 2 * t.horizon, t.horizon, True),
        lambda t, n: replace(t, horizon=n),
    ),
    "rounds": Setting(
        "rounds of control and refit",
        lambda t: _between(0, 4, t.n_rounds),
        lambda t, n: replace(t, n_rounds=n),
    ),
    "excited": Setting(
        "share of the steps before there is a controller",
        lambda t: Range(0.2, 1.0, min(max(t.first_steps / t.n_steps, 0.2), 1.0)),
        lambda t, share: replace(t, first_steps=max(1, round(share * t.n_steps))),
    ),
    "guesses": Setting(
        "further initial guesses of a plan in each step",
        lambda t: _between(0, 6, _search(t).guesses),
        lambda t, n: _in_mpc(t, "search", _search(t), guesses=n),
    ),
    "first_guesses": Setting(
        "the same in the first step of an episode",
        lambda t: _between(0, 128, _search(t).first_guesses),
        lambda t, n: _in_mpc(t, "search", _search(t), first_guesses=n),
    ),
    "iterations": Setting(
        "programs that a step solves at most",
        lambda t: _between(1, 3, _search(t).iterations),
        lambda t, n: _in_mpc(t, "search", _search(t), iterations=n),
    ),
    "trust": Setting(
        "price of plans beyond the data",
        lambda t: Range(0, 0, _nearest(TRUSTS, _cost(t).trust), choices=TRUSTS),
        lambda t, price: _in_mpc(t, "cost", _cost(t), trust=price),
    ),
    "R": Setting(
        "factor on the weight of the inputs",
        lambda t: Range(0.01, 100.0, 1.0, True),
        lambda t, factor: replace(t, R=factor * t.R),
    ),
}


@checked
def settings_of(task: Task, names: tuple[str, ...] | None = None) -> dict[str, Setting]:
    """Return what can be searched of a task, by name.

    Args:
        task: The task.
        names: Those to take; None takes all. "Q" stands for the weights of all states but the first
            that counts: a common factor of all weights changes nothing.

    Raises:
        ValueError: A name is none of them.

    Example:
        >>> from koopman_control.tasks import TASKS
        >>> list(settings_of(TASKS["Pendulum"], ("horizon", "Q")))
        ['horizon', 'Q1']
    """
    found = dict(_READY)
    if task.R == 0.0:
        del found["R"]  # a factor makes no difference
    counting = [index for index, weight in enumerate(task.Q) if weight > 0.0]
    weights = {f"Q{index}": _weight(index) for index in counting[1:]}
    if task.memory:
        found["memory"] = Setting(
            "past steps that the model also sees",
            lambda t: _between(1, 2 * task.memory + 2, task.memory),
            lambda t, n: replace(t, memory=n),
        )
    found |= weights
    if names is None:
        return found
    known = {name: [name] for name in found} | ({"Q": list(weights)} if weights else {})
    for name in names:
        if name not in known:
            raise ValueError(
                f"names holds {name!r}, which is no setting; there are {', '.join(known)}."
                f"{did_you_mean(name, known)}"
            )
    chosen = {each for name in names for each in known[name]}
    return {name: setting for name, setting in found.items() if name in chosen}


@checked
def tuned(task: Task, values: Mapping[str, Any]) -> Task:
    """Return a task with other settings.

    Args:
        task: The task.
        values: Settings by the names of `settings_of`; those left out stay as they are.

    Raises:
        ValueError: A name is none of them, or a value is out of its task's range.

    Example:
        >>> from koopman_control.tasks import TASKS
        >>> found = tuned(TASKS["Pendulum"], {"horizon": 40, "R": 2.0})
        >>> found.name, found.horizon, found.R
        ('PendulumTuned', 40, 0.002)
    """
    settings = settings_of(task, tuple(values))
    result = task
    for name, setting in settings.items():
        result = setting.apply(result, values[name])
    return replace(result, name=f"{task.name}Tuned")
