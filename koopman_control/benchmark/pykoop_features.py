"""The baseline `pykoop`: thin-plate features fitted by pykoop, in the linear Koopman MPC."""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import numpy as np
from scipy.linalg import block_diag
from sklearn.model_selection import GridSearchCV, GroupKFold

from koopman_control.benchmark.own_data import own_learning
from koopman_control.benchmark.plain_columns import in_plain_columns
from koopman_control.benchmark.trained import Trained
from koopman_control.benchmark.varied import unfiltered
from koopman_control.common import Array, optional_package
from koopman_control.features import Coordinates
from koopman_control.identification import LiftedModel
from koopman_control.tasks import Task
from koopman_control.trajectories import Trajectory, total_steps

N_FEATURES = 100
STRENGTHS = (1e-6, 1e-3, 1.0)  # of the Tikhonov regularisation; its cross-validation chooses
FOLDS, JUDGED = 3, 10  # folds; steps ahead that the choice is judged by


def pykoop_features(task: Task, seed: int) -> Trained:
    """Fit to the data of the task's own controller, as pykoop's documentation advises."""
    data = own_learning(task, seed).data
    started = time.perf_counter()
    n_observations = data[0].observations.shape[1]
    columns = in_plain_columns(unfiltered(task), n_observations)
    plain = replace(columns, rollout="linear", memory=0)
    model = fitted(plain, data, seed)
    return Trained(plain.controller(model), total_steps(data), time.perf_counter() - started)


def fitted(task: Task, data: Sequence[Trajectory], seed: int) -> LiftedModel:
    """Fit a pipeline of pykoop on standardised states and import it.

    Args:
        task: A task in plain columns.
        data: Runs.
        seed: Of the centres of the radial functions.

    Returns:
        The linear model z+ = A z + B u with z = [1, scaled states, features].
    """
    columns = list(task.states or ())
    states = [run.observations[:, columns] for run in data]
    center = np.concatenate(states).mean(axis=0)
    scale = np.maximum(np.concatenate(states).std(axis=0), 1e-12)
    pipeline = _searched(
        [(x - center) / scale for x in states], [run.actions for run in data], seed
    )
    n, d = pipeline.n_states_out_, len(columns)
    K = pipeline.regressor_.coef_.T  # pykoop multiplies from the right

    def lift(X: Array) -> Array:
        lifted = pipeline.lift_state((X - center) / scale, episode_feature=False)
        return np.hstack([np.ones((len(X), 1)), lifted])

    return LiftedModel.from_arrays(
        block_diag(np.ones((1, 1)), np.asarray(K[:, :n], dtype=np.float64)),
        np.vstack([np.zeros((1, K.shape[1] - n)), K[:, n:]]),
        C=np.hstack([center[:, None], np.diag(scale), np.zeros((d, n - d))]),
        lift=lift,
        dt=data[0].dt,
        action_bounds=data[0].action_bounds,
        coordinates=Coordinates.of(data[0].observations.shape[1], columns),
    )


def _searched(states: list[Array], inputs: list[Array], seed: int) -> Any:
    """Return the pipeline with the strength that predicts left-out runs best."""
    pykoop = optional_package("pykoop", "peers")
    lifting = pykoop.SplitPipeline(
        lifting_functions_state=[
            (
                "thin plate",
                pykoop.RbfLiftingFn(
                    rbf="thin_plate",
                    centers=pykoop.QmcCenters(N_FEATURES, random_state=seed),
                ),
            )
        ],
        lifting_functions_input=None,
    )
    pipeline = pykoop.KoopmanPipeline([("split", lifting)], regressor=pykoop.Edmd())
    rows = np.vstack(
        [
            np.column_stack([np.full(len(x), i), x, np.vstack([u, np.zeros_like(u[:1])])])
            for i, (x, u) in enumerate(zip(states, inputs, strict=True))
        ]
    )
    folds = min(FOLDS, len(states))
    if folds < 2:
        return pipeline.set_params(regressor__alpha=STRENGTHS[0]).fit(
            rows, n_inputs=inputs[0].shape[1], episode_feature=True
        )
    search = GridSearchCV(
        pipeline,
        {"regressor__alpha": STRENGTHS},
        scoring=pykoop.KoopmanPipeline.make_scorer(n_steps=JUDGED, relift_state=False),
        cv=GroupKFold(folds),
    )
    search.fit(rows, groups=rows[:, 0], n_inputs=inputs[0].shape[1], episode_feature=True)
    return search.best_estimator_
