"""Reacher-v5: iterative linear-quadratic regulator through the simulator.

    python -m examples.references.reacher --store

Two plans are made for each goal, one for each posture of the arm that reaches it, from a
proportional-derivative start; the better one is played. Optima are local. The distance's kink at
the goal is rounded in the derivatives, less and less as the iterations go on.
"""

from __future__ import annotations

from typing import Annotated, Any

import gymnasium as gym
import numpy as np
import typer

from examples.references.episodes import outcomes, store
from koopman_control.common import Array

ENV_ID = "Reacher-v5"
NAME = "iLQR, true model"
HOW = (
    "iterative linear-quadratic regulator through the simulator from both postures of the arm that "
    "reach the goal, the better one played; a local optimum"
)
N, LINKS, NUDGE = 50, (0.1, 0.11), 1e-5
STEPS = (1.0, 0.5, 0.25, 0.1, 0.03, 0.01)  # of the line search
ROUNDING = (2e-2, 1e-3, 0.8)  # first, last and factor of the rounding of the distance, in m
PROPORTIONAL, DERIVATIVE = 0.2, 0.05  # gains of the start, the best of 12 pairs


class Simulator:
    """The arm's state (two angles, two speeds) under the true dynamics and cost."""

    def __init__(self) -> None:
        env = gym.make(ENV_ID)
        env.reset(seed=0)
        self._mujoco: Any = env.unwrapped
        self.goal = np.zeros(2)

    def step(self, x: Array, a: Array) -> Array:
        sim = self._mujoco
        sim.set_state(np.r_[x[:2], self.goal], np.r_[x[2:], 0.0, 0.0])
        sim.do_simulation(np.clip(a, -1.0, 1.0), sim.frame_skip)
        after: Array = np.r_[sim.data.qpos[:2], sim.data.qvel[:2]]
        return after

    def cost(self, after: Array, a: Array) -> float:
        return float(np.linalg.norm(hand(after) - self.goal) + a @ a)

    def slopes(self, x: Array, a: Array) -> tuple[Array, Array]:
        """Return the Jacobians (4, 4) and (4, 2) of the step by central differences."""
        fx = [self.step(x + d, a) - self.step(x - d, a) for d in NUDGE * np.eye(4)]
        fu = [self.step(x, a + d) - self.step(x, a - d) for d in NUDGE * np.eye(2)]
        return np.stack(fx, axis=1) / (2.0 * NUDGE), np.stack(fu, axis=1) / (2.0 * NUDGE)


class Plan:
    """Actions (50, 2), the states (51, 4) they lead to and the cost."""

    def __init__(self, sim: Simulator, start: Array, policy: Any) -> None:
        self.states: Array = np.empty((N + 1, 4))
        self.actions: Array = np.empty((N, 2))
        self.states[0], self.cost = start, 0.0
        for k in range(N):
            x = self.states[k]
            self.actions[k] = np.clip(policy(k, x), -1.0, 1.0)
            self.states[k + 1] = sim.step(x, self.actions[k])
            self.cost += sim.cost(self.states[k + 1], self.actions[k])


def hand(x: Array) -> Array:
    """Return the position (2,) of the hand."""
    angles = np.array([x[0], x[0] + x[1]])
    return np.array([LINKS @ np.cos(angles), LINKS @ np.sin(angles)])


def postures(goal: Array) -> list[Array]:
    """Return the joint angles (2,) of both postures that reach a goal, or point at it."""
    upper, fore = LINKS
    cosine = (goal @ goal - upper**2 - fore**2) / (2.0 * upper * fore)
    bend = np.arccos(np.clip(cosine, -1.0, 1.0))
    found = []
    for q2 in (bend, -bend):
        q1 = np.arctan2(goal[1], goal[0]) - np.arctan2(fore * np.sin(q2), upper + fore * np.cos(q2))
        found.append(np.array([(q1 + np.pi) % (2.0 * np.pi) - np.pi, q2]))
    return found


def distance_model(sim: Simulator, x: Array, rounding: float) -> tuple[Array, Array]:
    """Return gradient (4,) and Gauss–Newton Hessian (4, 4) of the rounded distance to the goal."""
    off, whole = hand(x) - sim.goal, x[0] + x[1]
    far = np.sqrt(off @ off + rounding**2)
    first = LINKS[0] * np.array([-np.sin(x[0]), np.cos(x[0])])
    second = LINKS[1] * np.array([-np.sin(whole), np.cos(whole)])
    J = np.stack([first + second, second, np.zeros(2), np.zeros(2)], axis=1)
    return J.T @ off / far, J.T @ (np.eye(2) / far - np.outer(off, off) / far**3) @ J


