"""Does a controller do the same in any units? Random problems, as many as you like.

    OMP_NUM_THREADS=1 python -m examples.campaigns.units 1000

Every seed is one random controller: its roll-out, its bounds, hard or soft, its prices, terms of
the user's own and its solver are drawn. The same problem is stated again in units 10^-12 to 10^12
times as large, drawn for every state, every input and the cost, and both see the same plant. Rungs
must be the same, and inputs to 1e-8 of their range (with OSQP to its own tolerance).
"""

from __future__ import annotations

import warnings
from collections import Counter
from dataclasses import dataclass
from typing import Annotated, Any, Literal

import numpy as np
import typer
from cvxpy.atoms.norm1 import norm1
from rich.progress import track
from threadpoolctl import threadpool_limits

from koopman_control.common.arrays import Array
from koopman_control.identification import LiftedModel, Rollout
from koopman_control.mpc import BatchMPC, Blocks, Bounds, Cost, Inputs, Knots, KoopmanMPC

Prices = Literal["auto", "own"]
SOLVERS = ("auto", "auto", "daqp", "piqp", "clarabel", "osqp")
ROLLOUTS: tuple[Rollout, ...] = ("linear", "linear", "bilinear", "relifted")
STEPS = 6
SAME = {"osqp": 1e-3}  # of the range of inputs, by solver
EXACT = 1e-8
AGREED = "agreed"


@dataclass(frozen=True)
class Units:
    """How many new units make one old: of states (d,), of inputs (m,), and of the cost."""

    states: Array
    inputs: Array
    cost: float

    @classmethod
    def drawn(cls, d: int, m: int, rng: np.random.Generator) -> Units:
        """Draw units from 10^-12 to 10^12, at times of one kind only."""
        states, inputs, cost = (10.0 ** rng.uniform(-12.0, 12.0, n) for n in (d, m, 1))
        for drawn in (states, inputs, cost):
            if rng.random() < 0.25:
                drawn[:] = 1.0
        return cls(states, inputs, float(cost[0]))

    @classmethod
    def plain(cls, d: int, m: int) -> Units:
        """Units as they are."""
        return cls(np.ones(d), np.ones(m), 1.0)


