"""Left-out errors against those of models fitted in full."""

import numpy as np
import pytest

from koopman_control.common.arrays import Array
from koopman_control.features import SampledFeatures
from koopman_control.identification.crossvalidation import CrossValidation, FoldsInMemory
from koopman_control.identification.edmdc import EDMDc
from koopman_control.identification.errors import scaled_errors, windows_of
from koopman_control.identification.snapshots import split_into_folds
from koopman_control.trajectories import Trajectory


def turning(seed: int) -> Trajectory:
    """Turn a driven wheel, its angle reported as cosine and sine."""
    rng = np.random.default_rng(seed)
    U, angle, speed, rows = rng.uniform(-1.0, 1.0, (50, 1)), 0.0, rng.uniform(-2.0, 2.0), []
    for u in [*U[:, 0], 0.0]:
        rows.append([np.cos(angle), np.sin(angle), speed])
        angle, speed = angle + 0.1 * speed, 0.95 * speed + 0.3 * u * np.cos(angle)
    return Trajectory(np.array(rows), U)


@pytest.mark.parametrize("strength", [1e-6, "one for each target"])
def test_relifted_errors_need_no_more_than_the_states_own_targets(strength: float | str) -> None:
    features = SampledFeatures(8, random_state=0)
    settings = EDMDc(features, coupling="bilinear", angles=[(0, 1)], horizon=10)
    chosen = settings.fit([turning(seed) for seed in range(6)])._fit.selection.trial
    folds = split_into_folds(chosen.folds.sample, 3)
    in_memory = FoldsInMemory(chosen.folds.sample, 3, 10)
    (sums,) = in_memory.sums([chosen.regression])
    trial = CrossValidation(chosen.regression, sums, in_memory)
    each: float | Array = np.geomspace(1e-9, 1e-2, chosen.regression.n_targets)
    each = each if isinstance(strength, str) else strength
    wanted = []
    for i, fold in enumerate(folds):
        others = [run for k, runs in enumerate(folds) if k != i for run in runs]
        model = chosen.regression.model(chosen.regression.factor(others).solver().solve(each))
        wanted.append(scaled_errors(model, windows_of(fold, 10), trial.scale, "relifted"))
    np.testing.assert_allclose(
        trial.errors(each, "relifted"), np.concatenate(wanted), rtol=0.0, atol=1e-8
    )
