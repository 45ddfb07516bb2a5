"""Random control problems: what they are like, and their numbers."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from koopman_control.common.arrays import Array


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

    @classmethod
    def drawn(cls, seed: int) -> Kind:
        """Draw everything from a seed."""
        rng = np.random.default_rng(seed)
        d = int(rng.integers(1, 5))
        return cls(
            seed=seed,
            d=d,
            n=d + int(rng.integers(0, 6)),
            m=int(rng.integers(1, 4)),
            N=int(rng.integers(1, 21)),
            soft=(None, False, True)[rng.integers(3)],
            rated=bool(rng.integers(2)),
            weighed=bool(rng.integers(4)),
            wide=float(rng.uniform(-1.0, 1.0)),
        )


@dataclass(frozen=True)
class Numbers:
    """The constants of a problem, in the words of `KoopmanMPC`."""

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
    output_bounds: Array
    price: float

    @classmethod
    def of(cls, kind: Kind, rng: np.random.Generator) -> Numbers:
        """Draw the numbers of a kind of problem."""
        d, n, m = kind.d, kind.n, kind.m
        A = rng.normal(size=(n, n))
        A *= rng.uniform(0.2, 1.1) / np.abs(np.linalg.eigvals(A)).max()
        free = rng.random(d) < 0.3
        low, high = np.sort(10.0**kind.wide * rng.normal(size=(2, d)), axis=0)
        return cls(
            A=A,
            B=rng.normal(size=(n, m)),
            C=rng.normal(size=(d, n)),
            lift=rng.normal(size=(n, d)),
            Q=_weight(d, rng),
            R=_weight(m, rng) * kind.weighed,
            S=_weight(m, rng) * kind.weighed,
            terminal=_weight(d, rng),
            linear_output=0.1 * rng.normal(size=d) * kind.weighed,
            linear_input=0.1 * rng.normal(size=m) * kind.weighed,
            input_bounds=np.sort(rng.normal(size=(2, m)), axis=0),
            rate=float(rng.uniform(0.1, 1.0)) if kind.rated else np.inf,
            output_bounds=np.stack([np.where(free, -np.inf, low), np.where(free, np.inf, high)]),
            price=float(10.0 ** rng.uniform(-1.0, 3.0)),
        )


def _weight(size: int, rng: np.random.Generator) -> Array:
    """Draw a positive semidefinite weight, of any rank."""
    root = rng.normal(size=(int(rng.integers(0, size + 1)), size))
    return np.asarray(root.T @ root)
