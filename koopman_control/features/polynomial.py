"""Polynomial features: monomials of degree two and more of the standardised inputs."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import combinations, combinations_with_replacement, pairwise
from math import comb
from typing import Any

import numpy as np
from numpy.typing import NDArray

from koopman_control.common.arrays import Array, positive_int
from koopman_control.common.border import checked
from koopman_control.features.base import FeatureMap, Monomials, Neurons, spread, unseen_inputs
from koopman_control.features.registry import register_features

MOST_FEATURES = 20_000


class PolynomialFeatures(FeatureMap):
    """All monomials of the standardised inputs of degree 2 ... `degree`.

    The constant and the inputs themselves are left out: the lifted model always carries them.
    Degree 1 therefore gives no features at all, and with it a model linear in the inputs.

    Args:
        degree: Highest total degree.
        interaction_only: Leave out powers: no input occurs twice in a monomial.
        ignored: Inputs that occur in no monomial, by number: a goal that stays as it is.

    Attributes:
        center_: Mean of the inputs, shape (e,).
        scale_: Standard deviation of the inputs, shape (e,).
        exponents_: Power of every input in every monomial, shape (h, e).

    Example:
        >>> X = np.random.default_rng(0).uniform(-1, 1, (200, 2))
        >>> PolynomialFeatures(3).fit(X).get_feature_names_out(["p", "q"]).tolist()
        ['p^2', 'p q', 'q^2', 'p^3', 'p^2 q', 'p q^2', 'q^3']
    """

    center_: Array
    scale_: Array
    exponents_: NDArray[np.int64]
    levels_: NDArray[np.int64]
    parents_: NDArray[np.int64]
    factors_: NDArray[np.int64]

    def __init__(
        self, degree: int = 3, *, interaction_only: bool = False, ignored: Sequence[int] = ()
    ) -> None:
        self.degree = degree
        self.interaction_only = interaction_only
        self.ignored = ignored

    @property
    def _n_features_out(self) -> int:
        return len(self.exponents_)

    def _fit(self, X: Array, y: Array | None) -> None:
        e, degree = X.shape[1], positive_int("degree", self.degree)
        unseen = unseen_inputs(self.ignored, e)
        seen = [i for i in range(e) if i not in unseen]
        _check_count(len(seen), degree, self.interaction_only)
        self.center_, self.scale_ = X.mean(axis=0), spread(X)
        drawn = combinations if self.interaction_only else combinations_with_replacement
        by_degree = [list(drawn(seen, k)) for k in range(2, degree + 1)]
        by_degree.insert(0, [(i,) for i in range(e)])
        terms = [term for level in by_degree for term in level]
        place = {term: i for i, term in enumerate(terms)}
        # Every monomial is one of a degree less, its parent, times one input, its factor.
        self.levels_ = np.cumsum([len(level) for level in by_degree])
        self.parents_ = np.array([place[term[:-1]] for term in terms[e:]], dtype=np.int64)
        self.factors_ = np.array([term[-1] for term in terms[e:]], dtype=np.int64)
        self.exponents_ = np.array(
            [[term.count(j) for j in range(e)] for term in terms[e:]], dtype=np.int64
        ).reshape(-1, e)

    @checked
    def get_feature_names_out(self, input_features: Sequence[str] | None = None) -> Any:
        """Name the monomials after their inputs: `x0^2 x1`."""
        super().get_feature_names_out()  # raises if not fitted
        n = self.exponents_.shape[1]
        names = [f"x{i}" for i in range(n)] if input_features is None else list(input_features)
        if len(names) != n:
            raise ValueError(f"input_features holds {len(names)} names; expected {n}")
        texts = [
            " ".join(names[j] + (f"^{k}" if k > 1 else "") for j, k in enumerate(row) if k)
            for row in self.exponents_.tolist()
        ]
        return np.array(texts, dtype=object)

    def values(self, X: Array) -> Array:
        """Evaluate without checks, shape (..., e) to (..., h)."""
        return self._monomials(X)[..., X.shape[-1] :]

    def derivatives(self, X: Array) -> Array:
        """Differentiate without checks, shape (..., e) to (..., h, e)."""
        e, V = X.shape[-1], self._monomials(X)
        J = np.zeros((*V.shape, e))
        J[..., np.arange(e), np.arange(e)] = 1.0
        for new, parents, factors in self._by_level():
            J[..., new, :] = J[..., parents, :] * V[..., factors, None]
            J[..., np.arange(new.start, new.stop), factors] += V[..., parents]
        return J[..., e:, :] / self.scale_

    def compiled_form(self) -> list[Neurons | Monomials] | None:
        """Return the products that make the monomials."""
        return [Monomials(self.center_, self.scale_, self.parents_, self.factors_)]

    def _monomials(self, X: Array) -> Array:
        """Evaluate the standardised inputs and then the features, shape (..., e + h)."""
        V = np.empty((*X.shape[:-1], X.shape[-1] + len(self.parents_)))
        V[..., : X.shape[-1]] = (X - self.center_) / self.scale_
        for new, parents, factors in self._by_level():
            V[..., new] = V[..., parents] * V[..., factors]
        return V

    def _by_level(self) -> list[tuple[slice, NDArray[np.int64], NDArray[np.int64]]]:
        """Return places, parents and factors of the monomials of each degree from 2."""
        e = self.levels_[0]
        return [
            (slice(int(a), int(b)), self.parents_[a - e : b - e], self.factors_[a - e : b - e])
            for a, b in pairwise(self.levels_)
        ]


def _check_count(e: int, degree: int, interaction_only: bool) -> None:
    """Raise a ValueError before a degree asks for more features than anyone can fit."""
    count = comb(e + degree, degree) - 1 - e
    if interaction_only:
        count = sum(comb(e, k) for k in range(2, min(degree, e) + 1))
    if count > MOST_FEATURES:
        raise ValueError(
            f"degree is {degree}, which makes {count} monomials of {e} inputs; expected at most "
            f"{MOST_FEATURES}: lower it, or use SampledFeatures"
        )


register_features(
    PolynomialFeatures,
    [PolynomialFeatures(4), PolynomialFeatures(3, interaction_only=True), PolynomialFeatures(1)],
    compiled=True,
)
