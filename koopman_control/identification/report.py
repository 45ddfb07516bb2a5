"""How good a model is, in numbers and in plain words, before anybody controls with it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from koopman_control.common.arrays import Array, positive_int
from koopman_control.identification.errors import (
    rms_per_step,
    scaled_errors,
    state_scale,
    windows_of,
)
from koopman_control.identification.model import LiftedModel
from koopman_control.identification.rollouts import Rollout
from koopman_control.identification.snapshots import Run, at_limit
from koopman_control.identification.stability import spectral_radius
from koopman_control.identification.structure import core_of
from koopman_control.trajectories import Trajectory, check_trajectories
from koopman_control.trajectories import coverage as excitation

USEFUL = 0.25  # standard deviations: errors beyond are too large to plan with
DIVERGED = 10.0  # standard deviations
HIGH_CONDITION = 1e10
UNUSUAL = 3.0  # standard deviations from the mean of the fit


@dataclass(frozen=True)
class Coverage:
    """What the data judged on cover.

    Args:
        n_runs: Number of trajectories.
        n_steps: Number of steps.
        states: Lowest and highest value of each present state, shape (2, n_outputs).
        inputs: Lowest and highest value of each input, shape (2, m).
        input_share: Share of the action bounds that the inputs span, shape (m,), or None.
        at_limits: Share of steps that end on a known limit of a state.
        unusual: Share of states more than three standard deviations from the mean of the fit.
    """

    n_runs: int
    n_steps: int
    states: Array
    inputs: Array
    input_share: Array | None
    at_limits: float
    unusual: float


def verdict(
    model: LiftedModel,
    mean: Mapping[str, Array],
    useful: Mapping[str, int],
    rho: float,
    condition: float | None,
    coverage: Coverage,
) -> list[str]:
    """Say what the numbers mean and what to do, the most important first."""
    sentences = [_usefulness(mean, useful, model.dt), *_advice(mean, useful)]
    own = next(iter(mean))
    horizon = len(mean[own])
    growth = float(np.exp(min(horizon * np.log(max(rho, 1.0)), 700.0)))
    if growth > 1.1:
        remedy = "" if np.all(mean[own] < DIVERGED) and growth < 10.0 else "; see `stabilized`"
        sentences.append(
            f"The spectral radius {rho:.6g} lets the {own} roll-out grow up to {growth:.3g} times "
            f"over {horizon} steps{remedy}."
        )
    unregularized = not model.summary.get("regularization")
    if condition is not None and not condition < HIGH_CONDITION and unregularized:
        sentences.append(
            f"The regression is badly conditioned ({condition:.2g}): features repeat each other on "
            "the data of the fit; a little regularization or fewer features cost nothing."
        )
    share = coverage.input_share
    if share is not None and (share < 0.5).any():
        i = int(np.argmin(share))
        sentences.append(
            f"Input {i} spans only {100.0 * share[i]:.2g} % of its bounds in these data; the "
            "controller may use all of them, where nothing has been tested."
        )
    if coverage.unusual > 0.01:
        sentences.append(
            f"{100.0 * coverage.unusual:.2g} % of these states lie more than {UNUSUAL:g} standard "
            "deviations from the mean of the fit: the model extrapolates there."
        )
    return sentences


def _usefulness(mean: Mapping[str, Array], useful: Mapping[str, int], dt: float | None) -> str:
    parts = []
    for i, (kind, steps) in enumerate(useful.items()):
        time = f" ({steps * dt:.3g} s)" if dt and steps else ""
        end = f" step{'s' * (steps != 1)}{time}"
        more = " and more" if steps == len(mean[kind]) else ""
        what = f"{'The ' if i == 0 else 'the '}{kind} roll-out"
        parts.append(
            f"{what} is useful to {steps}{end}{more}" if steps else f"{what} is not useful"
        )
    return f"{', '.join(parts)} (errors within {USEFUL:g} standard deviations)."


def _advice(mean: Mapping[str, Array], useful: Mapping[str, int]) -> list[str]:
    (own, n_own), (_, n_relifted) = useful.items()
    exploded = [kind for kind, error in mean.items() if not (error < DIVERGED).all()]
    found = [f"The {kind} roll-out diverges within {len(mean[kind])} steps." for kind in exploded]
    if n_relifted > n_own:
        found.append(f"Beyond {n_own} steps use the relifted roll-out rather than the {own} one.")
    elif n_own > n_relifted:
        found.append(f"Use the {own} roll-out: lifting again at every step adds up errors here.")
    elif n_own and mean["relifted"][-1] < 0.5 * mean[own][-1]:
        found.append(
            f"After {len(mean[own])} steps the relifted one is off by {mean['relifted'][-1]:.2g}, "
            f"the {own} one by {mean[own][-1]:.2g}."
        )
    if max(n_own, n_relifted) == 0:
        found.append("Neither predicts one step: collect more data, or try other features.")
    return found


SHOWN_STEPS = (1, 2, 5, 10, 20, 50, 100, 200, 500, 1000)


@dataclass(frozen=True)
class ModelReport:
    """Prediction errors of a model with what explains them; printing it gives a readable text.

    Args:
        errors: By roll-out, root-mean-square error of each state 1 ... H steps ahead in standard
            deviations (radians for angles), shape (H, d); infinite where it exploded.
        mean_errors: By roll-out, the same over all states, shape (H,).
        useful_steps: By roll-out, up to which step the error stays within a quarter.
        spectral_radius: Largest modulus of the eigenvalues of A, beside those of the constant and
            the angles, which are 1 by construction.
        condition_number: Of the regression, or None if the model does not tell.
        regularization: Of the regression, or None.
        n_lifted: Number of lifted states.
        dt: Sampling time in seconds, or None.
        state_names: Names of the present states, which are judged.
        path: Regularisation and left-out error of the fit for every strength tried with the
            features chosen, by rising strength; empty where nothing was judged.
        coverage: What the data cover.
        findings: What else is remarkable about the data; see `koopman_control.coverage`.
        verdict: Sentences in plain words, the most important first.
    """

    errors: Mapping[str, Array]
    mean_errors: Mapping[str, Array]
    useful_steps: Mapping[str, int]
    spectral_radius: float
    condition_number: float | None
    regularization: float | None
    n_lifted: int
    dt: float | None
    state_names: tuple[str, ...]
    path: tuple[tuple[float, float], ...]
    coverage: Coverage
    findings: tuple[str, ...]
    verdict: tuple[str, ...]

    def __str__(self) -> str:
        """Write verdict, errors, numbers and coverage."""
        lines = [*self.verdict, ""]
        lines += _error_table(self)
        condition = _or_unknown(self.condition_number)
        lines += [
            "",
            f"lifted states {self.n_lifted}, spectral radius {self.spectral_radius:.6g}, condition "
            f"number {condition}, regularization {_or_unknown(self.regularization)}",
            *_path_lines(self.path),
            *_coverage_lines(self.coverage, self.state_names),
            *self.findings,
        ]
        return "\n".join(lines)


def report(
    model: LiftedModel, data: Trajectory | Sequence[Trajectory], horizon: int = 50
) -> ModelReport:
    """Judge a model on data it was not fitted on.

    Args:
        model: The model.
        data: Held-out trajectories.
        horizon: Longest prediction H in steps.

    Returns:
        The report; print it, or read its fields.

    Raises:
        ValueError: If the data do not match the model, or horizon is not positive.

    Example:
        >>> print(report(model, held_out))  # doctest: +SKIP
        The linear roll-out is useful to 12 steps (0.6 s), the relifted one to 50 (2.5 s) and more.
    """
    horizon = positive_int("horizon", horizon)
    checked = check_trajectories(data)
    runs = model.signals.runs(checked)
    windows, scale = windows_of(runs, horizon), state_scale(runs, model.coordinates)
    kinds: tuple[Rollout, Rollout] = (model.lifted_rollout, "relifted")
    raw: dict[str, Array] = {kind: scaled_errors(model, windows, scale, kind) for kind in kinds}
    mean = {kind: rms_per_step(e) for kind, e in raw.items()}
    beyond = {kind: np.append(~(error <= USEFUL), True) for kind, error in mean.items()}
    useful = {kind: int(np.argmax(late)) for kind, late in beyond.items()}
    core = core_of(model)
    rho = spectral_radius(model.A[core, core])
    condition = model.summary.get("condition_number")
    coverage = _coverage(model, runs)
    return ModelReport(
        errors={kind: _by_state(e) for kind, e in raw.items()},
        mean_errors=mean,
        useful_steps=useful,
        spectral_radius=rho,
        condition_number=condition,
        regularization=model.summary.get("regularization"),
        n_lifted=model.n_lifted,
        dt=model.dt,
        state_names=_present_names(model),
        path=_path(model),
        coverage=coverage,
        findings=excitation(checked).findings,
        verdict=tuple(verdict(model, mean, useful, rho, condition, coverage)),
    )


def _present_names(model: LiftedModel) -> tuple[str, ...]:
    """Name the present states; what a memory holds is no prediction."""
    names = model.state_names or tuple(f"x{i}" for i in range(model.n_states))
    return tuple(names[: model.coordinates.n_outputs])


def _path(model: LiftedModel) -> tuple[tuple[float, float], ...]:
    """Return regularisations and scores of the features chosen."""
    scores = model.summary.get("cv_scores") or []
    alike = [s for s in scores if s["features"] == scores[0]["features"]]
    return tuple(sorted((s["regularization"], s["score"]) for s in alike))


def _path_lines(path: Sequence[tuple[float, float]]) -> list[str]:
    if len(path) < 2:
        return []
    pairs = ", ".join(f"{strength:.0e} {score:.3g}" for strength, score in path)
    return [f"left-out error by regularization: {pairs}"]


def _by_state(errors: Array) -> Array:
    """Root mean square over windows, shape (H, d)."""
    return np.stack([rms_per_step(errors[:, :, [i]]) for i in range(errors.shape[2])], axis=1)


def _coverage(model: LiftedModel, runs: Sequence[Run]) -> Coverage:
    X = np.concatenate([run.X for run in runs])
    U = np.concatenate([run.U for run in runs])
    present = X[:, : model.coordinates.n_outputs]
    inputs = np.stack([U.min(axis=0), U.max(axis=0)])
    share = None
    if model.action_bounds is not None and np.isfinite(model.action_bounds).all():
        share = np.ptp(inputs, axis=0) / np.maximum(np.ptp(model.action_bounds, axis=0), 1e-300)
    standard = (model.signals.embedding(X) - model.signals.center) / model.signals.scale
    plain = [kind == "id" for _, kind in model.coordinates.embedded]
    far = np.abs(standard[:, plain]) > UNUSUAL
    ends = np.concatenate([run.X[1:] for run in runs])
    return Coverage(
        n_runs=len(runs),
        n_steps=len(U),
        states=np.stack([present.min(axis=0), present.max(axis=0)]),
        inputs=inputs,
        input_share=share,
        at_limits=float(at_limit(ends, model.limits).any(axis=1).mean()),
        unusual=float(far.any(axis=1).mean()),
    )


def _error_table(result: ModelReport) -> list[str]:
    """Errors by roll-out and state at some steps ahead."""
    length = max(len(e) for e in result.mean_errors.values())
    steps = [k for k in SHOWN_STEPS if k < length] + [length]
    width = max(20, *(len(n) + 4 for n in result.state_names))
    lines = ["error in standard deviations (radians for angles), by steps ahead"]
    lines.append(" " * width + "".join(f"{k:>10}" for k in steps))
    for kind, mean in result.mean_errors.items():
        rows = {f"{kind}, all states": mean}
        rows |= {
            f"  {n}": e for n, e in zip(result.state_names, result.errors[kind].T, strict=True)
        }
        for label, error in rows.items():
            cells = [f"{error[k - 1]:>10.3g}" if k <= len(error) else f"{'-':>10}" for k in steps]
            lines.append(f"{label:<{width}}" + "".join(cells))
    return lines


def _coverage_lines(coverage: Coverage, names: Sequence[str]) -> list[str]:
    ranges = ", ".join(
        f"{name} {low:.3g} to {high:.3g}"
        for name, low, high in zip(names, *coverage.states, strict=True)
    )
    inputs = ", ".join(f"{low:.3g} to {high:.3g}" for low, high in coverage.inputs.T)
    used = coverage.input_share
    share = "" if used is None else f" ({100.0 * float(used.min()):.3g} % of the bounds or more)"
    return [
        f"judged on {coverage.n_steps} steps in {coverage.n_runs} runs: {ranges}",
        f"inputs {inputs}{share}; {100.0 * coverage.at_limits:.2g} % of steps end on a limit, "
        f"{100.0 * coverage.unusual:.2g} % of states are unusual for the fit",
    ]


def _or_unknown(value: float | None) -> str:
    return "unknown" if value is None else f"{value:.3g}"
