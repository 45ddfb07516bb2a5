"""What is rewarded and when an episode ends, learned from data by least squares."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from koopman_control.autopilot.surface import (
    Surface,
    constant_surface,
    fitted_sum,
    fitted_surface,
)
from koopman_control.common.arrays import Array
from koopman_control.features import SampledFeatures
from koopman_control.identification import LiftedModel
from koopman_control.trajectories import Trajectory

SIMPLER = 0.05  # share of the unexplained variance that a more complex reward has to save
TWICE = 0.5  # the same for one that depends on the states before and after, twice as complex
NEURONS, STEEPNESS = (100, 200), (0.5, 1.0, 2.0)
RAREST = 500  # a reward that is earned once in so many steps counts as much as rarer ones
TOLD = 0.999  # share of the variance of rewards that inputs alone explain, where these tell all
FARTHEST = 10.0  # spreads beyond which it costs no more to be away
EXPLAINED = 0.95  # share of the ends that limits have to explain
MOST = 6000  # rows that surfaces are fitted to
MOST_PLACES = 3000  # that are told from others
FEWEST_LOST = 5  # samples the model cannot follow that say where this is so
BEYOND = 0.25  # how far unknown places reach beyond the data, in widths of them


@dataclass(frozen=True, eq=False)
class Samples:
    """What happened, in a model's coordinates.

    Args:
        x: States before each step, shape (T, d).
        u: Inputs, shape (T, m).
        x_next: States after it, shape (T, d).
        r: Rewards, shape (T,).
        ended: Whether the episode ended with the step, shape (T,).
    """

    x: Array
    u: Array
    x_next: Array
    r: Array
    ended: NDArray[np.bool_]

    @classmethod
    def of(cls, data: Sequence[Trajectory], model: LiftedModel) -> Samples:
        """Read the steps of all trajectories, from when the model's memory is full."""
        k = model.coordinates.memory
        runs = [(t, model.coordinates.along(t.observations, t.actions)) for t in data if len(t) > k]
        ended = [np.arange(k, len(t)) == (len(t) - 1 if t.terminated else -1) for t, _ in runs]
        rewards = [np.zeros(len(t)) if t.rewards is None else t.rewards for t, _ in runs]
        return cls(
            x=np.concatenate([X[:-1] for _, X in runs]),
            u=np.concatenate([t.actions[k:] for t, _ in runs]),
            x_next=np.concatenate([X[1:] for _, X in runs]),
            r=np.concatenate([r[k:] for r in rewards]),
            ended=np.concatenate(ended),
        )


@dataclass(frozen=True, eq=False)
class RewardModel:
    """The reward of a step that does not end the episode.

    Args:
        surface: Of [e, u], with e the feature inputs of the state before or after the step. A
            second function, of e alone, is what belongs to the state before, where it depends on
            both: a difference of potentials, or what is paid all along the step.
        after: Whether e is that after the step.
    """

    surface: Surface
    after: bool

    @property
    def r2(self) -> float:
        """Left-out share of the variance explained, where rare rewards count more."""
        return float(self.surface.r2[0])

    @property
    def form(self) -> str:
        """What the reward depends on, in words."""
        if len(self.surface.constant) > 1:
            return "the states before and after a step and the input"
        return f"the state {'after' if self.after else 'before'} a step and the input"

    def __call__(self, e: Array, u: Array, e_next: Array) -> Array:
        """Predict rewards (...) from feature inputs (..., e) and inputs (..., m)."""
        paid = self.surface(np.concatenate([e_next if self.after else e, u], axis=-1))
        if paid.shape[-1] == 1:
            return np.asarray(paid[..., 0])
        before = self.surface(np.concatenate([e, u], axis=-1))
        return np.asarray(paid[..., 0] + before[..., 1])

    @classmethod
    def fit(cls, samples: Samples, model: LiftedModel, seed: int = 0) -> RewardModel:
        """Learn the reward from steps that ended no episode.

        Whether it depends on the state before, after, or both is told by the left-out error.
        """
        going = np.flatnonzero(~samples.ended)
        if len(going) > MOST:
            going = going[np.linspace(0, len(going) - 1, MOST).astype(int)]
        r, u, embed = samples.r[going, None], samples.u[going], model.signals.embedding
        if np.ptp(r) == 0.0:
            return cls(
                constant_surface(embed(samples.x[:1]).shape[1] + u.shape[1], [r[0, 0]]), False
            )
        fixed = unchanging(samples, model)
        inputs = {
            after: np.hstack([embed((samples.x_next if after else samples.x)[going]), u])
            for after in (False, True)
        }
        weight = rarity(r[:, 0])
        first = [SampledFeatures(NEURONS[0], steepness=0.5, random_state=seed)]
        fits = {
            after: fitted_surface(Z, r, [None, *first], weight=weight, beside=fixed)
            for after, Z in inputs.items()
        }
        lost = {after: 1.0 - float(f.r2[0]) for after, f in fits.items()}
        after = lost[True] < (1.0 - SIMPLER) * lost[False]
        if lost[after] < 1e-9:
            return cls(fits[after], after)
        e_before = inputs[False][:, : -u.shape[1]]
        both = fitted_sum(inputs[True], e_before, r, [None, *first], weight, fixed)
        several = [
            SampledFeatures(n, steepness=s, random_state=seed) for n in NEURONS for s in STEEPNESS
        ]
        best = fits[after]
        if len(best.b):
            best = fitted_surface(inputs[after], r, several, weight=weight, beside=fixed)
        if both is not None and 1.0 - both.r2[0] < TWICE * (1.0 - best.r2[0]):
            return cls(both, True)
        return cls(best, after)


