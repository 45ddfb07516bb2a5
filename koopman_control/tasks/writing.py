"""Write what was found out about an environment as a task that a person can read and correct."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from textwrap import fill

import gymnasium as gym
import numpy as np

from koopman_control.autopilot import Findings
from koopman_control.autopilot.samples import Samples
from koopman_control.common import Array, PathLike, write_text_atomically
from koopman_control.common.border import checked
from koopman_control.features import Angle, Coordinates, spread
from koopman_control.features.coordinates import Column, read
from koopman_control.tasks.untold import LONGEST, Untold
from koopman_control.trajectories import Trajectory

TRUSTED = 0.9  # R2 of the diagonal quadratic that weights are taken from
NEGLIGIBLE = 1e-3  # of the largest weight
SMALL = 0.02  # of a state's spread; what moves a target by less is chance
ROUND = 0.02  # a factor this near a whole number, relatively, is that number
DIGITS = 4
HORIZON = 50

TEMPLATE = '''"""{name}: a task written by koopman-control from what it found in {n_steps} steps.

Read it, correct what you know better, and run it:

    koopman-control run {file}

What was found:

{findings}
"""

from koopman_control.mpc import Search
from koopman_control.tasks import Task
{imports}

def target(y):
    """Where the states should be, from the observation y, which may hold a goal."""
    return [
{targets}
    ]


TASK = Task(
    env_id={env_id!r},
    name={task_name!r},
    summary="bring the states to their targets, which were read from the reward",
    # Observation columns that the model describes, and which of them are angles.
    states={states!r},
    angles={angles!r},
    # Feature inputs that make no difference: plain states first, then cosines, then sines.
    ignored={ignored!r},
    memory={memory},
    # {source}
    Q=(
{weights}
    ),
    R={R!r},
    reference=target,
    horizon={horizon},
    # Environment steps to learn from, and how many of them before there is a controller.
    n_steps={budget},
    first_steps={first},
    n_rounds=2,
    coupling="bilinear",
    rollout="relifted",
    n_features=(20, 60),
    steepness=(0.25, 0.5),
    mpc={{"search": Search(guesses=4, first_guesses=64)}},
{more})
'''


@dataclass(frozen=True)
class Weights:
    """A cost sum of q_i (z_i - t_i)^2 and R |u|^2 that stands for the reward.

    Args:
        Q: Weight of each state z, shape (d,).
        R: Weight of the inputs.
        targets: Target of each state as a formula of the observation y.
        source: Where they come from, in words.
    """

    Q: Array
    R: float
    targets: tuple[str, ...]
    source: str


@checked
def write_task(
    path: PathLike, task: Untold, findings: Findings, data: Sequence[Trajectory]
) -> Path:
    """Write a Python file with a `Task` that says what was found, to be read, corrected and run.

    Args:
        path: The file.
        task: The environment.
        findings: What was found out about it.
        data: What that rests on.

    Returns:
        Its path.

    Raises:
        ValueError: There is no state that a model could describe.
    """
    p = len(findings.names)
    fixed = {*findings.context.value, *findings.switches.value}
    inside = {c for a in findings.angles.value if isinstance(a, tuple) for c in a}
    states = tuple(c for c in range(p) if c not in fixed and c not in inside)
    if not states and not findings.angles.value:
        raise ValueError(f"{task.env_id} has no column that moves; there is no task to write")
    coordinates = Coordinates.of(p, states, findings.angles.value)
    weights = _weights(findings, Samples.of(data), coordinates)
    labels = [findings.named(_column(c)) for c in coordinates.columns]
    file, longest = Path(path), task.max_episode_steps
    if longest is None and gym.spec(task.env_id).max_episode_steps is None:
        longest = LONGEST
    limit = None if longest is None else {"max_episode_steps": longest}
    delays = list(findings.delays.value)
    more = [
        f"    fit={{'input_delay': {delays!r}}},\n" if any(delays) else "",
        f"    env_arguments={limit!r},\n" if limit else "",
        "    wrap=adapted,\n",
    ]
    modules = ["from koopman_control.trajectories import adapted"]
    if task.module is not None:
        modules.append(f"\nimport {task.module}  # noqa: F401  # it registers the environment")
    text = TEMPLATE.format(
        name=task.env_id,
        n_steps=findings.n_steps,
        file=file.name,
        findings=_commented(findings),
        imports="\n".join(modules) + "\n",
        targets="\n".join(
            f"        {formula},  # {label}"
            for formula, label in zip(weights.targets, labels, strict=True)
        ),
        env_id=task.env_id,
        task_name=f"{task.name}Written",
        states=states,
        angles=findings.angles.value,
        ignored=_unseen(coordinates, {*findings.ignored.value}),
        memory=findings.memory.value,
        source=weights.source,
        weights="\n".join(
            f"        {_number(weight)!r},  # {label}"
            for weight, label in zip(weights.Q.tolist(), labels, strict=True)
        ),
        R=_number(weights.R),
        horizon=HORIZON,
        budget=task.n_steps,
        first=max(1, task.n_steps // 2),
        more="".join(more),
    )
    write_text_atomically(file, text)
    return file


def _commented(findings: Findings) -> str:
    """Return the findings as lines of text, each with its doubt."""
    lines = []
    for name, found in findings.items().items():
        doubt = "" if found.certain else " (uncertain)"
        text = f"- {name}{doubt}: {found.words}."
        lines.append(fill(text, 96, subsequent_indent="  ").replace("\\", "/").replace('"""', "'"))
    return "\n".join(lines)