def feedback(
    sim: Simulator, plan: Plan, slopes: list[tuple[Array, Array]], rounding: float, damping: float
) -> tuple[Array, Array]:
    """Return steps (50, 2) and gains (50, 2, 4) of the linear-quadratic problem about a plan."""
    steps, gains = np.empty((N, 2)), np.empty((N, 2, 4))
    v, V = np.zeros(4), np.zeros((4, 4))
    for k in reversed(range(N)):
        A, B = slopes[k]
        slope, curvature = distance_model(sim, plan.states[k + 1], rounding)
        w, W = v + slope, V + curvature
        qu, Quu = 2.0 * plan.actions[k] + B.T @ w, (2.0 + damping) * np.eye(2) + B.T @ W @ B
        Qux = B.T @ W @ A
        steps[k], gains[k] = -np.linalg.solve(Quu, qu), -np.linalg.solve(Quu, Qux)
        v = A.T @ w + gains[k].T @ (Quu @ steps[k] + qu) + Qux.T @ steps[k]
        V = A.T @ W @ A + gains[k].T @ (Quu @ gains[k] + Qux) + Qux.T @ gains[k]
        V = 0.5 * (V + V.T)
    return steps, gains


def improved(sim: Simulator, plan: Plan, iterations: int = 60) -> Plan:
    """Return the local optimum near a plan."""
    rounding, last, factor = ROUNDING
    damping = 1e-6
    for _ in range(iterations):
        better, damping = damped(sim, plan, rounding, damping)
        gain = 0.0 if better is None else plan.cost - better.cost
        plan = better or plan
        rounding = max(rounding * factor, last)
        if gain < 1e-7 and rounding <= last:
            break
    return plan


def damped(
    sim: Simulator, plan: Plan, rounding: float, damping: float
) -> tuple[Plan | None, float]:
    """Return a better plan, if more and more damping leads to one, and the next damping."""
    slopes = [sim.slopes(x, a) for x, a in zip(plan.states, plan.actions, strict=False)]
    for _ in range(12):
        better = searched(sim, plan, *feedback(sim, plan, slopes, rounding, damping))
        if better is not None:
            return better, max(damping / 5.0, 1e-8)
        damping = max(damping * 10.0, 1e-4)
    return None, damping


def searched(sim: Simulator, plan: Plan, steps: Array, gains: Array) -> Plan | None:
    """Return the first of shorter and shorter steps that makes the plan cheaper."""
    for length in STEPS:

        def policy(k: int, x: Array, length: float = length) -> Array:
            action: Array = plan.actions[k] + length * steps[k] + gains[k] @ (x - plan.states[k])
            return action

        trial = Plan(sim, plan.states[0], policy)
        if trial.cost < plan.cost - 1e-9:
            return trial
    return None


class Reaching:
    """Plans at the start of an episode and plays the plan."""

    def __init__(self, env: gym.Env[Any, Any]) -> None:
        self._arm: Any = env.unwrapped
        self._sim = Simulator()

    def reset(self) -> None:
        data, self._sim.goal = self._arm.data, self._arm.goal.copy()
        start = np.r_[data.qpos[:2], data.qvel[:2]]
        candidates = []
        for target in postures(self._sim.goal):

            def hold(k: int, x: Array, target: Array = target) -> Array:
                bent: Array = PROPORTIONAL * (target - x[:2]) - DERIVATIVE * x[2:]
                return bent

            candidates.append(improved(self._sim, Plan(self._sim, start, hold)))
        self._actions = iter(min(candidates, key=lambda plan: plan.cost).actions)

    def act(self, observation: Array) -> Array:
        action: Array = next(self._actions)
        return action


def main(
    first_seed: int = 1000,
    episodes: Annotated[int, typer.Option(min=1)] = 100,
    save: Annotated[bool, typer.Option("--store", help="Into references.json.")] = False,
) -> None:
    """Reach the goals of the evaluation seeds."""
    env = gym.make(ENV_ID)
    found = outcomes(env, Reaching(env), NAME, range(first_seed, first_seed + episodes))
    if save:
        store(ENV_ID, "reference", NAME, HOW, found, packages=["mujoco"])


if __name__ == "__main__":
    typer.run(main)
