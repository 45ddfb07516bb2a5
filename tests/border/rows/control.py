"""Controllers."""

from typing import Any

import numpy as np

import koopman_control as kc
from koopman_control.mpc import (
    Blocks,
    Knots,
    MovingHorizonEstimator,
    SolverSettings,
    register_solver,
    tube_margins,
)
from koopman_control.mpc.solvers import DaqpSolver
from tests.border import parts
from tests.border.parts import model, start
from tests.border.rows.row import Row, fields, saved


def observer(kind: Any, **good: Any) -> Row:
    """An observer meets its model where a controller is made."""

    def call(**settings: Any) -> Any:
        return kc.KoopmanMPC(model(), 3, estimator=kind(**settings))

    return Row(kind.__name__, call, fields(**good))


def group(kind: Any, name: str, **good: Any) -> Row:
    """A group of settings meets its model where a controller is made."""

    def call(**settings: Any) -> Any:
        return kc.KoopmanMPC(model(), 3, **{name: kind(**settings)})

    return Row(kind.__name__, call, fields(**good))


def limited() -> Any:
    """A controller with a parameter."""
    return parts.controller().constrain(lambda y, u, p: [u <= p.top], top=0.5)


ROWS = [
    Row("Blocks", lambda **k: Blocks(**k).matrix(4), lambda: dict(lengths=[1, 2])),
    Row("Knots", lambda **k: Knots(**k).matrix(4), lambda: dict(steps=[0, 2])),
    Row("Blocks.matrix", Blocks(2).matrix, lambda: dict(horizon=4)),
    Row("Knots.matrix", Knots(2).matrix, lambda: dict(horizon=4)),
    observer(kc.KalmanObserver, measurement_noise=0.1, process_noise=0.1),
    observer(kc.OffsetFree, measurement_noise=0.1, process_noise=0.1, offset_noise=0.1),
    observer(
        MovingHorizonEstimator,
        measurement_noise=0.1,
        process_noise=0.1,
        window=3,
        state_bounds=np.array([[-2.0, -2.0], [2.0, 2.0]]),
        noise_bound=3.0,
    ),
    Row(
        "KoopmanMPC",
        kc.KoopmanMPC,
        lambda: dict(
            model=model(),
            horizon=3,
            Q=np.ones(2),
            R=0.1,
            cost=kc.Cost(),
            input_bounds=parts.BOX,
            output_bounds=np.array([[-2.0, -2.0], [2.0, 2.0]]),
            bounds=kc.Bounds(),
            reference=0.0,
            rollout="linear",
            search=kc.Search(),
            estimator=None,
            inputs=kc.Inputs(),
            solver="auto",
            compiled=False,
        ),
    ),
    group(
        kc.Cost,
        "cost",
        Q=np.ones(2),
        R=0.1,
        S=0.1,
        terminal=0.0,
        linear_output=0.0,
        linear_input=0.0,
        input_reference=0.0,
        trust=0.0,
    ),
    group(
        kc.Bounds,
        "bounds",
        inputs=parts.BOX,
        rates=1.0,
        outputs=np.array([[-2.0, -2.0], [2.0, 2.0]]),
        terminal=None,
        terminal_set=None,
        polytope=None,
        soft=True,
        slack_weight=100.0,
        tighten=False,
    ),
    group(
        kc.Search,
        "search",
        iterations=1,
        first_iterations=1,
        guesses=0,
        first_guesses=0,
        seed=0,
        deadline=None,
    ),
    group(kc.Inputs, "inputs", parametrization=None, delay=0, measured=(), safe=0.0),
    Row(
        "SolverSettings",
        lambda **k: kc.KoopmanMPC(model(), 3, solver=SolverSettings(**k)),
        lambda: dict(name="osqp", options={"max_iter": 100}),
    ),
    Row("register_solver", register_solver, lambda: dict(kind=DaqpSolver)),
    Row(
        "KoopmanMPC.act",
        lambda **k: kc.KoopmanMPC(model(), 3).act(**k),
        lambda: dict(observation=start(), disturbance=None, applied=np.zeros(1)),
    ),
    Row(
        "KoopmanMPC.reset",
        lambda **k: parts.controller().reset(**k),
        lambda: dict(previous_input=np.zeros(1)),
    ),
    Row("KoopmanMPC.save", lambda **k: parts.controller().save(**k), lambda: dict(path="c.npz")),
    Row(
        "KoopmanMPC.load",
        kc.KoopmanMPC.load,
        lambda: {"path": saved(lambda: parts.controller().save("c.npz"), "c.npz")},
    ),
    Row("KoopmanMPC.batch", lambda **k: parts.controller().batch(**k), lambda: dict(n_copies=2)),
    Row(
        "KoopmanMPC.constrain",
        lambda **k: parts.controller().constrain(**k).act(start()),
        lambda: dict(build=lambda y, u, p: [u <= p.top], top=0.5),
    ),
    Row(
        "KoopmanMPC.penalize",
        lambda **k: parts.controller().penalize(**k).act(start()),
        lambda: dict(build=lambda y, u, p: p.price * u[0, 0], price=0.5),
    ),
    Row(
        "KoopmanMPC.reference_solution",
        lambda **k: parts.controller().reference_solution(**k),
        lambda: dict(observation=start(), guess=np.zeros((3, 1))),
    ),
    Row(
        "BatchMPC.act",
        lambda **k: parts.controller().batch(2).act(**k),
        lambda: dict(observations=np.zeros((2, 2)), applied=np.zeros((2, 1))),
    ),
    Row(
        "BatchMPC.reset",
        lambda **k: parts.controller().batch(2).reset(**k),
        lambda: dict(copies=np.array([True, False]), previous_input=np.zeros((2, 1))),
    ),
    Row("compile_qp", kc.compile_qp, parts.program),
    Row(
        "ParametricQP.solve",
        lambda **k: kc.compile_qp(**parts.program()).solve(**k),
        lambda: dict(values={"p": np.ones(2)}, solver="auto"),
    ),
    *[
        Row(
            f"ParametricQP.{method}",
            getattr(kc.compile_qp(**parts.program()), method),
            lambda: dict(values={"p": np.ones(2)}),
        )
        for method in ("theta", "at")
    ],
    Row(
        "Parameters.__getitem__",
        lambda **k: limited().parameters.__getitem__(**k),
        lambda: dict(name="top"),
    ),
    Row(
        "Parameters.__setitem__",
        lambda **k: limited().parameters.__setitem__(**k),
        lambda: dict(name="top", value=0.5),
    ),
    Row(
        "tube_margins",
        tube_margins,
        lambda: dict(model=model(), horizon=3, noise=0.1, Q=1.0, R=1.0),
    ),
]