def _column(column: Column) -> Angle:
    """Return a plain column or an angle as the findings call it."""
    if isinstance(column, tuple) and len(column) == 1:
        return column[0]
    return column


def _number(value: float) -> float:
    return float(f"{value:.{DIGITS}g}")


def _unseen(coordinates: Coordinates, ignored: set[int]) -> tuple[int, ...]:
    """Return the feature inputs whose columns make no difference."""
    return tuple(
        k
        for k, (state, _) in enumerate(coordinates.embedded)
        if {int(c) for c in np.atleast_1d(coordinates.columns[state])} <= ignored
    )


def _weights(findings: Findings, samples: Samples, coordinates: Coordinates) -> Weights:
    """Read weights and targets from the reward, or from where episodes end, or guess them."""
    law = findings.reward.value
    observed = samples.after if law.after else samples.before
    Z = np.column_stack([read(observed, column) for column in coordinates.columns])
    plain = np.ones(Z.shape[1]) / spread(Z) ** 2
    nowhere = ("0.0",) * Z.shape[1]
    if samples.rewards is not None and law.kind in ("quadratic", "smooth", "unexplained"):
        inside = ~samples.ended
        # Columns that the reward can be told without may share what others explain.
        told = [bool({*np.atleast_1d(c).tolist()} & {*law.columns}) for c in coordinates.columns]
        found = _of_quadratic(
            Z[inside][:, told],
            samples.inputs[inside],
            samples.rewards[inside],
            observed[inside],
            [c for c, matters in zip(coordinates.columns, told, strict=True) if matters],
            sorted({*findings.context.value} & {*law.columns}),
        )
        if found is not None and any(told):
            Q, targets = np.zeros(len(told)), np.full(len(told), "0.0", dtype=object)
            Q[told], targets[told] = found.Q, found.targets
            return replace(found, Q=Q, targets=tuple(targets.tolist()))
    if law.kind == "constant" and findings.ends.value:
        Q = np.zeros(Z.shape[1])
        for threshold in findings.ends.value:
            for k, column in enumerate(coordinates.columns):
                if _column(column) == threshold.column:
                    Q[k] = 1.0 / (threshold.number**2 or 1.0)
        source = "Weights keep away from where episodes end."
        return Weights(np.where(Q > 0.0, Q, 1e-3 * plain), 1e-3, nowhere, source)
    source = "The reward is no simple quadratic: weights are guesses, correct them."
    return Weights(plain, 0.01, nowhere, source)


