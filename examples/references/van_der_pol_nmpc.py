"""How well can koopman_envs/VanDerPol-v0 be controlled at all?

Nonlinear model-predictive control with the *true* model: direct multiple shooting over the
environment's own Runge–Kutta map and stage cost, IPOPT through CasADi, warm-started by shifting,
several starts at the first step of an episode. Writes the returns per seed as JSON.

    pip install 'koopman-control[benchmarks]'
    python examples/references/van_der_pol_nmpc.py --horizon 200 --out nmpc.json

Other controllers: `optimum` solves one problem over the whole episode and plays the solution; the
model is exact, so this is the best there is, and shows whether the horizon is long enough. `random`
and `zero` are the floors.
"""

import argparse
import json
import shlex
import sys
import time
from collections.abc import Callable
from importlib.metadata import version
from pathlib import Path
from typing import Any

import casadi as ca
import gymnasium as gym
import numpy as np
from numpy.typing import NDArray

from koopman_envs.van_der_pol import VanDerPol

Array = NDArray[np.float64]
Chooser = Callable[[Array], float]
ENV_ID = "koopman_envs/VanDerPol-v0"
EPISODE_STEPS = 400
FIRST_STARTS = (0.0, -1.0, 1.0)  # constant inputs tried at the first step, beside the set-point's

OPTIONS: dict[str, Any] = {
    "print_time": False,
    "ipopt.print_level": 0,
    "ipopt.sb": "yes",
    "ipopt.tol": 1e-9,
    "ipopt.max_iter": 300,
}
WARM_OPTIONS = OPTIONS | {
    "ipopt.warm_start_init_point": "yes",
    "ipopt.mu_init": 1e-7,
    "ipopt.warm_start_bound_push": 1e-9,
    "ipopt.warm_start_bound_frac": 1e-9,
    "ipopt.warm_start_mult_bound_push": 1e-9,
    "ipopt.warm_start_slack_bound_push": 1e-9,
}


def symbolic_map() -> tuple[ca.Function, ca.Function]:
    """The environment's step (x, u) -> x+ and stage cost (x, u, r), in CasADi's terms."""
    x, u, r = ca.SX.sym("x", 2), ca.SX.sym("u"), ca.SX.sym("r")
    # The formulas are plain arithmetic, so the very code of the environment also takes symbols.
    plant = VanDerPol()
    after = ca.vertcat(*plant.advance(ca.vertsplit(x), [u]))
    cost = plant.cost(ca.vertsplit(x), [u], [r])
    return ca.Function("step", [x, u], [after]), ca.Function("cost", [x, u, r], [cost])


class NonlinearMPC:
    """Multiple shooting over a fixed horizon; z stacks (u_k, x_{k+1}) for k = 0 … N-1."""

    def __init__(self, horizon: int) -> None:
        self.horizon = horizon
        step, cost = symbolic_map()
        u, x = ca.SX.sym("u", 1, horizon), ca.SX.sym("x", 2, horizon)
        p = ca.SX.sym("p", 3)  # initial state and set-point
        before = ca.horzcat(p[:2], x[:, :-1])
        problem = {
            "x": ca.vec(ca.vertcat(u, x)),
            "p": p,
            "f": ca.sum2(cost.map(horizon)(before, u, ca.repmat(p[2], 1, horizon))),
            "g": ca.vec(x - step.map(horizon)(before, u)),
        }
        self._cold = ca.nlpsol("cold", "ipopt", problem, OPTIONS)
        self._warm = ca.nlpsol("warm", "ipopt", problem, WARM_OPTIONS)
        self._high = np.tile([1.0, np.inf, np.inf], horizon)
        self._last: dict[str, Array] | None = None

    def reset(self) -> None:
        self._last = None

    def plan(self, observation: Array) -> Array:
        """Best inputs (N,) from the observation (x1, x2, r)."""
        start = self._last
        solutions = (
            [self._solve(self._cold, observation, z0) for z0 in self._first_guesses(observation)]
            if start is None
            else [self._solve(self._warm, observation, **start)]
        )
        best = min(solutions, key=lambda s: float(s["f"]))
        self._last = {key: self._shift(best[key]) for key in ("x", "lam_x", "lam_g")}
        inputs: Array = np.array(best["x"]).ravel()[0::3]
        return inputs

    def _solve(
        self,
        solver: ca.Function,
        observation: Array,
        x: Array,
        lam_x: Array | float = 0.0,
        lam_g: Array | float = 0.0,
    ) -> dict[str, Any]:
        solution: dict[str, Any] = solver(
            x0=x,
            lam_x0=lam_x,
            lam_g0=lam_g,
            p=observation,
            lbx=-self._high,
            ubx=self._high,
            lbg=0.0,
            ubg=0.0,
        )
        if not solver.stats()["success"]:
            raise RuntimeError(f"IPOPT failed at {observation}: {solver.stats()['return_status']}")
        return solution

    def _first_guesses(self, observation: Array) -> list[Array]:
        guesses, plant = [], VanDerPol()
        for u in (0.8 * float(observation[2]), *FIRST_STARTS):
            x: Any = observation[:2].tolist()
            z = np.empty((self.horizon, 3))
            for k in range(self.horizon):
                x = plant.advance(x, [u])
                z[k] = u, x[0], x[1]
            guesses.append(z.ravel())
        return guesses

    def _shift(self, value: Any) -> Array:
        """Drop the first step's entries and repeat the last step's."""
        rows = np.array(value).reshape(self.horizon, -1)
        return np.concatenate([rows[1:], rows[-1:]]).ravel()


