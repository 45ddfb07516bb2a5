"""Find out about an environment from data: everything that `Findings` holds, in one call."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from koopman_control.autopilot.findings import Finding, Findings, InputShape
from koopman_control.autopilot.inputs import find_delays, find_input_shapes
from koopman_control.autopilot.objective import find_ends, find_reward
from koopman_control.autopilot.plant import (
    MOST_COLUMNS,
    find_contacts,
    find_ignored,
    find_memory,
    find_noise,
)
from koopman_control.autopilot.samples import Samples
from koopman_control.autopilot.smooth import Smooth
from koopman_control.autopilot.structure import (
    STUCK,
    find_angles,
    find_context,
    find_limits,
    find_rates,
)
from koopman_control.common import Array
from koopman_control.common.border import checked
from koopman_control.features import Angle
from koopman_control.identification.delays import without_input_delay
from koopman_control.trajectories import Trajectory, check_trajectories

FEWEST = 100  # steps; fewer tell too little


@checked
def find(data: Trajectory | Sequence[Trajectory]) -> Findings:
    """Find out about an environment from what was measured in it.

    Nothing depends on the units of the data, but that angles are in radians.

    Args:
        data: Trajectories, with inputs that vary. What they know of bounds and names is used.

    Returns:
        The findings, each with its evidence.

    Raises:
        ValueError: There are too few steps to find anything, or nothing ever moves.

    Example:
        >>> from koopman_control import collect
        >>> found = find(collect("Pendulum-v1", n_steps=400, seed=0))
        >>> found.angles.value, found.reward.value.kind
        (((0, 1),), 'quadratic')
    """
    runs = check_trajectories(data)
    samples = Samples.of(runs)
    if len(samples) < FEWEST:
        raise ValueError(
            f"data holds {len(samples)} steps; expected at least {FEWEST}: collect more"
        )
    if not samples.changed.any():
        raise ValueError(
            f"data holds {len(samples)} steps in which no observation changes; expected a plant "
            "that moves: look at how its observations are made"
        )
    p, m = samples.before.shape[1], samples.inputs.shape[1]
    names = runs[0].observation_names or tuple(f"y{i}" for i in range(p))
    action_names = runs[0].action_names or tuple(f"u{i}" for i in range(m))
    bounds = runs[0].observation_bounds
    bounds = np.full((2, p), [[-np.inf], [np.inf]]) if bounds is None else np.array(bounds)
    angles = find_angles(samples, names)
    context, switches = find_context(samples, names)
    fixed = (*context.value, *switches.value)
    inside = [c for angle in angles.value if isinstance(angle, tuple) for c in angle]
    limits = find_limits(samples, names, bounds, (*fixed, *inside))
    rates, ordered = find_rates(samples, names, angles.value, fixed)
    angles = Finding(ordered, angles.evidence, angles.words, angles.certain)
    common = _Common(samples, names, fixed, limits.value)
    if p > MOST_COLUMNS or len(fixed) == p:
        found = _not_looked_for(p, m, len(fixed) == p)
    else:
        found = {"delays": find_delays(runs, action_names)}
        if any(found["delays"].value):
            shifted = Samples.of(without_input_delay(runs, list(found["delays"].value)))
            common = _Common(shifted, names, fixed, limits.value)
        model = common.smooth(angles.value)
        found["inputs"] = find_input_shapes(model, action_names)
        if any(shape != InputShape() for shape in found["inputs"].value):
            model = common.smooth(angles.value, found["inputs"].value)
        found["ignored"] = find_ignored(model, names)
        found["noise"] = find_noise(model, names)
        found["memory"] = find_memory(model, rates.value)
        found["contacts"] = find_contacts(model, names)
    return Findings(
        names=names,
        action_names=action_names,
        n_steps=len(samples),
        angles=angles,
        context=context,
        switches=switches,
        rates=rates,
        limits=limits,
        reward=find_reward(samples, names, action_names, angles.value),
        ends=find_ends(samples, names, angles.value, context.value),
        **found,
    )


def _not_looked_for(p: int, m: int, still: bool) -> dict[str, Finding[Any]]:
    """Say that a plant of many columns, or of goals and switches only, was not looked into."""
    nothing = {
        "delays": (0,) * m,
        "inputs": (InputShape(),) * m,
        "ignored": (),
        "noise": np.zeros(p),
        "memory": 0,
        "contacts": 0.0,
    }
    words = f"not looked for among {p} {'goals and switches' if still else 'columns'}"
    return {name: Finding(value, {}, words, False) for name, value in nothing.items()}


@dataclass(frozen=True, eq=False)
class _Common:
    """What smooth models of one plant have in common.

    Args:
        samples: The data, delays of inputs taken out.
        names: Names of the columns.
        fixed: Columns without a change of their own: goals, switches.
        limits: Limits of the columns, shape (2, p).
    """

    samples: Samples
    names: Sequence[str]
    fixed: Sequence[int]
    limits: Array

    def smooth(self, angles: Sequence[Angle], shapes: Sequence[InputShape] = ()) -> Smooth:
        """Fit a smooth model to the samples that touch no limit."""
        s, inside = self.samples, {c for a in angles if isinstance(a, tuple) for c in a}
        plain = [
            c
            for c in range(len(self.names))
            if c not in inside and c not in self.fixed and c not in angles
        ]
        parameters = [c for c in self.fixed if np.ptp(s.before[:, c]) > 0.0]
        turning = [a for a in angles if isinstance(a, int)]
        margin = STUCK * s.spread
        low, high = self.limits[0] + margin, self.limits[1] - margin
        touching = (s.after <= low) | (s.after >= high) | (s.before <= low) | (s.before >= high)
        usable = ~touching[:, plain].any(axis=1)
        if usable.sum() < FEWEST:
            usable = np.ones(len(s), dtype=bool)
        return Smooth(s, [*angles, *plain], parameters, turning, usable, shapes)
