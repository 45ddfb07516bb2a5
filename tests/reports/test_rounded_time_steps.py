"""Runs whose dt was computed from rounded clocks (python-control #332)."""

import numpy as np
import pytest

from koopman_control import EDMDc, PolynomialFeatures, Trajectory
from koopman_control.trajectories import check_trajectories


def run(dt: float, seed: int = 0) -> Trajectory:
    rng = np.random.default_rng(seed)
    U, x = rng.uniform(-1.0, 1.0, (99, 1)), np.zeros((100, 1))
    for t, u in enumerate(U):
        x[t + 1] = 0.9 * x[t] + 0.1 * u
    return Trajectory(x, U, dt=dt)


def test_steps_that_differ_by_rounding_are_one_and_it_is_said_which() -> None:
    first, second = np.arange(100) * 2e-6, 1e-3 + np.arange(100) * 2e-6  # 500 kHz, two recordings
    steps = [float(t[1] - t[0]) for t in (first, second)]
    assert steps[0] != steps[1]
    estimator = EDMDc(PolynomialFeatures(1), n_folds=0, regularization=0.0)
    with pytest.warns(UserWarning, match=r"data\[1\] has 2.0000.*86e-06 .* 2e-06 is taken for all"):
        model = estimator.fit([run(steps[0]), run(steps[1], seed=1)]).model_
    assert model.dt == steps[0]


@pytest.mark.parametrize("off", [1e-5, -1e-5, 0.05])
def test_steps_that_differ_by_more_are_still_refused(off: float) -> None:
    with pytest.raises(ValueError, match=r"data\[1\] has 0.* as its dt, data\[0\] has 0.1"):
        check_trajectories([run(0.1), run(0.1 + 0.1 * off)])


def test_one_step_given_and_one_not_are_refused() -> None:
    unknown = Trajectory(np.zeros((3, 1)), np.zeros((2, 1)))
    with pytest.raises(ValueError, match=r"data\[1\] has None as its dt"):
        check_trajectories([run(0.1), unknown])


def test_what_was_given_stays_as_it_was() -> None:
    given = [run(0.1), run(0.1 * (1.0 + 1e-9))]
    with pytest.warns(UserWarning, match="is taken for all"):
        one = check_trajectories(given)
    assert [item.dt for item in one] == [0.1, 0.1]
    assert given[1].dt != 0.1
    assert one[1].observations is given[1].observations
