"""States whose rows are known, because others are their speeds."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from koopman_control.features import PolynomialFeatures
from koopman_control.identification import EDMDc, LeastSquares
from koopman_control.trajectories import Trajectory

DT = 0.1


def pendulum(seed: int, share: float, noise: float = 0.0, dt: float | None = DT) -> Trajectory:
    """A turning wheel with friction; `share` of a step's change of speed moves the angle."""
    rng = np.random.default_rng(seed)
    U, X = rng.uniform(-1.0, 1.0, (60, 1)), [rng.normal(size=2)]
    for (u,) in U:
        angle, speed = X[-1]
        change = DT * (u - 0.3 * speed)
        X.append(np.array([angle + DT * (speed + share * change), speed + change]))
    states = np.array(X)
    Y = np.column_stack([np.cos(states[:, 0]), np.sin(states[:, 0]), states[:, 1]])
    return Trajectory(Y + noise * rng.normal(size=Y.shape), U, dt=dt)


def fit(data: list[Trajectory], **least_squares: Any) -> EDMDc:
    return EDMDc(
        PolynomialFeatures(1),
        angles=[(0, 1)],
        regularization=1e-12,
        least_squares=LeastSquares(**least_squares),
    ).fit(data)


@pytest.mark.parametrize("targets", ["increments", "states"])
@pytest.mark.parametrize("dt", [DT, None])
@pytest.mark.parametrize("share", [0.0, 0.5, 1.0])
def test_an_angle_moves_by_its_speed_exactly(share: float, dt: float | None, targets: str) -> None:
    model = fit([pendulum(s, share, dt=dt) for s in range(5)], derivatives={0: 1}, targets=targets)
    x, u = np.array([[0.4, 1.5]]), np.array([[0.7]])
    change = DT * (0.7 - 0.3 * 1.5)
    expected = [0.4 + DT * (1.5 + share * change), 1.5 + change]
    np.testing.assert_allclose(model.model_.one_step.step(x, u)[0], expected, atol=1e-8)


def test_noise_enters_the_row_of_an_angle_by_its_speed_only() -> None:
    model = fit([pendulum(s, 0.5, noise=0.05) for s in range(5)], derivatives={0: 1}).model_
    x = np.random.default_rng(0).normal(size=(50, 2))
    angle, speed = model.one_step.step(x, np.zeros((50, 1))).T
    apart, moved = (speed - x[:, 1])[:, None], angle - x[:, 0] - DT * x[:, 1]
    (share,), rest, *_ = np.linalg.lstsq(apart, moved, rcond=None)
    assert rest < 1e-20
    assert 0.0 <= share <= DT + 1e-9


def test_numbers_that_are_no_states_are_refused() -> None:
    data = [pendulum(s, 0.5) for s in range(3)]
    for wrong in ({0: 2}, {1: 0}, {1: 1}):
        with pytest.raises(ValueError, match="expected two different states from 0 to 1"):
            fit(data, derivatives=wrong)