def _of_quadratic(
    Z: Array,
    U: Array,
    rewards: Array,
    observed: Array,
    columns: Sequence[Column],
    context: Sequence[int],
) -> Weights | None:
    """Fit r = c - sum q_i (z_i - t_i(g))^2 - R |u|^2 with targets linear in the goals g."""
    goals = [g for g in context if np.ptp(observed[:, g]) > 0.0]
    G = observed[:, goals]
    d, units = Z.shape[1], spread(Z)
    effort, wanted = U / spread(U), G / spread(G) if goals else G
    turning = [isinstance(column, tuple) for column in columns]
    fits = [
        (is_angle, *_fitted(np.where(is_angle, Z, Z / units), is_angle, effort, wanted, rewards))
        for is_angle in ([False] * d, turning)
    ]
    is_angle, share, K = max(fits, key=lambda fit: round(fit[1], 6))  # the first, if alike
    if share < TRUSTED:
        return None
    curve, slope, rest = K[1 : 1 + d], K[1 + d : 1 + 2 * d], K[1 + 2 * d :]
    cross, bent = rest[: d * len(goals)].reshape(d, len(goals)), rest[d * len(goals) + U.shape[1] :]
    Q, targets = np.zeros(d), ["0.0"] * d
    least = NEGLIGIBLE * float(np.abs(curve).max())
    for i in range(d):
        if is_angle[i] and (size := float(np.hypot(curve[i], slope[i]))) > least:
            Q[i] = 0.5 * size
            turn = float(np.arctan2(slope[i], curve[i]))
            targets[i] = repr(_number(turn if abs(turn) > NEGLIGIBLE else 0.0))
        elif not is_angle[i] and (weight := float(-curve[i])) > least:
            Q[i] = weight / units[i] ** 2
            place, by_goal = 0.5 * slope[i] / weight, 0.5 * cross[i] / weight
            targets[i] = _formula(place, by_goal, units[i], goals, G)
    effort_weight = float(np.mean(np.maximum(-bent[: U.shape[1]], 0.0) / spread(U) ** 2))
    R = max(effort_weight, 1e-4 * float((Q * units**2).max(initial=1e-6)) / float(np.var(U)))
    source = f"Weights and targets are the reward's own curvature (R2 {share:.4f})."
    return Weights(Q, R, tuple(targets), source)


def _fitted(
    Z: Array, is_angle: Sequence[bool], effort: Array, wanted: Array, rewards: Array
) -> tuple[float, Array]:
    """Fit rewards by curves and slopes of the states, with the goals, and by efforts; R2 first."""
    curves = np.where(is_angle, np.cos(Z), Z**2)
    slopes = np.where(is_angle, np.sin(Z), Z)
    with_goals = [Z[:, [i]] * wanted for i in range(Z.shape[1])]
    of_goals = [wanted[:, [i]] * wanted[:, i:] for i in range(wanted.shape[1])]
    Phi = np.hstack(
        [np.ones((len(Z), 1)), curves, slopes, *with_goals, effort, effort**2, wanted, *of_goals]
    )
    K = np.linalg.lstsq(Phi, rewards, rcond=None)[0]
    return float(1.0 - np.var(rewards - Phi @ K) / np.var(rewards)), K


def _formula(fixed: float, by_goal: Array, unit: float, goals: Sequence[int], G: Array) -> str:
    """Write the target of a state as a linear function of the goals in the observation."""
    parts = []
    sizes = spread(G) if goals else np.ones(0)
    for k, goal in enumerate(goals):
        if abs(by_goal[k]) * max(1.0, abs(float(G[:, k].mean())) / sizes[k]) > SMALL:
            factor = _number(by_goal[k] * unit / sizes[k])
            near = float(round(factor))
            factor = near if near and abs(factor - near) < ROUND * abs(factor) else factor
            parts.append(f"{'' if factor == 1.0 else f'{factor!r} * '}y[{goal}]")
    if abs(fixed) > SMALL or not parts:
        parts.append(repr(_number(fixed * unit if abs(fixed) > SMALL else 0.0)))
    return " + ".join(parts)