class Problem:
    """A random problem, stated in any units.

    Args:
        seed: Seed of everything.
        solver: Name of the solver; None: drawn.
    """

    def __init__(self, seed: int, solver: str | None = None) -> None:
        self._seed, rng = seed, np.random.default_rng(seed)
        self.d, self.m = (int(n) for n in rng.integers(1, 4, 2))
        self.N, self.rollout = int(rng.integers(1, 16)), ROLLOUTS[rng.integers(len(ROLLOUTS))]
        self.solver = solver or SOLVERS[rng.integers(len(SOLVERS))]
        self.draws = rng.random(16)  # of what a problem has; below a half it does
        self._rng = rng
        self.together = self.rollout == "linear" and self._has(0)  # a batch of two copies

    def _has(self, what: int) -> bool:
        return bool(self.draws[what] < 0.5)

    def controller(self, units: Units) -> KoopmanMPC:
        """State the problem in the given units."""
        rng = np.random.default_rng([self._seed, 1])
        x, u, c = units.states, units.inputs, units.cost
        d, m, N = self.d, self.m, self.N
        bounds, (reference, held) = self._bounds(units, rng), self._targets(units, rng)
        Q, R, S = _weight(d, rng), _weight(m, rng) + 0.05 * np.eye(m), _weight(m, rng)
        terminal: Any = c * _weight(d, rng) / np.outer(x, x)
        weight = float(rng.uniform(0.1, 3.0))
        mpc = KoopmanMPC(
            self._model(units, rng),
            N,
            cost=Cost(
                Q=c * Q / np.outer(x, x),
                R=c * R / np.outer(u, u),
                S=c * S / np.outer(u, u) if self._has(1) else 0.0,
                terminal="riccati" if self._has(2) else terminal,
                linear_input=c * 0.1 * rng.normal(size=m) / u if self._has(3) else 0.0,
                linear_output=c * 0.1 * rng.normal(size=d) / x if self._has(4) else 0.0,
                input_reference=held,
            ),
            bounds=bounds,
            reference=reference,
            rollout=self.rollout,
            solver=self.solver,
            inputs=Inputs((None, None, Blocks(min(N, 3)), Knots(min(N, 3)))[rng.integers(4)]),
        )
        if self._has(5):
            mpc = mpc.constrain(
                lambda y, u, p: y[:, 0] <= p.ceiling, ceiling=x[0] * rng.uniform(0.3, 2.0)
            )
        if self._has(6):
            mpc = mpc.penalize(lambda y, u, p: weight * c * norm1(y[:, -1] / x[-1]))
        return mpc

    def _model(self, units: Units, rng: np.random.Generator) -> LiftedModel:
        d, n, m = self.d, self.d + 3, self.m
        L = rng.normal(size=(n, d))
        A = rng.normal(size=(n, n))
        A *= rng.uniform(0.3, 1.05) / np.abs(np.linalg.eigvals(A)).max()
        B, C = rng.normal(size=(n, m)), rng.normal(size=(d, n))
        M = 0.1 * rng.normal(size=(m, n, n))

        def lift(X: Array) -> Array:
            return np.tanh(X / units.states @ L.T)

        def slope(X: Array) -> Array:
            steep: Array = (1.0 - lift(X) ** 2)[:, :, None] * (L / units.states)
            return steep

        return LiftedModel.from_arrays(
            A,
            B / units.inputs,
            units.states[:, None] * C,
            lift,
            N=M / units.inputs[:, None, None] if self.rollout != "linear" else None,
            jacobian=slope,
        )

    def _bounds(self, units: Units, rng: np.random.Generator) -> Bounds:
        x, u, d, m = units.states, units.inputs, self.d, self.m
        low, high = -rng.uniform(0.3, 2.0, (2, d)) * np.array([[1.0], [-1.0]])
        low, high = np.where(rng.random(d) < 0.3, -np.inf, low), high * 1.0
        settings: dict[str, Any] = {"inputs": rng.uniform(0.3, 2.0, (2, m)) * u}
        settings["inputs"][0] *= -1.0
        rate, G_y, G_u = rng.uniform(0.1, 1.0, m), rng.normal(size=(2, d)), rng.normal(size=(2, m))
        g, of_row = rng.uniform(0.2, 2.0, 2), 10.0 ** rng.uniform(-6.0, 6.0, 2)
        H, h = rng.normal(size=(2, d)), rng.uniform(0.5, 2.0, 2)
        price = 10.0 ** rng.uniform(0.0, 3.0, (2, d))
        if self._has(7):
            settings["rates"] = rate * u
        if self._has(8):
            settings["outputs"] = np.stack([low, high]) * x
        if self._has(9):
            settings["terminal"] = np.stack([0.8 * low, 0.8 * high]) * x
        literal = self._has(12) and self._has(13)  # a row's price would be that of other units
        if self._has(10) and not literal:
            of_row = of_row if units.cost != 1.0 else np.ones(2)
            scaled = G_y / x * of_row[:, None], G_u / u * of_row[:, None], g * of_row
            settings["polytope"] = scaled
        if self._has(11) and not literal:
            settings["terminal_set"] = (H / x, h)
        settings["soft"] = self._has(12)
        if self._has(13):
            settings["slack_weight"] = units.cost * price / np.stack([x, x**2])
        return Bounds(**settings)

    def _targets(self, units: Units, rng: np.random.Generator) -> tuple[Array, Any]:
        reference = rng.normal(size=self.d)
        held = 0.3 * rng.normal(size=self.m)
        return reference * units.states, held * units.inputs if self._has(14) else 0.0

    def observations(self) -> Array:
        """What is observed in every step, in old units, (STEPS, d)."""
        rng = np.random.default_rng([self._seed, 2])
        start, drift = 1.5 * rng.normal(size=self.d), 0.3 * rng.normal(size=(STEPS, self.d))
        return np.asarray(start * 0.8 ** np.arange(STEPS)[:, None] + drift)

    def run(self, units: Units) -> tuple[Array, list[Any]]:
        """Act in the given units; return inputs in old ones, (STEPS, m), and what steps were."""
        mpc, taken = self.controller(units), []
        words: list[Any] = []
        many: BatchMPC | None = mpc.batch(2) if self.together else None
        for y in self.observations():
            if many is None:
                taken.append(mpc.act(y * units.states) / units.inputs)
                words.append(None if mpc.last is None else mpc.last.rung)
            else:
                both = many.act(np.stack([y, -y]) * units.states) / units.inputs
                taken.append(both.ravel())
                words.append((many.solved.tolist(), many.fallback.tolist()))
        return np.array(taken), words


def _weight(size: int, rng: np.random.Generator) -> Array:
    root = rng.normal(size=(int(rng.integers(1, size + 1)), size))
    return np.asarray(root.T @ root)


def verdict(seed: int, solver: str | None = None) -> tuple[str, str]:
    """Say what kind a problem is of, and whether it is solved alike in other units."""
    problem = Problem(seed, solver)
    rng = np.random.default_rng([seed, 3])
    kind = f"{'batch' if problem.together else problem.rollout} {problem.solver}"
    old, words = problem.run(Units.plain(problem.d, problem.m))
    new, others = problem.run(Units.drawn(problem.d, problem.m, rng))
    if words != others:
        return kind, f"{words} became {others}"
    off = float(np.abs(new - old).max())
    if off > SAME.get(problem.solver, EXACT):
        return kind, f"inputs differ by {off:.1e}"
    return kind, AGREED


def main(
    n_problems: Annotated[int, typer.Argument()] = 300,
    first_seed: int = 0,
    solver: str | None = None,
) -> None:
    """Compare random problems with themselves in other units."""
    found: Counter[str] = Counter()
    wrong = []
    with threadpool_limits(limits=1), np.errstate(all="ignore"), warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of models that grow
        for seed in track(range(first_seed, first_seed + n_problems), "problems"):
            kind, said = verdict(seed, solver)
            found[kind] += 1
            if said != AGREED:
                wrong.append(f"seed {seed}, {kind}: {said}")
    print("\n".join(wrong))
    print(f"{n_problems:,} problems, {len(wrong)} differ: {dict(found)}")
    raise typer.Exit(code=1 if wrong else 0)


if __name__ == "__main__":
    typer.run(main)
