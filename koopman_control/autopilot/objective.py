"""What an environment wants: what its reward rewards, and where its episodes end."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import combinations_with_replacement

import numpy as np
from numpy.typing import NDArray
from sklearn.tree import DecisionTreeRegressor

from koopman_control.autopilot.findings import Finding, RewardLaw, Threshold, listed
from koopman_control.autopilot.leftout import LeftOut, dropped_in_turn, folds_of
from koopman_control.autopilot.rules import rule_for
from koopman_control.autopilot.samples import Samples, scaled
from koopman_control.common import Array
from koopman_control.features import Angle, SampledFeatures
from koopman_control.features.coordinates import read

QUADRATIC, QUADRATIC_SURELY = 0.98, 0.999  # left-out R2
EXPLAINED, EXPLAINED_SURELY = 0.8, 0.98
NEEDED = 0.01  # share of the squares left anyway by which a column that matters adds to them
EXACT, ROUNDING = 1e-4, 1e-8  # shares of the squares that an exact fit leaves
MOST_COLUMNS = 24
LEAVES = 8  # of a rule of steps
N_SMOOTH = 100

Source = tuple[str, Angle]  # ("y", an observation column or angle) or ("u", an input column)


def find_reward(
    samples: Samples,
    names: Sequence[str],
    action_names: Sequence[str],
    angles: Sequence[Angle],
) -> Finding[RewardLaw]:
    """Explain the reward by a quadratic, a smooth function or a rule of steps, simplest first."""
    if samples.rewards is None:
        return Finding(RewardLaw("unknown"), {}, "no reward was recorded", False)
    inside = samples.where(~samples.ended)
    rewards = inside.rewards
    if rewards is None or not len(inside):
        return Finding(RewardLaw("unknown"), {}, "every step ended an episode", False)
    evidence = {"steps": float(len(inside)), "least": rewards.min(), "most": rewards.max()}
    last = samples.rewards[samples.ended]
    if len(last):
        evidence["mean at the end of an episode"] = float(last.mean())
    if np.ptp(rewards) <= 1e-9 * max(1.0, abs(float(rewards.mean()))):
        return _constant(samples, float(rewards.mean()), evidence)
    tables = [_Table(inside, after, angles) for after in (False, True)]
    quadratic = max(tables, key=lambda table: table.quadratic)
    evidence["R2 of a quadratic"] = quadratic.quadratic
    if quadratic.quadratic >= QUADRATIC:
        certain = quadratic.quadratic >= QUADRATIC_SURELY
        return _law(
            "quadratic", quadratic, quadratic.needed(), evidence, names, action_names, certain
        )
    shares = {("smooth", table): table.smooth for table in tables} | {
        ("steps", table): table.steps for table in tables
    }
    evidence["R2 of a smooth function"] = max(v for (k, _), v in shares.items() if k == "smooth")
    evidence["R2 of a few steps"] = max(v for (k, _), v in shares.items() if k == "steps")
    (kind, best), share = max(shares.items(), key=lambda item: item[1])
    if share < EXPLAINED:
        kind = "unexplained"
    needed = best.stepped() if kind == "steps" else best.needed()
    certain = share >= EXPLAINED_SURELY
    return _law(kind, best, needed, evidence, names, action_names, certain)


def _constant(samples: Samples, value: float, evidence: dict[str, float]) -> Finding[RewardLaw]:
    """Say what a reward that never changes is for."""
    n = len(samples)
    if samples.ended.any() and value > 0.0:
        words = f"every step earns {value:.4g}: episodes should not end"
        return Finding(RewardLaw("constant"), evidence, words)
    if samples.ended.any() and value < 0.0:
        words = f"every step costs {-value:.4g}: episodes should end soon"
        return Finding(RewardLaw("constant"), evidence, words)
    words = f"the reward was {value:.4g} in all {n} steps, so there is nothing to learn from"
    return Finding(RewardLaw("constant"), evidence, words, False)


def _law(
    kind: str,
    table: _Table,
    needed: Sequence[Source],
    evidence: dict[str, float],
    names: Sequence[str],
    action_names: Sequence[str],
    certain: bool,
) -> Finding[RewardLaw]:
    """Put a reward into words."""
    groups = [source[1] for source in needed if source[0] == "y"]
    columns = sorted({c for g in groups for c in (g if isinstance(g, tuple) else (g,))})
    inputs = sorted({int(i) for kind_, i in needed if kind_ == "u" and isinstance(i, int)})
    said = listed([*(names[c] for c in columns), *(action_names[i] for i in inputs)]) or "nothing"
    how = {
        "quadratic": f"the reward is a quadratic of {said}",
        "smooth": f"the reward is a smooth function of {said}",
        "steps": f"the reward takes steps with {said}",
        "unexplained": f"nothing simple explains the reward; {said} tell most of it",
    }[kind]
    when = "after" if table.after else "before"
    law = RewardLaw(kind, tuple(columns), tuple(inputs), table.after)
    return Finding(law, evidence, f"{how}, observed {when} the step", certain)


class _Table:
    """What a reward may depend on, observed before or after the step, and how well it explains it.

    Args:
        samples: Steps that end no episode.
        after: Whether to take the observation after the step.
        angles: Which columns are angles; they count as such and by their cosine and sine.
    """

    def __init__(self, samples: Samples, after: bool, angles: Sequence[Angle]) -> None:
        assert samples.rewards is not None
        self.after = after
        observed = samples.after if after else samples.before
        columns: list[tuple[Array, Source]] = []
        for i in range(observed.shape[1]):
            source: Angle = next(
                (a for a in angles if a == i or (isinstance(a, tuple) and i in a)), i
            )
            columns.append((observed[:, i], ("y", source)))
        columns += [(read(observed, a), ("y", a)) for a in angles if isinstance(a, tuple)]
        columns += [(samples.inputs[:, i], ("u", i)) for i in range(samples.inputs.shape[1])]
        moving = [(v, s) for v, s in columns if np.ptp(v) > 0.0]
        self._sources = [source for _, source in moving]
        self._values = np.column_stack([v for v, _ in moving])
        self._rewards = scaled(samples.rewards[:, None])
        Z = scaled(self._values)
        sees: list[frozenset[Source]] = [frozenset()]
        parts = [np.ones(len(Z))]
        n = Z.shape[1]
        square = n <= MOST_COLUMNS and (n + 1) * (n + 2) // 2 < len(Z) // 3
        for degree in (1, 2):
            pairs = combinations_with_replacement(range(n), degree)
            for factors in pairs if degree == 1 or square else ((i, i) for i in range(n)):
                parts.append(np.prod([Z[:, i] for i in factors], axis=0))
                sees.append(frozenset(self._sources[i] for i in factors))
        self._Z, self._sees = Z, sees
        self._fit = LeftOut(np.column_stack(parts), self._rewards)
        self.quadratic = self._share(self._fit)

    @staticmethod
    def _share(fit: LeftOut, keep: NDArray[np.int64] | None = None) -> float:
        return float(1.0 - fit.errors(keep)[0] ** 2)

    @property
    def smooth(self) -> float:
        """Left-out R2 with sampled features beside the quadratic."""
        n = min(N_SMOOTH, len(self._Z) // 5)
        maps = SampledFeatures(n, steepness=0.5, sampling="uniform", random_state=0)
        features = scaled(maps.fit(self._Z).transform(self._Z))
        return self._share(LeftOut(np.hstack([self._fit.regressors, features]), self._rewards))

    @property
    def steps(self) -> float:
        """Left-out R2 of a tree of few leaves."""
        fold, left = folds_of(len(self._Z)), np.zeros(len(self._Z))
        for i in np.unique(fold):
            tree = self._tree().fit(self._values[fold != i], self._rewards[fold != i, 0])
            left[fold == i] = self._rewards[fold == i, 0] - tree.predict(self._values[fold == i])
        return float(1.0 - np.mean(left**2))

    @staticmethod
    def _tree() -> DecisionTreeRegressor:
        return DecisionTreeRegressor(max_leaf_nodes=LEAVES, min_samples_leaf=3, random_state=0)

    def stepped(self) -> list[Source]:
        """Return what the tree looks at, unless it gains next to nothing by it."""
        gains = self._tree().fit(self._values, self._rewards[:, 0]).feature_importances_
        return list({s: None for s, gain in zip(self._sources, gains, strict=True) if gain > 0.02})

    def needed(self) -> list[Source]:
        """Drop what the quadratic does as well without, one by one."""
        left = list(dict.fromkeys(self._sources))
        if len(left) > MOST_COLUMNS:
            return left
        whole = 1.0 - self.quadratic
        limit = whole * (1.0 + 5.0 * NEEDED) + ROUNDING
        if whole > EXACT:  # then what is left out of it may help to approximate it
            limit += 0.1 * NEEDED

        def unexplained(without: frozenset[Source]) -> float:
            kept = np.flatnonzero([not seen & without for seen in self._sees])
            return 1.0 - self._share(self._fit, kept)

        dropped, _ = dropped_in_turn(left, unexplained, limit)
        return [source for source in left if source not in dropped]


SURE_OF_ENDS, FEWEST_ENDS = 0.95, 3
MOST_WRONG = 0.25  # of the ends, steps on which a sure rule tells one and there is none


def find_ends(
    samples: Samples, names: Sequence[str], angles: Sequence[Angle], skipped: Sequence[int]
) -> Finding[tuple[Threshold, ...]]:
    """Find thresholds that tell where episodes end.

    Args:
        samples: The data.
        names: Names of the columns.
        angles: The angles.
        skipped: Columns that stay the same within an episode.
    """
    n = int(samples.ended.sum())
    if not n:
        words = f"no episode ended by itself in {len(samples)} steps"
        return Finding((), {"ends": 0.0}, words)
    inside = {c for a in angles if isinstance(a, tuple) for c in a}
    plain = [c for c in range(len(names)) if c not in inside and c not in skipped]
    columns: list[Angle] = [*(a for a in angles if isinstance(a, tuple)), *plain]
    if n == len(samples):
        return Finding((), {"ends": float(n)}, "every episode ends at once", False)
    rule = rule_for(samples.after, samples.ended, columns)
    evidence = {
        "ends": float(n),
        "of them told": rule.covered,
        "false alarms": rule.false_alarms,
    }
    wrong = rule.false_alarms * (len(samples) - n)
    sure = rule.covered >= SURE_OF_ENDS and n >= FEWEST_ENDS and wrong <= MOST_WRONG * n
    if not rule.thresholds or rule.covered < 0.5:
        return Finding((), evidence, f"{n} episodes ended, and no threshold tells where", False)
    said = " or ".join(in_words(threshold, names) for threshold in rule.thresholds)
    return Finding(rule.thresholds, evidence, f"an episode ends where {said}", sure)


def in_words(threshold: Threshold, names: Sequence[str]) -> str:
    """Write a threshold as an inequality."""
    column = threshold.column
    name = "/".join(names[c] for c in (column if isinstance(column, tuple) else (column,)))
    bars = "|" if threshold.size else ""
    return f"{bars}{name}{bars} {'>' if threshold.above else '<'} {threshold.number:.4g}"