def unchanging(samples: Samples, model: LiftedModel) -> NDArray[np.int64]:
    """Return which feature inputs stay the same in an episode and differ between them."""
    e, then = model.signals.embedding(samples.x), model.signals.embedding(samples.x_next)
    return np.flatnonzero((e == then).all(axis=0) & (np.ptp(e, axis=0) > 0.0))


def aimless(samples: Samples) -> bool:
    """Say whether nothing is known to aim at: no end, and rewards that inputs alone explain."""
    if samples.ended.any():
        return False
    if np.ptp(samples.r) == 0.0:
        return True
    r = samples.r[:, None]
    return float(fitted_surface(samples.u, r, [None], weight=rarity(r[:, 0])).r2[0]) >= TOLD


def less_effort(surface: Surface, box: Array, price: float) -> Surface:
    """Take a price off a reward of [e, u] for inputs away from the middle of their box.

    Args:
        surface: The reward, and maybe what of it belongs to the state before.
        box: Lowest and highest inputs, shape (2, m).
        price: Of an input at the edge of its box.
    """
    middle, half = 0.5 * (box[0] + box[1]), 0.5 * (box[1] - box[0])
    rate = price / np.where(half > 0.0, half, np.inf) ** 2
    places = np.arange(surface.linear.shape[1] - len(middle), surface.linear.shape[1])
    quadratic, linear = surface.quadratic.copy(), surface.linear.copy()
    constant, low = surface.constant.copy(), surface.low.copy()
    quadratic[0, places, places] -= rate
    linear[0, places] += 2.0 * rate * middle
    constant[0] -= float(rate @ middle**2)
    low[0] -= price * len(middle)
    return replace(surface, quadratic=quadratic, linear=linear, constant=constant, low=low)


def staying(surface: Surface, center: Array, spread: Array, price: float) -> Surface:
    """Take a price off a reward of [e, u] for states away from a place.

    Where every step pays the same, there is no other way to tell plans apart: to stay where
    episodes begin is the way not to end them.

    Args:
        surface: The reward.
        center: Feature inputs of the place, shape (e,).
        spread: Distance in each that costs the price, in the mean over them, shape (e,).
        price: Of that distance; it grows with its square.
    """
    e = np.arange(len(center))
    rate = price / len(center) / spread**2
    quadratic, linear = surface.quadratic.copy(), surface.linear.copy()
    quadratic[0, e, e] -= rate
    linear[0, e] += 2.0 * rate * center
    constant, low = surface.constant.copy(), surface.low.copy()
    constant[0] -= float(rate @ center**2)
    low[0] -= FARTHEST**2 * price
    return replace(surface, quadratic=quadratic, linear=linear, constant=constant, low=low)


def rarity(r: Array) -> Array:
    """Weigh rewards (T,) by one over the share of the data that earn as much or more.

    So every tenfold rarer reward counts about alike: plans lead to what is rare among the data,
    such as a goal that random inputs hardly reach, and the mean square of all says little about it.
    """
    ordered = np.sort(r)
    as_good = len(r) - np.searchsorted(ordered, r, side="left")
    return np.asarray(len(r) / np.maximum(as_good, len(r) / RAREST))


