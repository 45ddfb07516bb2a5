"""Exact data of the ready tasks: noise="auto" keeps the plain fit to them bit for bit."""

from __future__ import annotations

from contextlib import closing
from dataclasses import replace

import numpy as np
import pytest

from koopman_control.identification import Corrections
from koopman_control.tasks import TASKS
from koopman_control.trajectories import collect


@pytest.mark.slow
@pytest.mark.parametrize("name", sorted(TASKS))
def test_exact_data_are_fitted_as_they_are(name: str) -> None:
    task = TASKS[name]
    task = replace(task, n_features=task.n_features[:1], steepness=task.steepness[:1])
    with closing(task.environment()) as env:
        data = collect(
            env, task.excitation, n_steps=task.first_steps, seed=20, noise=None, until=task.until
        )
    given = task.fit.get("corrections", Corrections())
    plain, auto = (
        task.estimator(20).set_params(corrections=replace(given, noise=noise)).fit(data)
        for noise in ("ignore", "auto")
    )
    assert auto.noise_.passes == 0 and auto.noise_.acting is None
    np.testing.assert_array_equal(auto.model_.A, plain.model_.A)
    np.testing.assert_array_equal(auto.model_.B, plain.model_.B)
    assert all(a is b for a, b in zip(auto.smoothed_, data, strict=True))
