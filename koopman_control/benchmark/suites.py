"""Suites of other authors, of which nothing is told, and what others reached there."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from koopman_control.common.border import checked
from koopman_control.tasks.untold import Untold


@dataclass(frozen=True)
class Suite:
    """Environments that another package brings, and published returns to stand beside ours.

    Args:
        summary: What it is, in one line.
        tasks: Environments by name, with the budget of steps they are learned from.
        published: Mean returns by the name of the method and the environment, with the steps that
            these were learned from in the name.
    """

    summary: str
    tasks: Mapping[str, Untold]
    published: Mapping[str, Mapping[str, float]] = field(default_factory=dict)


def _dm_control(name: str, budget: int) -> Untold:
    return Untold(f"dm_control/{name}-v0", budget, module="shimmy", name=name)


_BUDGETS = {
    "pendulum-swingup": 5000,
    "cartpole-swingup": 5000,
    "cartpole-balance": 5000,
    "reacher-hard": 5000,
    "point_mass-easy": 5000,
    "ball_in_cup-catch": 5000,
    "acrobot-swingup": 5000,
    "cartpole-swingup_sparse": 10_000,
    "cheetah-run": 20_000,
    "hopper-stand": 20_000,
    "walker-stand": 20_000,
}
# Of the methods' own result files; 100k steps are 20 times our budget, 25k a little more.
_PUBLISHED = {
    "BRO, 100,000 steps": {
        "pendulum-swingup": 819.0,
        "cartpole-swingup": 872.0,
        "cartpole-balance": 995.0,
        "reacher-hard": 889.0,
        "ball_in_cup-catch": 977.0,
        "acrobot-swingup": 107.0,
        "cartpole-swingup_sparse": 797.0,
    },
    "BRO, 25,000 steps": {"cheetah-run": 228.0},
    "SimbaV2, 100,000 steps": {
        "pendulum-swingup": 826.0,
        "cartpole-swingup": 880.0,
        "cartpole-balance": 1000.0,
        "reacher-hard": 890.0,
        "ball_in_cup-catch": 979.0,
        "acrobot-swingup": 103.0,
    },
    "TD-MPC2, 100,000 steps": {
        "pendulum-swingup": 724.0,
        "cartpole-swingup": 839.0,
        "cartpole-balance": 998.0,
        "reacher-hard": 414.0,
        "ball_in_cup-catch": 981.0,
        "acrobot-swingup": 179.0,
    },
}

SUITES: dict[str, Suite] = {
    "dm_control": Suite(
        "the DeepMind Control Suite, by shimmy: pip install 'koopman-control[suites]'",
        {name: _dm_control(name, budget) for name, budget in _BUDGETS.items()},
        _PUBLISHED,
    )
}


@checked
def beside_published(suite: Suite, means: Mapping[str, float]) -> str:
    """Return a Markdown table of our mean returns beside published ones.

    Args:
        suite: The suite.
        means: Our mean returns by environment.
    """
    methods = list(suite.published)
    lines = [
        f"| environment | steps | ours | {' | '.join(methods)} |",
        f"|---|---|---|{'---|' * len(methods)}",
    ]
    for name, task in suite.tasks.items():
        if name in means:
            others = [suite.published[method].get(name) for method in methods]
            cells = [f"{means[name]:.0f}", *("–" if v is None else f"{v:.0f}" for v in others)]
            lines.append(f"| {name} | {task.n_steps:,} | {' | '.join(cells)} |")
    return "\n".join(lines) + "\n"
