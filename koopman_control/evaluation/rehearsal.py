"""A controller rehearsed on its model, and on what else the data allow the plant to be."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from koopman_control.common.arrays import Array, positive_int
from koopman_control.common.border import at_least, checked
from koopman_control.common.files import PathLike, ensure_writable_folder
from koopman_control.evaluation.evaluate import Evaluation, evaluate
from koopman_control.evaluation.model_env import ModelEnv, tracking_reward
from koopman_control.identification import LiftedModel, bootstrap_models
from koopman_control.mpc import KoopmanMPC
from koopman_control.trajectories import Trajectory, check_trajectories

if TYPE_CHECKING:
    from matplotlib.figure import Figure

CONTROLLER = "controller.npz"
PIECES = 8  # that a single run is cut into, to draw from
FIRST_SEED = 1000


@dataclass(frozen=True)
class Rehearsal:
    """What a controller did on models of its plant.

    Args:
        controller: The controller.
        nominal: On its own model.
        variants: On each model that was fitted to other draws of the data.
        beyond: Share of the steps on all of them in which the state left the data.
    """

    controller: KoopmanMPC
    nominal: Evaluation
    variants: tuple[Evaluation, ...]
    beyond: float

    @property
    def ratio(self) -> float:
        """Mean cost on the worst variant, relative to that on the model; NaN without variants."""
        if not self.variants or not self.nominal.mean:
            return float("nan")
        return min(each.mean for each in self.variants) / self.nominal.mean

    def __str__(self) -> str:
        """Say it in plain words."""
        own = self.nominal
        lines = [f"on its model: mean cost {-own.mean:.4g} over {len(own.seeds)} starts"]
        if self.variants:
            costs = [-each.mean for each in self.variants]
            lines.append(
                f"on {len(costs)} other fits to the data: {min(costs):.4g} to {max(costs):.4g}"
            )
            if self.ratio > 2.0:
                lines.append(
                    "the cost more than doubles on one of them: the data leave open what matters "
                    "to the controller; weigh inputs more, or measure where it goes"
                )
        fallback = max(each.fallback_share for each in (own, *self.variants))
        if fallback > 0.0:
            lines.append(f"it fell back in up to {fallback:.1%} of the steps")
        broken = sum(int(each.violations["steps"] or 0) for each in (own, *self.variants))
        if broken:
            lines.append(f"output bounds were broken in {broken} steps")
        lines.append(f"{self.beyond:.1%} of the steps left the data")
        return "\n".join(lines)

    def metrics(self) -> dict[str, Any]:
        """Return what the report adds to the metrics of the evaluation."""
        return {
            "variants": [each.returns.tolist() for each in self.variants],
            "cost_ratio": self.ratio,
            "out_of_data": self.beyond,
        }

    def figures(self) -> dict[str, Figure]:
        """Draw the loop on all variants from the same start."""
        from koopman_control.evaluation import plots

        if not self.variants:
            return {}
        episodes = [each.episodes[0] for each in (self.nominal, *self.variants)]
        model, box = self.controller.model, self.nominal.action_bounds
        names = [f"observation {i}" for i in range(model.coordinates.n_observations)]
        for name, column in zip(model.state_names, model.coordinates.columns, strict=False):
            if not isinstance(column, tuple):
                names[column] = name
        drawn = plots.closed_loop(episodes, self.nominal.dt, names, action_bounds=box)
        text = f"The same start on the model and on {len(self.variants)} other fits to the data"
        plots.style.set_title(drawn, text)
        return {"variants": drawn}

    @checked
    def write(self, folder: PathLike) -> Path:
        """Write controller.npz, report.html, metrics.json and figures into a folder.

        Returns:
            Path of report.html.

        Raises:
            OSError: If the folder cannot be written.
        """
        target = ensure_writable_folder(folder)
        self.controller.save(target / CONTROLLER)
        others = {f"variant {i + 1}": each for i, each in enumerate(self.variants)}
        title = "A controller on models of its plant"
        return self.nominal.report(target, others, self.metrics(), self.figures(), title)


@checked
def rehearse(
    controller: KoopmanMPC,
    data: Trajectory | Sequence[Trajectory] | None = None,
    *,
    n_variants: int = 5,
    n_starts: int = 5,
    n_steps: int = 200,
    noise: float = 0.0,
    seed: int = 0,
) -> Rehearsal:
    """Run a controller in closed loop on its model, and on other models that the data allow.

    The others are fitted like the model, to trajectories drawn with replacement, with features
    drawn anew (`bootstrap_models`); a single trajectory is cut into pieces. How the cost differs
    among them is what the data leave open; what no model of this kind can express, it does not
    tell. All are rolled out re-lifted, the most accurate prediction there is.

    Args:
        controller: The controller.
        data: What its model was fitted on; starts are drawn from it. None: no other models.
        n_variants: Number of other models.
        n_starts: Number of starts on each.
        n_steps: Steps from each.
        noise: Of observations, as for `ModelEnv`.
        seed: Of all draws.

    Raises:
        ValueError: If a number is out of range, or the model is reduced.
    """
    positive_int("n_variants", n_variants, minimum=0)
    positive_int("n_starts", n_starts)
    positive_int("n_steps", n_steps)
    at_least("noise", noise, 0)
    model, seeds = controller.model, range(FIRST_SEED, FIRST_SEED + n_starts)
    runs = None if data is None else check_trajectories(data)
    variants = []
    if runs is not None and n_variants:
        variants = bootstrap_models(model, _in_pieces(runs), n_variants, seed=seed)
    bounds = controller._weights.output_bounds[:, 0, : model.coordinates.n_outputs]
    found, reward = [], tracking_reward(controller)
    for each in (model, *variants):
        env = ModelEnv(
            each,
            runs,
            reward=reward,
            n_steps=n_steps,
            observation_noise=noise,
            action_bounds=_input_bounds(controller),
            output_bounds=bounds if np.isfinite(bounds).any() else None,
        )
        found.append(evaluate(controller, env, seeds))
    beyond = np.concatenate([_beyond(model, each) for each in found])
    return Rehearsal(controller, found[0], tuple(found[1:]), float(beyond.mean()))


def _input_bounds(controller: KoopmanMPC) -> Array | None:
    """The controller's own bounds of all inputs, where its model has none."""
    low, high = controller._weights.input_bounds
    box = np.stack([low.min(axis=0), high.max(axis=0)])
    whole = box.shape[1] == controller.model.n_inputs and bool(np.isfinite(box).all())
    return box if whole and controller.model.action_bounds is None else None


def _in_pieces(runs: list[Trajectory]) -> list[Trajectory]:
    """Cut a single trajectory, so that there is something to draw."""
    if len(runs) > 1:
        return runs
    (run,) = runs
    edges = np.linspace(0, len(run), min(PIECES, len(run)) + 1).astype(int).tolist()
    return [
        Trajectory(
            run.observations[a : b + 1],
            run.actions[a:b],
            dt=run.dt,
            observation_bounds=run.observation_bounds,
            action_bounds=run.action_bounds,
            observation_names=run.observation_names,
            action_names=run.action_names,
        )
        for a, b in pairwise(edges)
    ]


def _beyond(model: LiftedModel, found: Evaluation) -> Array:
    """Mark the steps of kept episodes in which the state left the data."""
    states = [
        model.coordinates.along(episode.observations, episode.actions) for episode in found.episodes
    ]
    return np.asarray(model.distance(np.concatenate(states)) > 1.0, dtype=np.float64)
