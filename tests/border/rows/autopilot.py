"""The autopilot."""

from functools import cache

import numpy as np

import koopman_control.autopilot as autopilot
from koopman_control.autopilot import Findings
from koopman_control.trajectories import Trajectory
from tests.border.rows.row import Row


@cache
def findings() -> Findings:
    """What is found out about a short walk."""
    rng = np.random.default_rng(0)
    U = rng.uniform(-1.0, 1.0, (120, 1))
    return autopilot.find(Trajectory(np.vstack([[0.0], np.cumsum(U, axis=0)]), U))


ROWS = [
    Row(
        "Autopilot",
        autopilot.Autopilot,
        lambda: dict(
            budget=300,
            seed=0,
            angles=[(0, 1)],
            context=[3],
            ignored=[2],
            reward=None,
            done=lambda y: y[:, 0] > 1.0,
            reference=[0.0, np.nan],
            levers=autopilot.Levers(),
        ),
    ),
    Row(
        "Levers",
        autopilot.Levers,
        lambda: dict.fromkeys(
            ("trim", "structure", "value", "search", "refine", "quadratic"), True
        ),
    ),
    Row(
        "find",
        autopilot.find,
        lambda: dict(data=[Trajectory(np.arange(121.0)[:, None] % 5.0, np.ones((120, 1)))]),
    ),
    Row("Findings.write", lambda **k: findings().write(**k), lambda: dict(path="findings.json")),
]
