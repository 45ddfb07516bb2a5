"""Whole-episode optimal control of a koopman_envs plant, by direct multiple shooting.

The environment's own formulas, evaluated on CasADi symbols, are the model, so its discretisation is
exact. Unknowns are the actions, all later states and one slack for each constrained state; IPOPT
solves. Everything inside is scaled: actions to [-1, 1], states by half their range.
"""

from __future__ import annotations

import warnings
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

import numpy as np

from koopman_control.common import Array, optional_package
from koopman_envs import ODEEnv

ca = optional_package("casadi", "benchmarks")

PENALTY = 1000.0  # cost of a violation by one unit of scaled state, in one step
MARGIN = 1e-4  # constraints are tightened by this, in scaled states
FAR = 1e4  # a place far outside of any constraint

OPTIONS: dict[str, Any] = {
    "print_time": False,
    "ipopt.print_level": 0,
    "ipopt.sb": "yes",
    "ipopt.tol": 1e-8,
    "ipopt.max_iter": 150,
}


@dataclass(frozen=True)
class Plan:
    """Actions (N, m) in [-1, 1], the states (N, n) they lead to, and the cost with penalties."""

    actions: Array
    states: Array
    cost: float


class MultipleShooting:
    """The optimal control problem of a plant over a number of steps.

    Args:
        plant: The environment, without wrappers.
        n_steps: Number N of steps.
    """

    def __init__(self, plant: ODEEnv, n_steps: int) -> None:
        self.plant, self.n_steps = plant, n_steps
        self.n, self.m = len(plant.state_high), len(plant.input_high)
        self.scale: Array = 0.5 * (np.array(plant.state_high) - np.array(plant.state_low))
        self.step, self.cost = self._symbolic()
        low, high = constrained_box(plant)
        self._held = np.flatnonzero(np.isfinite(low) | np.isfinite(high))
        low, high = low / self.scale + MARGIN, high / self.scale - MARGIN
        self._box = low[self._held], high[self._held]
        self._solver = ca.nlpsol("optimum", "ipopt", self._problem(), OPTIONS)
        self._bounds = self._limits()

    def solve(self, state: Array, reference: Array, guesses: Iterable[Plan]) -> Plan:
        """Return the cheapest of the optima found from the guesses."""
        plans = [self._solved(state, reference, guess) for guess in guesses]
        solved = [plan for plan in plans if plan is not None]
        if not solved:
            raise RuntimeError(f"IPOPT found no optimum from {state} with reference {reference}")
        return min(solved, key=lambda plan: plan.cost)

    def inputs(self, action: Any) -> list[Any]:
        """Return the components of the physical input for those of an action in [-1, 1]."""
        ends = zip(self.plant.input_center, self.plant.input_half, action, strict=True)
        return [center + half * v for center, half, v in ends]

    def linearised(self, states: Array, actions: Array) -> tuple[Array, Array]:
        """Return the Jacobians (K, n, n) and (K, n, m) of the step, scaled, at K points."""
        x, a = ca.SX.sym("x", self.n), ca.SX.sym("a", self.m)
        after = self.step(x, a)
        slopes = ca.Function("slopes", [x, a], [ca.jacobian(after, x), ca.jacobian(after, a)])
        found = slopes.map(len(states))((states / self.scale).T, actions.T)
        A, B = (np.array(part).reshape(self.n, len(states), -1) for part in found)
        return A.swapaxes(0, 1), B.swapaxes(0, 1)

    def _symbolic(self) -> tuple[Any, Any]:
        """Return the environment's step (x, a) -> x+ and cost (x, a, r), scaled."""
        plant = self.plant
        x, a = ca.SX.sym("x", self.n), ca.SX.sym("a", self.m)
        r = ca.SX.sym("r", len(plant.reference_high))
        state = [s * v for s, v in zip(self.scale, ca.vertsplit(x), strict=True)]
        u = self.inputs(ca.vertsplit(a))
        with warnings.catch_warnings():
            warnings.filterwarnings("ignore", r"\s*casadi", FutureWarning)
            after = ca.vertcat(*plant.advance(state, u)) / self.scale
            cost = plant.cost(state, u, ca.vertsplit(r))
        return ca.Function("step", [x, a], [after]), ca.Function("cost", [x, a, r], [cost])

    def _problem(self) -> dict[str, Any]:
        """State the nonlinear program; step k owns (a_k, x_{k+1}, s_{k+1})."""
        N, n, m, c = self.n_steps, self.n, self.m, len(self._held)
        z = ca.MX.sym("z", (m + n + c) * N)
        p = ca.MX.sym("p", n + len(self.plant.reference_high))
        rows = ca.reshape(z, m + n + c, N)
        a, x, slack = rows[:m, :], rows[m : m + n, :], rows[m + n :, :]
        before = ca.horzcat(p[:n], x[:, :-1])
        cost = ca.sum2(self.cost.map(N)(before, a, ca.repmat(p[n:], 1, N)))
        g = [x - self.step.map(N)(before, a)]
        if c:
            held = x[self._held.tolist(), :]
            g += [held - slack, held + slack]
            cost += PENALTY * ca.sum1(ca.vec(slack))
        return {"x": z, "p": p, "f": cost, "g": ca.vec(ca.vertcat(*g))}

    def _limits(self) -> dict[str, Array]:
        (low, high), N = self._box, self.n_steps
        free, still, none = np.full(self.n, np.inf), np.zeros(self.n), np.zeros(len(low))
        without = np.full(len(low), np.inf)
        rows = {
            "lbx": (-np.ones(self.m), -free, none),
            "ubx": (np.ones(self.m), free, without),
            "lbg": (still, -without, low),
            "ubg": (still, high, without),
        }
        return {name: np.tile(np.concatenate(parts), N) for name, parts in rows.items()}

    def _solved(self, state: Array, reference: Array, guess: Plan) -> Plan | None:
        """Return the local optimum near a guess, None if there was none."""
        slack = np.zeros((self.n_steps, len(self._held)))
        z = np.hstack([guess.actions, guess.states / self.scale, slack]).ravel()
        p = np.concatenate([state / self.scale, reference])
        found = self._solver(x0=z, p=p, **self._bounds)
        if not self._solver.stats()["success"]:
            return None
        rows = np.array(found["x"]).reshape(self.n_steps, -1)
        actions, states = rows[:, : self.m], rows[:, self.m : self.m + self.n] * self.scale
        return Plan(np.clip(actions, -1.0, 1.0), states, float(found["f"]))


def constrained_box(plant: ODEEnv) -> tuple[Array, Array]:
    """Return the constraints as a box of states (n,), (n,), by stepping far out of it.

    Every constraint of these plants bounds one state, and `violations` says by how much.
    """
    middle = 0.5 * (np.array(plant.state_low) + np.array(plant.state_high))
    low, high = np.full(len(middle), -np.inf), np.full(len(middle), np.inf)
    for i in range(len(middle)):
        for side, bound in ((-1.0, low), (1.0, high)):
            outside = middle.copy()
            outside[i] = side * FAR
            amount = sum(plant.violations(outside.tolist()).values())
            if amount > 0.0:
                bound[i] = side * (FAR - amount)
    return low, high
