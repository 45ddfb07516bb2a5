"""How well an identified model simulates a log it has not seen, and whether it is fit to control.

The numbers first: free runs on the rows of the log, one-step residuals and what is left in them,
steady states. Then what they mean, in sentences.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
from scipy.interpolate import CubicSpline

from koopman_control.common.arrays import Array, positive_int
from koopman_control.common.border import checked
from koopman_control.identification import Identified, LiftedModel, prediction_error
from koopman_control.identification.log_facts import thinned
from koopman_control.trajectories import Trajectory, check_trajectories

LAGS = 25  # of residuals and inputs
BAND = 1.96  # standard deviations that white noise keeps to in 95 % of lags
LEVELS = 9  # of an input at which steady states are looked for
SETTLING = 4_000  # steps at most until a steady state
STILL = 1e-4  # standard deviations of an output in SETTLING // 10 steps
POOR = 50.0  # % of fit


@dataclass(frozen=True, eq=False)
class FreeRun:
    """A run of a log and what a model says of it, knowing the inputs and the first rows only.

    Args:
        measured: Outputs, shape (T, p).
        simulated: What the model says, NaN after a divergence, shape (T, p).
        linear: What the linear model says, shape (T, p).
        first: First row that is simulated.
        verdict: What happened, in words.
    """

    measured: Array
    simulated: Array
    linear: Array
    first: int
    verdict: str


@dataclass(frozen=True, eq=False)
class Residuals:
    """What one-step predictions miss, and what it still holds.

    Args:
        whiteness: Correlation of each output's residual with itself 1 ... LAGS steps before, shape
            (LAGS, p).
        inputs: Correlation with each input -LAGS ... LAGS steps before, shape (2 LAGS + 1, p, m).
        band: What 95 % of the lags of white noise stay within.
    """

    whiteness: Array
    inputs: Array
    band: float


@dataclass(frozen=True, eq=False)
class SteadyStates:
    """Where outputs settle under constant inputs, one input moved at a time.

    Args:
        inputs: Levels of each input, the others at their mean, shape (m, LEVELS).
        outputs: Where the outputs settle, NaN where they do not, shape (m, LEVELS, p).
        findings: What is wrong with them, in words; empty if nothing is.
    """

    inputs: Array
    outputs: Array
    findings: tuple[str, ...]


@dataclass(frozen=True, eq=False)
class LogJudgement:
    """A model judged on a log.

    Args:
        runs: Free runs.
        rmse: Root mean square error of the free runs by output, in its unit, shape (p,).
        fit: 100 (1 - |error| / |deviation from the mean|) by output, in %, shape (p,).
        linear_rmse: As `rmse`, of the linear model.
        k_step: Root mean square error 1 ... H steps ahead in standard deviations, shape (H,).
        residuals: What one-step predictions miss.
        steady: Steady states.
        names: Names of the outputs.
        input_names: Names of the inputs.
        verdict: Sentences, the most important first.
    """

    runs: tuple[FreeRun, ...]
    rmse: Array
    fit: Array
    linear_rmse: Array
    k_step: Array
    residuals: Residuals
    steady: SteadyStates
    names: tuple[str, ...]
    input_names: tuple[str, ...]
    verdict: tuple[str, ...]


@checked
def simulate_log(
    model: LiftedModel, run: Trajectory, thinning: int = 1, start_rows: int | None = None
) -> tuple[Array, int, str]:
    """Simulate a run of a log at its own rows.

    Args:
        model: The model.
        run: The run; inputs of all rows are used, outputs of the first ones only.
        thinning: Rows of the log to a step of the model; between, outputs are interpolated.
        start_rows: Steps of the model from whose outputs the start is estimated; None takes what
            the memory needs, as measured.

    Returns:
        Outputs, NaN after a divergence, of shape (rows, p) (with feed-through or thinning some rows
        fewer than the log has); the first simulated row; and the verdict.
    """
    coarse = thinned([run], positive_int("thinning", thinning))
    if not coarse:
        raise ValueError(f"a run has {len(run)} steps; expected more than {thinning}")
    memory = model.coordinates.memory
    known = memory + 1 if start_rows is None else positive_int("start_rows", start_rows)
    rows = max(memory + 1, known)
    found = model.simulate(coarse[0].actions, coarse[0].observations[:rows])
    outputs = found.outputs
    if thinning > 1:
        finite = np.isfinite(outputs).all(axis=1)
        end = int(finite.sum())
        fine = np.full(((len(outputs) - 1) * thinning + 1, outputs.shape[1]), np.nan)
        if end > 2:
            exact = (end - 1) * thinning + 1
            spline = CubicSpline(np.arange(end) * thinning, outputs[:end])
            fine[:exact] = spline(np.arange(exact))
        outputs = fine
    return outputs, found.first * thinning, found.verdict


@checked
def judge_on_log(
    found: Identified,
    data: Trajectory | Sequence[Trajectory],
    *,
    horizon: int = 50,
    skip: int = 0,
) -> LogJudgement:
    """Judge an identified model on runs it has not seen.

    Args:
        found: What `identify` found.
        data: Runs of the log, as logged.
        horizon: Longest prediction judged, in steps of the model.
        skip: First rows that do not count, beside those that the run begins from.

    Returns:
        The numbers, and what they mean.
    """
    checked_data = check_trajectories(data)
    positive_int("horizon", horizon)
    positive_int("skip", skip, minimum=0)
    model, thinning = found.model, found.structure.thinning
    runs = []
    for run in checked_data:
        simulated, first, verdict = simulate_log(model, run, thinning)
        linear, _, _ = simulate_log(found.linear, run, thinning)
        measured = run.observations[: len(simulated)]
        runs.append(FreeRun(measured, simulated, linear, max(first, skip), verdict))
    measured = np.concatenate([run.measured[run.first :] for run in runs])
    errors = np.concatenate([(run.simulated - run.measured)[run.first :] for run in runs])
    linear_errors = np.concatenate([(run.linear - run.measured)[run.first :] for run in runs])
    rmse = _rms(errors)
    spread = np.maximum(measured.std(axis=0), 1e-300)
    fit = 100.0 * (1.0 - rmse / spread)
    coarse = thinned(checked_data, thinning)
    residuals = residuals_of(model, coarse)
    steady = steady_states(model, found.structure.memory)
    names = checked_data[0].observation_names or tuple(f"y{i}" for i in range(len(rmse)))
    inputs = checked_data[0].action_names or tuple(f"u{i}" for i in range(model.n_inputs))
    judged = LogJudgement(
        runs=tuple(runs),
        rmse=rmse,
        fit=fit,
        linear_rmse=_rms(linear_errors),
        k_step=prediction_error(model, coarse, horizon),
        residuals=residuals,
        steady=steady,
        names=tuple(names),
        input_names=tuple(inputs),
        verdict=(),
    )
    return replace(judged, verdict=tuple(_verdict(judged)))


def _rms(errors: Array) -> Array:
    """Root mean square by column; infinite where a run was lost."""
    sizes = np.sqrt(np.mean(errors**2, axis=0))
    return np.where(np.isfinite(sizes), sizes, np.inf)


def residuals_of(model: LiftedModel, data: Sequence[Trajectory]) -> Residuals:
    """Correlate one-step residuals with themselves and with the inputs, run by run."""
    p = model.coordinates.n_outputs
    own = np.zeros((LAGS, p))
    cross = np.zeros((2 * LAGS + 1, p, model.n_inputs))
    n = 0
    for run in model.signals.runs(data):
        X = model.rolled_out(run.X[:-1], run.U[:, None], "relifted")[:, 0]
        E = model.coordinates.wrap(run.X[1:] - X)[:, :p]
        if len(E) <= 2 * LAGS:
            continue
        E = (E - E.mean(axis=0)) / np.maximum(E.std(axis=0), 1e-300)
        U = (run.U - run.U.mean(axis=0)) / np.maximum(run.U.std(axis=0), 1e-300)
        n += len(E)
        for lag in range(1, LAGS + 1):
            own[lag - 1] += np.sum(E[lag:] * E[:-lag], axis=0)
        for lag in range(-LAGS, LAGS + 1):
            late, early = (
                E[max(lag, 0) : len(E) + min(lag, 0)],
                U[max(-lag, 0) : len(U) - max(lag, 0)],
            )
            cross[lag + LAGS] += late.T @ early
    if not n:
        return Residuals(np.full_like(own, np.nan), np.full_like(cross, np.nan), np.inf)
    return Residuals(own / n, cross / n, BAND / np.sqrt(n))


def steady_states(model: LiftedModel, memory: int = 0) -> SteadyStates:
    """Hold inputs and see where the outputs settle, from the middle of the training data."""
    signals, p, m = model.signals, model.coordinates.n_outputs, model.n_inputs
    bounds = model.action_bounds
    levels = np.full((m, LEVELS), np.nan)
    outputs = np.full((m, LEVELS, p), np.nan)
    if bounds is None or not np.isfinite(bounds).all():
        return SteadyStates(levels, outputs, ("The range of the inputs is not known.",))
    middle = _middle(model)
    scale = np.ones(p)
    for j, (state, kind) in enumerate(model.coordinates.embedded):
        if kind == "id" and state < p:
            scale[state] = signals.scale[j]
    for i in range(m):
        levels[i] = np.linspace(bounds[0, i], bounds[1, i], LEVELS)
        U = np.tile(bounds.mean(axis=0), (LEVELS, 1))
        U[:, i] = levels[i]
        plan = np.repeat(U[:, None], SETTLING // 10, axis=1)
        X = np.tile(middle, (LEVELS, 1))
        for _ in range(10):
            with np.errstate(all="ignore"):
                path = model.rolled_out(X, plan, "relifted")
            ends = path[:, -1]
            settled = np.abs(ends[:, :p] - path[:, 0, :p]) < STILL * scale
            settled &= np.isfinite(ends[:, :p])
            outputs[i] = np.where(settled, ends[:, :p], np.nan)
            if settled.all() or not np.isfinite(ends).any():
                break
            X = np.where(np.isfinite(ends), ends, np.tile(middle, (LEVELS, 1)))
    return SteadyStates(levels, outputs, tuple(_about_steady(model, outputs, scale)))


def _middle(model: LiftedModel) -> Array:
    """Return the state in the middle of the training data, at rest."""
    x = np.zeros(model.n_states)
    for j, (state, kind) in enumerate(model.coordinates.embedded):
        if kind == "id":
            x[state] = model.signals.center[j]
    p, memory = model.coordinates.n_outputs, model.coordinates.memory
    x[p : p * (1 + memory)] = 0.0
    return x


def _about_steady(model: LiftedModel, outputs: Array, scale: Array) -> list[str]:
    names = model.state_names or tuple(f"x{i}" for i in range(model.n_states))
    signals, found = model.signals, []
    center = {
        s: signals.center[j] for j, (s, k) in enumerate(model.coordinates.embedded) if k == "id"
    }
    for a in range(outputs.shape[2]):
        for i in range(outputs.shape[0]):
            column = outputs[i, :, a]
            known = column[np.isfinite(column)]
            if len(known) < 2:
                found.append(
                    f"Under constant inputs {names[a]} does not settle (it integrates, cycles or "
                    "diverges): a target of it needs feedback, and no steady input is known."
                )
                break
            moves = np.diff(known) / scale[a]
            if (moves > 1e-3).any() and (moves < -1e-3).any():
                found.append(
                    f"The static gain from input {i} to {names[a]} changes its sign inside the "
                    "input's range: a controller will push the wrong way on one side. Check it on "
                    "the plant; if it is not so there, collect data where the model is wrong, or "
                    "use a linear model."
                )
            if a in center and np.abs(known - center[a]).max() > 4.0 * scale[a]:
                found.append(
                    f"Constant inputs inside their range lead {names[a]} to {known.min():.3g} ... "
                    f"{known.max():.3g}, far outside of the log: the model is not to be trusted "
                    "there; bound the outputs."
                )
    return found


def _verdict(judged: LogJudgement) -> list[str]:
    parts = []
    for name, rmse, fit, linear in zip(
        judged.names, judged.rmse, judged.fit, judged.linear_rmse, strict=True
    ):
        beside = f"; the linear model {linear:.3g}" if np.isfinite(linear) else "; linear: diverges"
        if np.isfinite(rmse):
            parts.append(f"{name} is simulated to {rmse:.3g} (fit {fit:.1f} %{beside})")
        else:
            parts.append(f"the simulation of {name} diverges{beside}")
    sentences = [f"On data never seen, {', '.join(parts)}."]
    bad = [run.verdict for run in judged.runs if "diverges" in run.verdict]
    sentences += [f"A free run is lost: {words}." for words in bad[:1]]
    if (judged.rmse > judged.linear_rmse).any():
        sentences.append(
            "The linear model simulates these data better: use it, or collect more data."
        )
    elif (judged.fit < POOR).any():
        sentences.append(
            "That is poor: look for inputs that were not logged, a longer memory or more data."
        )
    white = np.abs(judged.residuals.whiteness) > judged.residuals.band
    if np.isfinite(judged.residuals.band) and white.mean() > 0.15:
        sentences.append(
            f"One-step residuals are no white noise ({100.0 * white.mean():.0f} % of the lags "
            "outside the band): expected of a model fitted to simulations where the measured "
            "outputs are noisy; an observer (`KalmanObserver`) will use what is left."
        )
    past = np.abs(judged.residuals.inputs[LAGS:]) > 3.0 * judged.residuals.band
    future = np.abs(judged.residuals.inputs[:LAGS]) > 3.0 * judged.residuals.band
    if np.isfinite(judged.residuals.band) and past.mean() > 0.1:
        sentences.append("Residuals still hold traces of past inputs: some dynamics are missing.")
    if np.isfinite(judged.residuals.band) and future.mean() > 0.1:
        sentences.append(
            "Residuals foretell later inputs: the log was recorded in closed loop, where a "
            "controller reacts to the outputs. Effects of inputs and of that reaction can be "
            "confused, feed-through above all: add an excitation of your own to the inputs."
        )
    return [*sentences, *judged.steady.findings]
