"""Controllers in a loop of their own, and on models of their plant."""

import io
from pathlib import Path
from typing import Any

import numpy as np

import koopman_control as kc
from koopman_control.deploy import Lines, Message, StepLog, serve
from koopman_control.evaluation import ModelEnv, rehearse, tracking_reward
from koopman_control.mpc import Observed, controller_from
from tests.border import parts
from tests.border.parts import model, start
from tests.border.parts import runs as data
from tests.border.rows.row import Row


def lines() -> Lines:
    return Lines(io.BytesIO(b"[0.1, 0.2]\n"), io.BytesIO())


def begun() -> ModelEnv:
    env = ModelEnv(model(), data(), n_steps=5)
    env.reset(seed=0)
    return env


def logged(**settings: Any) -> None:
    Path("log.csv").unlink(missing_ok=True)
    StepLog(**settings).close()


ROWS = [
    Row(
        "Observed",
        lambda **k: kc.KoopmanMPC(model(), 3, reference=Observed(**k)).act(start()),
        lambda: dict(columns=[0, None], offset=np.zeros(2), gain=np.ones(2)),
    ),
    Row("Observed.__call__", Observed([0, None]), lambda: dict(observation=start())),
    Row(
        "controller_from",
        controller_from,
        lambda: dict(model=model(), settings={"horizon": 3, "R": 0.1}),
    ),
    Row(
        "ModelEnv",
        ModelEnv,
        lambda: dict(
            model=model(),
            data=data(),
            reward=None,
            rollout="relifted",
            n_steps=5,
            observation_noise=0.0,
            process_noise=0.0,
            action_bounds=parts.BOX,
            output_bounds=np.array([[-2.0, -2.0], [2.0, 2.0]]),
        ),
    ),
    Row("ModelEnv.reset", lambda **k: begun().reset(**k), lambda: dict(seed=0, options=None)),
    Row("ModelEnv.step", lambda **k: begun().step(**k), lambda: dict(action=np.zeros(1))),
    Row("tracking_reward", tracking_reward, lambda: dict(mpc=parts.controller())),
    Row(
        "rehearse",
        rehearse,
        lambda: dict(
            controller=parts.controller(),
            data=data(),
            n_variants=1,
            n_starts=1,
            n_steps=2,
            noise=0.0,
            seed=0,
        ),
    ),
    Row(
        "Rehearsal.write",
        lambda **k: rehearse(parts.controller(), n_starts=1, n_steps=2).write(**k),
        lambda: dict(folder="rehearsed"),
    ),
    Row("Message.parsed", Message.parsed, lambda: dict(line=b"[0.1, 0.2]")),
    Row(
        "StepLog",
        logged,
        lambda: dict(path="log.csv", model=model(), n_inputs=1, n_measured=0),
    ),
    Row(
        "serve",
        serve,
        lambda: dict(
            mpc=kc.KoopmanMPC(model(), 3, R=0.1),
            lines=lines(),
            rate=None,
            deadline=None,
            patience=3,
            log=None,
            on_step=None,
            n_steps=1,
        ),
    ),
]
