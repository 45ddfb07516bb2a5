"""What a smooth model tells about a plant: what it ignores, noise, memory and contacts."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from koopman_control.autopilot.findings import Finding, Rate, listed
from koopman_control.autopilot.leftout import dropped_in_turn
from koopman_control.autopilot.rules import rule_for
from koopman_control.autopilot.smooth import FLOOR, LAGS, Smooth, present, up_to
from koopman_control.common import Array
from koopman_control.features import Angle

MATTERS = 1.15  # what dropping a column multiplies some left-out error by, if it matters
MATTERS_SURELY = 1.5
EXPLAINS = 0.003  # or the share of the squares of a step's change that it explains
MOST_COLUMNS = 30  # for which all this is tried
COARSE, FINE = 0.5, 0.1  # errors, in a step's change, of a model that tells little and much


def find_ignored(model: Smooth, names: Sequence[str]) -> Finding[tuple[int, ...]]:
    """Drop columns one by one as long as no left-out error rises."""
    whole = model.errors(present)
    worst = float(whole.max(initial=0.0))
    if worst > COARSE:
        words = "the smooth model is too coarse to tell what makes no difference"
        return Finding((), {"error of the model, in a step's change": worst}, words, False)

    def rise(without: frozenset[Angle]) -> float:
        """Return the factor on the error, 1.15 or more if it matters."""
        errors = model.errors(lambda r: present(r) and not r.sees & without)
        explained = (errors**2 - whole**2).max() / EXPLAINS
        factor = float((errors / whole).max())
        return max(factor, MATTERS) if explained > 1.0 else factor

    dropped, next_one = dropped_in_turn(model.groups, rise, MATTERS)
    left = [group for group in model.groups if group not in dropped]
    evidence = {f"error times, without {_name(g, names)}": factor for g, factor in dropped.items()}
    if left:
        evidence["error times with one more dropped"] = next_one
    columns = sorted(c for g in dropped for c in _columns(g))
    said = listed([names[c] for c in columns])
    # Few episodes have few goals each, and then a goal may pass for what differs between them.
    goals = any(not model.samples.changed[:, list(_columns(g))].any() for g in left)
    certain = next_one > MATTERS_SURELY and worst < FINE and not goals
    words = f"what happens next does not depend on {said}" if said else "every column matters"
    return Finding(tuple(columns), evidence, words, certain)


def _columns(group: Angle) -> tuple[int, ...]:
    return group if isinstance(group, tuple) else (group,)


def _name(group: Angle, names: Sequence[str]) -> str:
    return "/".join(names[c] for c in _columns(group))


REMEMBERS = 3.0  # times smaller errors with the past make it worth having
REMEMBERS_SURELY = 5.0
AS_GOOD = 1.25


def find_memory(model: Smooth, rates: Sequence[Rate]) -> Finding[int]:
    """Say how many past steps predict better than the present alone.

    Args:
        model: The smooth model.
        rates: The speeds found. Where every state is a speed or has one, none is missing, and the
            past helps only because the model is coarse.
    """
    told = {rate.position for rate in rates} | {rate.speed for rate in rates}
    complete = bool(rates) and told.issuperset(model.states)
    if not model.lags:
        words = "episodes are too short to tell whether the past matters"
        return Finding(0, {}, words, complete)
    curve = [model.errors(up_to(k)) for k in range(LAGS + 1)]
    gains = np.array([(curve[0] / errors).max(initial=1.0) for errors in curve])
    steps = int(np.argmax(gains * AS_GOOD >= gains.max()))
    factor, worst = float(gains[steps]), float(curve[0].max(initial=0.0))
    evidence = {f"error divided by, {k} past steps": float(gains[k]) for k in range(1, LAGS + 1)}
    evidence["error of the present alone, in a step's change"] = worst
    if factor < REMEMBERS or worst < FINE or complete:
        words = "the present observation tells the state"
        return Finding(0, evidence, words, factor < REMEMBERS or worst < FINE**2 or complete)
    if worst > 1.0:
        return Finding(0, evidence, "the smooth model is too coarse to tell about memory", False)
    words = f"{steps} past steps are needed beside the present observation"
    return Finding(steps, evidence, words, factor > REMEMBERS_SURELY)


FEWEST_PAIRS = 50
OPPOSITE = -0.2  # correlation of a residual with the one before that measurement noise makes


def find_noise(model: Smooth, names: Sequence[str]) -> Finding[Array]:
    """Estimate the noise of measurements: its residuals come in opposite pairs.

    With noise e, the increment from t to t+1 holds e_t+1 - e_t, so two residuals in a row have the
    covariance -var(e).
    """
    residuals = model.fit.residuals(model.keep(present))
    noise, evidence, said = np.zeros(len(names)), {}, []
    kept = model.fit.rows
    earlier = model.samples.earlier(np.where(kept[:, None], residuals, np.nan), 1)
    pairs = kept & np.isfinite(earlier).all(axis=1)
    for k, state in enumerate(model.states):
        now, then = residuals[pairs, k], earlier[pairs, k]
        size = float(np.sqrt(np.mean(now**2) * np.mean(then**2))) if pairs.any() else 0.0
        covariance = float(np.mean(now * then)) if pairs.any() else 0.0
        if pairs.sum() < FEWEST_PAIRS or size <= 1e3 * FLOOR**2 or covariance > OPPOSITE * size:
            continue
        deviation = float(np.sqrt(-covariance) * model.scale[k])
        for column in _columns(state):
            noise[column] = deviation
        evidence[f"residuals in a row correlate, {_name(state, names)}"] = covariance / size
        evidence[f"noise over one step's change, {_name(state, names)}"] = deviation / float(
            model.scale[k]
        )
        said.append(f"{_name(state, names)} is measured with noise of {deviation:.3g}")
    noise.setflags(write=False)
    words = "; ".join(said) or "no noise of the measurement shows"
    certain = pairs.sum() >= FEWEST_PAIRS and all(
        value < 2.0 * OPPOSITE for what, value in evidence.items() if "correlate" in what
    )
    return Finding(noise, evidence, words, bool(certain))


OUTLIER, OUTLIER_SIZE = 15.0, 0.05  # times the usual error, and share of a usual increment
STAYS = 0.5  # share of its residual that remains if the fit is to explain it
FEWEST_CONTACTS = 0.002
ABRUPT = 5.0  # times the residual one step before; where a model is just too coarse it grows slowly


def find_contacts(model: Smooth, names: Sequence[str]) -> Finding[float]:
    """Find the share of steps, off known limits, that a smooth model does not explain."""
    keep = model.keep(lambda r: not r.lag)
    usual = model.fit.errors(keep) + FLOOR
    # Residuals of the fit to all folds: left out, the ends of the data look like contacts, too.
    Phi, Y = model.fit.regressors[:, keep], model.fit.targets
    size = np.abs(Y - Phi @ model.fit.solution(keep))
    # A fit that knows of them fits what is merely far from the rest, but no impact.
    stays = np.abs(Y - Phi @ model.fit.solution(keep, trimmed=False)) > STAYS * size
    hit = ((size > OUTLIER * usual) & (size > OUTLIER_SIZE) & stays).any(axis=1)
    hit &= model.usable
    share = float(hit.mean())
    evidence = {"share of steps": share, "usual error": float(usual.max(initial=0.0))}
    worst = np.max(size / usual, axis=1, initial=0.0)
    earlier = model.samples.earlier(worst, 1)
    onset = hit & np.isfinite(earlier) & ~np.append(False, hit[:-1])
    abrupt = float(np.mean(worst[onset] > ABRUPT * earlier[onset])) if onset.any() else 0.0
    evidence["of them without a sign before"] = abrupt
    if share < FEWEST_CONTACTS or abrupt < 0.5:
        coarse = evidence["usual error"] > 2.0 * FINE
        words = "no impact stands out" if coarse else "a smooth model explains every step"
        return Finding(0.0, evidence, words, not coarse)
    rule = rule_for(model.samples.before, hit, model.groups)
    where = [
        f"{'|' if t.size else ''}{_name(t.column, names)}{'|' if t.size else ''} "
        f"{'>' if t.above else '<'} {t.number:.3g}"
        for t in rule.thresholds
    ]
    evidence |= {"of them where told": rule.covered, "usual steps there": rule.false_alarms}
    at = f", most where {' or '.join(where)}" if rule.covered > 0.5 else ""
    words = f"{100.0 * share:.2g} % of the steps hit something or jump{at}"
    return Finding(share, evidence, words, share > 5.0 * FEWEST_CONTACTS)
