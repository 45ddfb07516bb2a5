"""States whose rows are known, because others are their speeds."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from koopman_control.features import PolynomialFeatures
from koopman_control.identification import Corrections, EDMDc, LeastSquares
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


def drive(seed: int, noise: float, dt: float | None = DT) -> Trajectory:
    """A body with friction pushed along a line, as `pendulum`, beside one that is pushed as well.

    Columns: place, speed, the other's speed; only the first two belong together.
    """
    rng = np.random.default_rng(seed)
    U, X = np.repeat(rng.uniform(-1.0, 1.0, (30, 2)), 5, axis=0), [rng.normal(size=3)]
    for u, other in U:
        place, speed, apart = X[-1]
        change = DT * (4.0 * u - 0.3 * speed)
        after = apart + DT * (4.0 * other - 0.3 * apart)
        X.append(np.array([place + DT * (speed + 0.5 * change), speed + change, after]))
    return Trajectory(np.array(X) + noise * rng.normal(size=(len(X), 3)), U, dt=dt)


def found(noise: float, **settings: Any) -> dict[int, int]:
    features = PolynomialFeatures(1)
    corrections = Corrections(noise="smooth")
    data = [drive(seed, noise, **settings) for seed in range(3)]
    fitted = EDMDc(features, regularization=1e-12, corrections=corrections).fit(data)
    return dict(fitted.noise_.derivatives)


def test_noisy_data_show_which_state_is_the_speed_of_which() -> None:
    assert found(0.03) == {0: 1}


def test_data_without_a_time_step_show_no_speeds() -> None:
    assert found(0.03, dt=None) == {}


def test_noise_that_hides_motion_shows_no_speeds() -> None:
    assert found(3.0) == {}


def test_what_was_found_is_as_if_told() -> None:
    data = [drive(seed, 0.03) for seed in range(3)]
    model = (
        EDMDc(PolynomialFeatures(1), regularization=1e-12, corrections=Corrections(noise="smooth"))
        .fit(data)
        .model_
    )
    x = np.random.default_rng(0).normal(size=(50, 3))
    place, speed, _ = model.one_step.step(x, np.zeros((50, 2))).T
    moved, change = place - x[:, 0] - DT * x[:, 1], (speed - x[:, 1])[:, None]
    (share,), rest, *_ = np.linalg.lstsq(change, moved, rcond=None)
    assert rest < 1e-20
    assert abs(share - 0.5 * DT) < 0.1 * DT
