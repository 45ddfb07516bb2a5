"""A motor whose target breaks its own speed limit: where local linearisation is infeasible.

The second experiment on the bilinear DC motor of Korda & Mezić (Automatica 93, 2018): the speed is
to follow 0.5 cos(2 pi t / 3) within |speed| <= 0.4. Predictive control on the plant linearised
about the present state knows the plant and both its states; `KoopmanMPC` knows the measured speed
only, and learned from recorded runs.
"""

import time
from typing import Any

import cvxpy as cp
import numpy as np

from koopman_control import Bounds, EDMDc, KoopmanMPC, SampledFeatures, Trajectory
from koopman_envs.bilinear_motor import LIMIT, dynamics

atoms: Any = cp  # CVXPY's atoms carry no type information
DT, HORIZON, STEPS = 0.01, 100, 300
TARGET = 0.5 * np.cos(2.0 * np.pi * DT * np.arange(1, STEPS + HORIZON + 1) / 3.0)
START = np.array([-0.1, 0.1])


def moved(x: Any, u: Any) -> Any:
    """One Runge-Kutta step of the plant."""
    k1 = dynamics(x, u)
    k2 = dynamics(x + 0.5 * DT * k1, u)
    k3 = dynamics(x + 0.5 * DT * k2, u)
    return x + DT / 6.0 * (k1 + 2.0 * k2 + 2.0 * k3 + dynamics(x + DT * k3, u))


def recorded(runs: int = 60, steps: int = 100) -> list[Trajectory]:
    """Speeds under random inputs, from random starts."""
    rng = np.random.default_rng(0)
    data = []
    for _ in range(runs):
        x, u = [rng.uniform(-1.0, 1.0, 2)], rng.uniform(-1.0, 1.0, (steps, 1))
        for k in range(steps):
            x.append(moved(x[-1], u[k]))
        data.append(Trajectory(np.array(x)[:, 1:], u, dt=DT))
    return data


def local_plan(x: Any, u0: float, target: Any) -> tuple[float | None, str]:
    """Plan on the plant linearised about the present state and the last input."""
    e = 1e-6
    at = moved(x, [u0])
    A = np.array([(moved(x + e * unit, [u0]) - at) / e for unit in np.eye(2)]).T
    B = (moved(x, [u0 + e]) - at) / e
    X, u = cp.Variable((HORIZON + 1, 2)), cp.Variable(HORIZON)
    drift = np.outer(np.ones(HORIZON), at - A @ x - B * u0)
    rows = [X[0] == x, X[1:] == X[:-1] @ A.T + atoms.outer(u, B) + drift]
    rows += [atoms.abs(X[1:, 1]) <= LIMIT, atoms.abs(u) <= 1.0]
    cost = atoms.sum_squares(X[1:, 1] - target) + 0.01 * atoms.sum_squares(u)
    problem = cp.Problem(cp.Minimize(cost), rows)
    problem.solve(solver="CLARABEL")  # type: ignore[no-untyped-call]
    return (None if u.value is None else float(u.value[0])), str(problem.status)


def run_local() -> None:
    x, u = START, 0.0
    for k in range(STEPS):
        planned, status = local_plan(x, u, TARGET[k : k + HORIZON])
        if planned is None:
            print(f"local linearisation: {status} after {DT * k:.2f} s, at speed {x[1]:.3f}")
            return
        u = planned
        x = moved(x, [u])
    print("local linearisation: feasible throughout")


def run_koopman(rollout: Any) -> None:
    features = SampledFeatures(100, random_state=0)
    coupling: Any = "linear" if rollout == "linear" else "bilinear"
    model = EDMDc(features, memory=1, coupling=coupling, horizon=100).fit(recorded()).model_
    mpc = KoopmanMPC(
        model,
        HORIZON,
        Q=1.0,
        R=0.01,
        reference=TARGET[:, None],
        output_bounds=(-LIMIT, LIMIT),
        bounds=Bounds(slack_weight=1e3),
        input_bounds=(-1.0, 1.0),
        rollout=rollout,
    )
    x, speeds, seconds, rungs = START, [], [], set()
    for _ in range(STEPS):
        start = time.perf_counter()
        u = mpc.act(x[1:])
        seconds.append(time.perf_counter() - start)
        assert mpc.last is not None
        rungs.add(mpc.last.rung)
        x = moved(x, u)
        speeds.append(x[1])
    error = np.clip(TARGET[:STEPS], -LIMIT, LIMIT) - speeds
    print(
        f"KoopmanMPC {rollout}: {', '.join(sorted(rungs))} in {STEPS} steps; largest speed "
        f"{np.abs(speeds).max():.3f}, rms distance to the target within the limit "
        f"{np.sqrt(np.mean(error[50:] ** 2)):.3f}; {1e3 * np.median(seconds):.2f} ms a step"
    )


if __name__ == "__main__":
    run_local()
    run_koopman("linear")
    run_koopman("relifted")
