"""What is done with data before a fit: batches of a stream, and weights."""

import numpy as np
import pytest

from koopman_control.common.arrays import Array
from koopman_control.features import PolynomialFeatures
from koopman_control.identification import EDMDc
from koopman_control.identification.preparation import batches
from koopman_control.trajectories import Trajectory, total_steps


def run(n_steps: int, seed: int) -> Trajectory:
    """Simulate x+ = 0.9 x + 0.2 sin(x) + u."""
    rng = np.random.default_rng(seed)
    U, X = rng.uniform(-1.0, 1.0, (n_steps, 1)), [rng.normal(size=1)]
    for u in U:
        X.append(0.9 * X[-1] - 0.2 * np.sin(X[-1]) + u)
    return Trajectory(np.array(X), U)


def coefficients(data: Trajectory | list[Trajectory], weight: object = None) -> Array:
    fit = EDMDc(PolynomialFeatures(3), regularization=1e-10, n_folds=0)
    fit = fit.fit(data, sample_weight=weight)
    return fit.model_.predict([0.3], [[0.1], [0.2]])


@pytest.mark.parametrize("lengths", [[30, 30, 30, 30], [30, 70, 10, 80, 5], [100], [7]])
def test_a_stream_is_cut_into_batches_that_are_large_enough_and_lose_nothing(
    lengths: list[int],
) -> None:
    stream = [run(length, seed) for seed, length in enumerate(lengths)]
    found = list(batches(iter(stream), 60))
    assert [t for batch in found for t in batch] == stream
    assert all(total_steps(batch) >= 60 for batch in found[:-1])
    assert all(total_steps(batch[:-1]) < 60 for batch in found)


def test_a_single_trajectory_takes_one_weight_per_step_as_it_is() -> None:
    whole, weight = run(60, 0), np.linspace(0.1, 1.0, 60)
    np.testing.assert_array_equal(coefficients(whole, weight), coefficients([whole], [weight]))
    assert not np.array_equal(coefficients(whole, weight), coefficients(whole))


def test_of_many_samples_the_few_that_weigh_anything_decide() -> None:
    """A sample of all is to whiten the regression, but hardly any of it counts."""
    kept, other = run(60, 0), run(600, 1)
    wrong = Trajectory(-3.0 * other.observations, other.actions)
    whole = coefficients([kept, wrong], [1.0, 0.0])
    alone = coefficients([kept, Trajectory(wrong.observations[:2], wrong.actions[:1])], [1.0, 0.0])
    np.testing.assert_allclose(whole, alone, rtol=1e-5)
