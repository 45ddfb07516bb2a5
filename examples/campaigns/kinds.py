"""Random control problems: what they are like, and their numbers."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import numpy as np

from koopman_control.common.arrays import Array

Plan = Literal["free", "blocks", "knots"]
PLANS: tuple[Plan, ...] = ("free", "free", "blocks", "knots")


@dataclass(frozen=True)
class Kind:
    """What a random problem is like; its numbers follow from the seed.

    Args:
        seed: Seed of all numbers.
        d: States.
        n: Lifted states.
        m: Inputs.
        N: Horizon.
        soft: Whether bounds of states may be broken at a price; None for no such bounds.
        rated: Whether input changes are bounded.
        weighed: Whether inputs and their changes cost something.
        wide: How far bounds, observations and references are from zero, as a power of ten.
        growing: What the spectral radius of A, 0.2 to 1.1, is multiplied by.
        n_models: Models that one plan has to suit.
        n_measured: Inputs that are measured, not controlled; they come first.
        delay: Steps until an input acts.
        plan: How inputs depend on few values: each step has its own, blocks, or knots.
        cuts: Steps where blocks begin, or knots lie, the first 0.
        final: Whether the last state has bounds of its own.
        n_mixed: Bounds on sums of states and inputs.
    """

    seed: int
    d: int = 2
    n: int = 3
    m: int = 1
    N: int = 5
    soft: bool | None = None
    rated: bool = False
    weighed: bool = True
    wide: float = 0.0
    growing: float = 1.0
    n_models: int = 1
    n_measured: int = 0
    delay: int = 0
    plan: Plan = "free"
    cuts: tuple[int, ...] = (0,)
    final: bool = False
    n_mixed: int = 0

    @classmethod
    def drawn(cls, seed: int) -> Kind:
        """Draw everything from a seed."""
        rng = np.random.default_rng(seed)
        d = int(rng.integers(1, 5))
        n, m, N = d + int(rng.integers(0, 6)), int(rng.integers(1, 4)), int(rng.integers(1, 21))
        return cls(
            seed=seed,
            d=d,
            n=n,
            m=m,
            N=N,
            soft=(None, False, True)[rng.integers(3)],
            rated=bool(rng.integers(2)),
            weighed=bool(rng.integers(4)),
            wide=float(rng.uniform(-1.0, 1.0)),
            growing=float(rng.choice([1.0, 1.0, 1.5])),
            n_models=int(rng.choice([1, 1, 1, 2])),
            n_measured=int(rng.choice([0, 0, 1])),
            delay=int(rng.choice([0, 0, 0, 1, 3])),
            plan=PLANS[rng.integers(len(PLANS))],
            cuts=(0, *np.sort(1 + rng.permutation(N - 1)[: rng.integers(N)]).tolist()),
            final=not rng.integers(3),
            n_mixed=int(rng.choice([0, 0, 1, 2])),
        )


@dataclass(frozen=True)
class Numbers:
    """The constants of a problem, in the words of `KoopmanMPC`.

    A, B and C have the models as their first axis.
    """

    A: Array
    B: Array
    C: Array
    lift: Array
    Q: Array
    R: Array
    S: Array
    terminal: Array
    linear_output: Array
    linear_input: Array
    input_bounds: Array
    rate: float
    price: float
    output_bounds: Array
    terminal_bounds: Array
    polytope: tuple[Array, Array, Array]

    @classmethod
    def of(cls, kind: Kind, rng: np.random.Generator) -> Numbers:
        """Draw the numbers of a kind of problem."""
        d, n, m = kind.d, kind.n, kind.m
        A = rng.normal(size=(n, n))
        A *= kind.growing * rng.uniform(0.2, 1.1) / np.abs(np.linalg.eigvals(A)).max()
        size, free = 10.0**kind.wide, rng.random(d) < 0.3
        low, high = np.sort(size * rng.normal(size=(2, d)), axis=0)
        bounds = np.stack([np.where(free, -np.inf, low), np.where(free, np.inf, high)])
        B, C = rng.normal(size=(n, m)), rng.normal(size=(d, n))
        more = np.random.default_rng([kind.seed, 1])  # so that the rest is the same without it
        B = np.hstack([more.normal(size=(n, kind.n_measured)), B])
        return cls(
            A=_varied(A, kind.n_models, more),
            B=_varied(B, kind.n_models, more),
            C=_varied(C, kind.n_models, more),
            lift=rng.normal(size=(n, d)),
            Q=_weight(d, rng),
            R=_weight(m, rng) * kind.weighed,
            S=_weight(m, rng) * kind.weighed,
            terminal=_weight(d, rng),
            linear_output=0.1 * rng.normal(size=d) * kind.weighed,
            linear_input=0.1 * rng.normal(size=m) * kind.weighed,
            input_bounds=np.sort(rng.normal(size=(2, m)), axis=0),
            rate=float(rng.uniform(0.1, 1.0)) if kind.rated else np.inf,
            price=float(10.0 ** rng.uniform(-1.0, 3.0)),
            output_bounds=bounds,
            terminal_bounds=bounds + 0.2 * (high - low) * np.array([[1.0], [-1.0]]),
            polytope=(
                more.normal(size=(kind.n_mixed, d)) * more.integers(2, size=(kind.n_mixed, 1)),
                more.normal(size=(kind.n_mixed, m)),
                size * more.uniform(0.0, 2.0, size=kind.n_mixed),
            ),
        )


def _varied(matrix: Array, n: int, rng: np.random.Generator) -> Array:
    """Stack n matrices that differ by a tenth; the first is the one given."""
    off = rng.normal(size=(n, *matrix.shape)) * np.arange(n)[:, None, None]
    return np.asarray(matrix * (1.0 + 0.1 * off))


def _weight(size: int, rng: np.random.Generator) -> Array:
    """Draw a positive semidefinite weight, of any rank."""
    root = rng.normal(size=(int(rng.integers(0, size + 1)), size))
    return np.asarray(root.T @ root)
