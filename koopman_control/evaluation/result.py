"""What an evaluation found: frozen numbers, their summaries and the report on them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from koopman_control.common.arrays import Array
from koopman_control.common.border import checked
from koopman_control.evaluation.episode import Episode
from koopman_control.evaluation.metrics import package_versions
from koopman_control.evaluation.statistics import bootstrap_interval, interquartile_mean

if TYPE_CHECKING:  # a loop that draws nothing need not wait for matplotlib
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
            >>> evaluate(controller, "Pendulum-v1").report("runs/pendulum")
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
