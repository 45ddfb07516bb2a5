"""Linear maps as lifted models, with exactly known spectra, for the tests of the analysis."""

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

from koopman_control.common.arrays import Array
from koopman_control.features import Coordinates, SampledFeatures
from koopman_control.identification import LiftedModel, Signals
from koopman_control.trajectories import Trajectory


def _model_of(F: Array, B: Array | None = None, n_extra: int = 1, **known: Any) -> LiftedModel:
    """State x+ = F[:d, :d] x + ... with d = len(F) - n_extra states beside features of theirs."""
    n = len(F)
    d = n - n_extra
    features = SampledFeatures(n_extra, random_state=0)
    features.fit(np.random.default_rng(0).normal(size=(100, d)))
    A = np.eye(n + 1)
    A[1:, 1:] = F
    C = np.zeros((d, n + 1))
    C[:, 1 : d + 1] = np.eye(d)
    inputs = np.zeros((n, 1)) if B is None else B
    return LiftedModel(
        A=A,
        B=np.vstack([np.zeros((1, inputs.shape[1])), inputs]),
        C=C,
        N=None,
        signals=Signals(
            coordinates=Coordinates(d, tuple(range(d))),
            center=np.zeros(d),
            scale=np.ones(d),
            limits=np.tile([[-np.inf], [np.inf]], d),
            saturating=np.zeros(d, dtype=bool),
            **known,
        ),
        features=features,
    )


def _runs_of_map(
    F: Array, B: Array, n_runs: int = 8, n_steps: int = 30, **known: Any
) -> list[Trajectory]:
    """Simulate x+ = F x + B u from random states."""
    found = []
    for seed in range(n_runs):
        rng = np.random.default_rng(seed)
        U = rng.uniform(-1.0, 1.0, (n_steps, B.shape[1]))
        X = [rng.normal(size=len(F))]
        for u in U:
            X.append(F @ X[-1] + B @ u)
        found.append(Trajectory(np.array(X), U, **known))
    return found


@pytest.fixture
def model_of() -> Callable[..., LiftedModel]:
    """Give what makes a model of a core matrix F, of states followed by features."""
    return _model_of


@pytest.fixture
def runs_of_map() -> Callable[..., list[Trajectory]]:
    """Give what simulates x+ = F x + B u."""
    return _runs_of_map
