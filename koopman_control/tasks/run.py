"""The whole job for one task: learn, evaluate next to references, and write a run folder."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import closing
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
from sklearn.base import clone

from koopman_control.autopilot import Findings, Piloted
from koopman_control.autopilot.pace import at_pace
from koopman_control.common import Array, PathLike
from koopman_control.common.arrays import seed_number
from koopman_control.evaluation import (
    Evaluation,
    Learned,
    RandomPolicy,
    ZeroPolicy,
    action_bounds,
    evaluate,
)
from koopman_control.identification import LiftedModel, pseudospectrum, spectrum
from koopman_control.tasks.references import normalised_score, reference_returns
from koopman_control.tasks.task import Task
from koopman_control.tasks.untold import Untold
from koopman_control.trajectories import Trajectory, total_steps

LARGEST = 300  # lifted states whose spectrum is analysed within about a second
GRID, DIRECTIONS = 25, 30  # points along a side, and combined lifted directions
FINDINGS = "findings.json"
HELP = {  # what a user can tell the autopilot where it is not certain
    "angles": "say which columns are angles: angles=((cosine, sine), ...)",
    "context": "say which columns are goals or parameters: context=(...), or give more episodes",
    "switches": "collect more, or leave them out of the observation",
    "rates": "the model does not need it; more data, or less noise, would make it sure",
    "ignored": "say which columns make no difference: ignored=(...), or give more budget",
    "limits": "give the observation space its true bounds",
    "inputs": "give inputs in which the plant acts in a straight line, in a wrapper",
    "delays": "excite the inputs more, or take a known delay out in a wrapper",
    "noise": "filter the measurements in a wrapper, or give more budget",
    "memory": "observe the missing speeds, or stack past observations in a wrapper",
    "contacts": "give more budget, or a task that breaks episodes off before an impact",
    "reward": "write a ready task (`describe --write-task`) with the cost that is meant",
    "ends": "give more budget, or more that is observed of what ends an episode",
}
MARGIN = 0.1  # shown around the eigenvalues that the data confirm


def spectral_figures(model: LiftedModel, data: Sequence[Trajectory]) -> dict[str, Any]:
    """Draw eigenvalues with their residuals on data, and the pseudospectrum around the true ones.

    Args:
        model: The model.
        data: Trajectories that no fit has seen.

    Returns:
        Figures by name; none for a model so large that they would take long.
    """
    from koopman_control.evaluation import plots

    if model.n_lifted > LARGEST:
        return {}
    found = spectrum(model, data)
    true = found.eigenvalues[~found.spurious()]
    left, right = true.real.min(initial=1.0) - MARGIN, true.real.max(initial=1.0) + MARGIN
    reach = np.abs(true.imag).max(initial=0.0) + MARGIN
    real, imaginary = np.linspace(left, right, GRID), np.linspace(-reach, reach, GRID)
    points = real + 1j * imaginary[:, None]
    residuals = pseudospectrum(model, data, points, n_directions=DIRECTIONS)
    return {
        "eigenvalue_residuals": plots.eigenvalue_residuals(
            found.eigenvalues, np.asarray(found.residuals)
        ),
        "pseudospectrum": plots.pseudospectrum(real, imaginary, residuals, true),
    }


Progress = Callable[[str, int], None]  # what is going on, and how many units of it are done


@dataclass(frozen=True)
class Run:
    """Everything a run found.

    Args:
        task: What was learned; `Untold` if the autopilot found it out.
        learned: Controller, model, data and rounds.
        evaluation: The controller on the evaluation seeds.
        random: The random policy on the same seeds.
        zero: The zero policy on the same seeds.
        reference: Name and returns of the true-model reference, if stored for these seeds.
        prediction_error: Left-out error 1 ... H steps ahead per roll-out, in standard deviations.
        linear: The best linear model on the same data, for comparison of roll-outs; None: none.
        learning_seed: Seed of everything random in learning.
        findings: What was found out about an environment of which nothing was told.
    """

    task: Task | Untold
    learned: Learned
    evaluation: Evaluation
    random: Evaluation
    zero: Evaluation
    reference: tuple[str, Array] | None
    prediction_error: dict[str, Array]
    linear: LiftedModel | None
    learning_seed: int
    findings: Findings | None = None

    @property
    def references(self) -> dict[str, Evaluation | Array]:
        """Other controllers on the same seeds, by name."""
        found: dict[str, Evaluation | Array] = {"random": self.random, "zero": self.zero}
        if self.reference is not None:
            found[self.reference[0]] = self.reference[1]
        return found

    @property
    def normalised_score(self) -> float | None:
        """Mean return on a scale from random (0) to the stored reference (1), if there is one."""
        if self.reference is None:
            return None
        evaluation = self.evaluation
        return normalised_score(self.task.env_id, evaluation.returns, evaluation.seeds)

    def metrics(self) -> dict[str, Any]:
        """Return the content of metrics.json."""
        means = {name: float(np.mean(_returns(r))) for name, r in self.references.items()}
        metrics = self.evaluation.metrics() | self._run_metrics() | {"references": means}
        metrics["settings"] = self.evaluation.metrics()["settings"] | self._settings()
        return metrics

    def write(self, folder: Path) -> Path:
        """Write report.html, metrics.json, findings.json if there are any, and the figures.

        Returns:
            Path of report.html.
        """
        if self.findings is not None:
            self.findings.write(folder / FINDINGS)
        return self.evaluation.report(
            folder,
            references=self.references,
            metrics=self._run_metrics() | {"settings": self._settings()},
            figures=self._figures(),
            title=f"{self.task.env_id}: {self.task.summary}",
        )

    def _told(self) -> dict[str, dict[str, str]]:
        """Say of each finding what it is, its evidence, and what a user could do about it."""
        found = {} if self.findings is None else self.findings.items()
        return {
            name: {
                "words": item.words,
                "evidence": item.numbers(),
                "advice": "" if item.certain else HELP[name],
            }
            for name, item in found.items()
        }

    def _run_metrics(self) -> dict[str, Any]:
        return {
            "data_steps": total_steps(self.learned.data),
            "fit_seconds": self.learned.fit_seconds,
            "learn_seconds": self.learned.seconds,
            "prediction_error": {k: v.tolist() for k, v in self.prediction_error.items()},
            "normalised_score": self.normalised_score,
            **({"findings": self._told()} if self.findings is not None else {}),
        }

    def _settings(self) -> dict[str, Any]:
        """Describe task, model and rounds as plain data."""
        settings = {k: v for k, v in self.task.settings().items() if k != "env_id"}
        model = self.learned.model
        eigenvalue = float(np.abs(model.eigenvalues[0]))
        notes = list(self.learned.notes) if isinstance(self.learned, Piloted) else None
        facts = dict(model.summary) | {"n_lifted": model.n_lifted, "spectral_radius": eigenvalue}
        rounds = [asdict(r) | {"returns": list(r.returns)} for r in self.learned.rounds]
        return {
            "learning_seed": self.learning_seed,
            "task": settings,
            "model": facts,
            "rounds": rounds,
            **({"notes": notes} if notes is not None else {}),
        }

    def _figures(self) -> dict[str, Any]:
        """Draw learning, prediction and spectrum."""
        from koopman_control.evaluation import plots

        rounds, model = self.learned.rounds, self.learned.model
        truth, predictions = self._prediction_windows()
        means = {name: float(np.mean(_returns(r))) for name, r in self.references.items()}
        return {
            "learning_curve": plots.learning_curve(
                [r.steps for r in rounds],
                returns=[r.returns for r in rounds],
                errors={self.task.rollout: [r.score for r in rounds]},
                references=means,
            ),
            "prediction_fan": plots.prediction_fan(
                truth,
                predictions,
                self.evaluation.dt,
                self.task.state_names or model.state_names[: model.coordinates.n_outputs],
            ),
            "eigenvalues": plots.eigenvalues(model.eigenvalues),
            **spectral_figures(model, self._paced_episodes()),
        }

    def _paced_episodes(self) -> list[Trajectory]:
        """Return the kept evaluation episodes at the pace of the model."""
        runs = [Trajectory(e.observations, e.actions) for e in self.evaluation.episodes]
        return at_pace(runs, self.learned.step) if isinstance(self.learned, Piloted) else runs

    def _prediction_windows(self) -> tuple[Array, dict[str, Array]]:
        """Predict the start of each kept evaluation episode; no fit has seen these."""
        model, episodes = self.learned.model, self._paced_episodes()
        k, p = model.coordinates.memory, model.coordinates.n_outputs
        H = min(self.task.horizon, *(len(e.actions) - k for e in episodes))
        truth = np.stack(
            [model.coordinates.along(e.observations, e.actions)[: H + 1] for e in episodes]
        )
        inputs = np.stack([e.actions[k : k + H] for e in episodes])
        increments = model.coordinates.wrapped_difference(truth[:, 1:], truth[:, :-1])
        truth[:, 1:] = truth[:, :1] + np.cumsum(increments, axis=1)  # angles without jumps
        kinds: dict[str, tuple[LiftedModel, str]] = {}
        if self.linear is not None:
            kinds["linear"] = (self.linear, "linear")
        if self.linear is not None and self.task.coupling == "bilinear":
            kinds["bilinear"] = (model, "bilinear")
        kinds["relifted"] = (model, "relifted")
        predictions = {}
        for name, (predictor, rollout) in kinds.items():
            with np.errstate(all="ignore"):
                predicted = predictor.rolled_out(truth[:, 0], inputs, rollout)  # type: ignore[arg-type]
            near = truth[:, 1:] + model.coordinates.wrap(predicted - truth[:, 1:])
            predictions[name] = np.concatenate([truth[:, :1], near], axis=1)[..., :p]
        return truth[..., :p], predictions


def run_task(
    task: Task | Untold,
    *,
    episodes: int = 100,
    first_seed: int = 1000,
    learning_seed: int = 0,
    workers: int = 2,
    progress: Progress = lambda what, done: None,
    on_learned: Callable[[Learned], None] = lambda learned: None,
    checkpoint: PathLike | None = None,
) -> Run:
    """Learn a controller for a task and evaluate it on seeds that learning never saw.

    Args:
        task: The task, or an environment of which nothing is told.
        episodes: Number of evaluation episodes.
        first_seed: Reset seed of the first of them; the others follow.
        learning_seed: Seed of everything random in learning.
        workers: Processes for the evaluation.
        progress: Called with ("collect", steps) and ("evaluate", episodes) as they add up.
        on_learned: Called with what was learned before it is evaluated, to save it, say.
        checkpoint: Folder from which an interrupted run goes on; see `koopman_control.learn`.

    Returns:
        The run.

    Raises:
        CollectionInterrupted: Ctrl-C while collecting; carries the trajectories so far.
    """
    seeds = range(first_seed, first_seed + episodes)
    seed_number("the last evaluation seed", seeds[-1])  # rather now than after learning
    learned = task.learn(learning_seed, lambda steps: progress("collect", steps), checkpoint)
    on_learned(learned)
    findings = learned.findings if isinstance(learned, Piloted) else None
    errors, linear = _errors_per_rollout(task, learned)
    finished = iter(range(1, episodes + 1))
    with closing(task.environment()) as env:
        result = evaluate(
            learned.controller,
            env,
            seeds,
            workers,
            on_episode=lambda _: progress("evaluate", next(finished)),
        )
        box = action_bounds(env)
        random = evaluate(RandomPolicy(box), env, seeds)
        zero = evaluate(ZeroPolicy(box), env, seeds)
    cut = isinstance(task, Untold) and task.max_episode_steps is not None
    stock = not task.env_arguments and task.wrap is None and not cut
    reference = reference_returns(task.env_id, seeds) if stock else None
    return Run(
        task, learned, result, random, zero, reference, errors, linear, learning_seed, findings
    )


def _errors_per_rollout(
    task: Task | Untold, learned: Learned
) -> tuple[dict[str, Array], LiftedModel | None]:
    """Collect left-out errors of all roll-outs; the linear one needs a linear model of its own."""
    estimator = learned.estimator
    if isinstance(task, Untold):
        return dict(estimator.cv_error_), None
    if task.coupling == "linear":
        return dict(estimator.cv_error_), learned.model
    features = clone(estimator.choices_[0].features)
    settings = clone(estimator).set_params(features=features, coupling="linear", rollout="linear")
    twin = settings.fit(learned.data)
    return {"linear": twin.cv_error_["linear"], **estimator.cv_error_}, twin.model_


def _returns(controller: Evaluation | Array) -> Array:
    return controller.returns if isinstance(controller, Evaluation) else controller
