"""Draw the picture of the first page: the pendulum's swing-ups, and what they cost.

`python -m docs.picture` learns the task Pendulum-v1 and writes `docs/assets/pendulum.png`.
"""

from __future__ import annotations

from pathlib import Path

import gymnasium as gym
import matplotlib.pyplot as plt
import numpy as np

from koopman_control import evaluate
from koopman_control.tasks import TASKS, reference_returns

SEEDS = range(1000, 1040)
PICTURE = Path(__file__).parent / "assets" / "pendulum.png"


def main() -> None:
    """Learn, judge and draw."""
    task = TASKS["Pendulum-v1"]
    learned = task.learn(seed=0)
    result = evaluate(learned.controller, gym.make(task.env_id), seeds=SEEDS)
    reference = reference_returns(task.env_id, SEEDS)
    assert reference is not None
    figure, (left, right) = plt.subplots(
        1, 2, figsize=(9.0, 3.4), width_ratios=(1.7, 1.0), layout="constrained"
    )
    for episode in result.episodes:
        cosine, sine = episode.observations[:, :2].T
        angle = np.degrees(np.unwrap(np.arctan2(sine, cosine)))
        angle -= 360.0 * np.round(angle[-1] / 360.0)
        left.plot(0.05 * np.arange(len(angle)), angle, color="#1f77b4", alpha=0.5, lw=1.2)
    left.axhline(0.0, color="#D55E00", lw=1.0, ls="--")
    left.set(xlabel="seconds", ylabel="angle from upright (degrees)", xlim=(0.0, 6.0))
    left.set_yticks(range(-360, 361, 90))
    shown = f"{len(result.episodes)} of {len(SEEDS)} starts never seen, 600 samples of data"
    left.set_title(shown, size=11)
    right.plot(
        [-400, 0], [-400, 0], color="#D55E00", lw=1.0, ls="--", label="as good as the optimum"
    )
    right.plot(reference[1], result.returns, "o", ms=4, alpha=0.6, color="#1f77b4", label="a start")
    right.set(xlabel="optimal return, true model", ylabel="return", xlim=(-300, 5), ylim=(-300, 5))
    right.set_aspect("equal")
    right.legend(loc="lower right", frameon=False, fontsize=9)
    right.set_title("What each swing-up cost", size=11)
    for axes in (left, right):
        axes.spines[["top", "right"]].set_visible(False)
        axes.grid(alpha=0.25)
    figure.savefig(PICTURE, dpi=130)


if __name__ == "__main__":
    main()