def chooser(name: str, horizon: int) -> Callable[[gym.Env[Any, Any], Array, int], Chooser]:
    """What makes, for each episode (env, first observation, seed), a map observation -> action."""
    if name == "zero":
        return lambda env, first, seed: lambda observation: 0.0
    if name == "random":

        def begin_random(env: gym.Env[Any, Any], first: Array, seed: int) -> Chooser:
            env.action_space.seed(seed)
            return lambda observation: float(env.action_space.sample()[0])

        return begin_random

    mpc = NonlinearMPC(EPISODE_STEPS if name == "optimum" else horizon)

    def begin(env: gym.Env[Any, Any], first: Array, seed: int) -> Chooser:
        mpc.reset()
        if name == "optimum":
            plan = iter(mpc.plan(first))
            return lambda observation: float(next(plan))
        return lambda observation: float(mpc.plan(observation)[0])

    return begin


def run_episode(
    env: gym.Env[Any, Any], begin: Callable[[gym.Env[Any, Any], Array, int], Chooser], seed: int
) -> float:
    """Return of one episode."""
    observation, _ = env.reset(seed=seed)
    choose = begin(env, observation, seed)
    total, done = 0.0, False
    while not done:
        action = np.array([choose(observation)], np.float32)
        observation, reward, terminated, truncated, _ = env.step(action)
        total, done = total + float(reward), terminated or truncated
    return total


def main() -> None:
    parser = argparse.ArgumentParser(description="Returns of reference controllers, as JSON.")
    parser.add_argument(
        "--controller", choices=("nmpc", "optimum", "random", "zero"), default="nmpc"
    )
    parser.add_argument("--horizon", type=int, default=200, help="steps that nmpc looks ahead")
    parser.add_argument("--first-seed", type=int, default=1000)
    parser.add_argument("--episodes", type=int, default=100)
    parser.add_argument("--out", type=Path)
    arguments = parser.parse_args()

    env, begin = gym.make(ENV_ID), chooser(arguments.controller, arguments.horizon)
    returns: dict[str, float] = {}
    start = time.perf_counter()
    for seed in range(arguments.first_seed, arguments.first_seed + arguments.episodes):
        returns[str(seed)] = round(run_episode(env, begin, seed), 6)
        print(f"seed {seed}: {returns[str(seed)]:.6f}", file=sys.stderr, flush=True)
    values = np.array(list(returns.values()))
    result = {
        "env_id": ENV_ID,
        "controller": arguments.controller,
        "horizon": arguments.horizon if arguments.controller == "nmpc" else None,
        "mean": values.mean(),
        "standard_error": values.std(ddof=1) / np.sqrt(len(values)) if len(values) > 1 else None,
        "returns": returns,
        "seconds": round(time.perf_counter() - start, 1),
        "versions": {name: version(name) for name in ("casadi", "gymnasium", "numpy")},
        "command": shlex.join(["python", *sys.argv]),
    }
    text = json.dumps(result, indent=2) + "\n"
    if arguments.out is None:
        print(text, end="")
    else:
        arguments.out.write_text(text, encoding="utf-8")
        print(f"mean {result['mean']:.4f} -> {arguments.out}")


if __name__ == "__main__":
    main()