@dataclass(frozen=True, eq=False)
class EndModel:
    """When an episode ends, and what is paid then.

    Args:
        box: It ends outside, shape (2, d); infinite where there is no limit.
        surface: Of e after a step: a score above a half where it ends (besides the box), and the
            reward of such a step.
        n_ends: Ends seen.
        explained: Share of them that the box explains.
    """

    box: Array
    surface: Surface
    n_ends: int
    explained: float

    @classmethod
    def fit(cls, samples: Samples, model: LiftedModel, seed: int = 0) -> EndModel:
        """Learn where episodes end: outside limits of single states if these explain it."""
        X, ended, embed = samples.x_next, samples.ended, model.signals.embedding
        box = np.tile([[-np.inf], [np.inf]], X.shape[1])
        e = embed(X[:1]).shape[1]
        n = int(ended.sum())
        if not n:
            return cls(box, constant_surface(e, [0.0, 0.0]), 0, 1.0)
        box, explained = _limits(X[~ended], X[ended])
        paid = constant_surface(e, [float(samples.r[ended].mean())])
        if n >= 20:
            paid = fitted_surface(
                embed(X[ended]), samples.r[ended, None], [None], pairs=n > 4 * e * e
            )
        if explained >= EXPLAINED:
            return cls(box, constant_surface(e, [0.0]).beside(paid), n, explained)
        score = _classified(embed(X[~ended]), embed(X[ended]), seed)
        none = np.tile([[-np.inf], [np.inf]], X.shape[1])
        return cls(none, score.beside(paid), n, explained)


def _limits(going: Array, ended: Array) -> tuple[Array, float]:
    """Find the limits of single states that explain most ends; returns (2, d) and the share."""
    d = going.shape[1]
    box, low, high = np.tile([[-np.inf], [np.inf]], d), going.min(axis=0), going.max(axis=0)
    left = np.ones(len(ended), dtype=bool)
    while left.any():
        below, above = (ended[left] < low).sum(axis=0), (ended[left] > high).sum(axis=0)
        counts = np.stack([below, above])
        side, i = np.unravel_index(int(counts.argmax()), counts.shape)
        if counts[side, i] <= max(1, 0.02 * len(ended)) and counts[side, i] < left.sum():
            break
        if counts[side, i] == 0:
            break
        beyond = ended[:, i] < low[i] if side == 0 else ended[:, i] > high[i]
        nearest = ended[left & beyond, i].max() if side == 0 else ended[left & beyond, i].min()
        box[side, i] = 0.5 * (nearest + (low[i] if side == 0 else high[i]))
        left &= ~beyond
    return box, 1.0 - float(left.mean())


def _classified(going: Array, ended: Array, seed: int) -> Surface:
    """Score 1 where episodes end and 0 where they go on, both counting alike."""
    rng = np.random.default_rng(seed)
    n = min(len(going), max(1000, 5 * len(ended)))
    chosen = going[rng.choice(len(going), n, replace=False)]
    repeated = ended[rng.integers(0, len(ended), n)]
    order = rng.permutation(2 * n)
    Z = np.concatenate([chosen, repeated])[order]
    y = np.concatenate([np.zeros(n), np.ones(n)])[order, None]
    return fitted_surface(Z, y, [SampledFeatures(100, steepness=0.5, random_state=seed)])


def unknown_places(
    samples: Samples, model: LiftedModel, kept: NDArray[np.bool_] | None = None, seed: int = 0
) -> Surface:
    """Learn how little is known of a place: 0 among the data, 1 far from them.

    Data are told from points spread evenly over a box about them (a density ratio by least
    squares), and from those that the model could not follow.

    Args:
        samples: All steps.
        model: The model.
        kept: Which steps it follows, shape (T,); None: all.
        seed: Of points and features.
    """
    rng, embed = np.random.default_rng(seed), model.signals.embedding
    good = np.ones(len(samples.x), dtype=bool) if kept is None else kept
    X = np.concatenate([samples.x[good], samples.x_next[samples.ended & good]])
    if len(X) > MOST_PLACES:
        X = X[rng.choice(len(X), MOST_PLACES, replace=False)]
    low, high = np.quantile(X, [0.0, 1.0], axis=0)
    width = BEYOND * (high - low)
    free = rng.uniform(low - width, high + width, X.shape)
    angles = model.coordinates.is_angle
    free[:, angles] = rng.uniform(-np.pi, np.pi, (len(X), int(angles.sum())))
    lost = np.flatnonzero(~good)
    if len(lost) >= FEWEST_LOST:
        chosen = rng.choice(lost, len(X) // 2)
        free[: len(chosen)] = np.where(
            rng.random((len(chosen), 1)) < 0.5, samples.x[chosen], samples.x_next[chosen]
        )
    order = rng.permutation(2 * len(X))
    Z = embed(np.concatenate([X, free]))[order]
    y = np.concatenate([np.zeros(len(X)), np.ones(len(X))])[order, None]
    score = fitted_surface(Z, y, [SampledFeatures(60, steepness=0.5, random_state=seed)])
    doubled = score.times(2.0)  # below a half, a place is among the data
    return replace(doubled, constant=doubled.constant - 1.0, low=np.zeros(1), high=np.ones(1))
