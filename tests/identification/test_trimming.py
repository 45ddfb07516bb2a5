"""Least trimmed squares: what a smooth model cannot follow is left out, and found."""

import numpy as np
import pytest
from sklearn.base import clone

from koopman_control.features import SampledFeatures
from koopman_control.identification import Corrections, EDMDc, prediction_error
from koopman_control.identification.trimming import one_step_residuals
from koopman_control.trajectories import Trajectory

A = np.array([[1.0, 0.1], [-0.4, 0.97]])


def ball(seed: int, wall: float, n_steps: int = 300) -> Trajectory:
    """A mass on a spring, pushed at random; its speed turns round at a wall."""
    rng = np.random.default_rng(seed)
    U = np.repeat(rng.uniform(-1.0, 1.0, (n_steps // 5, 1)), 5, axis=0)
    X = [rng.uniform(-0.5, 0.5, 2)]
    for u in U[:, 0]:
        x = A @ X[-1] + np.array([0.0, 0.3 * u])
        if x[0] > wall:
            x = np.array([2.0 * wall - x[0], -0.5 * x[1]])
        X.append(x)
    return Trajectory(np.array(X), U)


def hits(data: Trajectory, wall: float) -> np.ndarray:
    free = data.observations[:-1] @ A.T + np.array([[0.0, 0.3]]) * data.actions
    return np.asarray(free[:, 0] > wall)


FEATURES = SampledFeatures(10, steepness=0.25, random_state=0)
RUNS = [ball(seed, 0.3) for seed in range(3)]
FREE = [ball(seed, np.inf) for seed in range(3)]


def fit(data: list[Trajectory], trim: object) -> EDMDc:
    return EDMDc(FEATURES, corrections=Corrections(trim=trim)).fit(data)  # type: ignore[arg-type]


def test_the_law_between_contacts_is_recovered_where_least_squares_is_not() -> None:
    left_out = [ball(9, np.inf)]
    plain, trimmed = (prediction_error(fit(RUNS, t).model_, left_out, 10)[-1] for t in (None, 0.8))
    assert plain > 0.05
    assert trimmed < 1e-6


def test_what_is_left_out_holds_every_contact() -> None:
    estimator = fit(RUNS, 0.8)
    assert estimator.trimmed_ is not None
    for data, kept in zip(RUNS, estimator.trimmed_.kept, strict=True):
        assert not (kept & hits(data, 0.3)).any()
    assert estimator.trimmed_.n_trimmed == sum((~k).sum() for k in estimator.trimmed_.kept)


def test_auto_trims_where_there_are_contacts_and_nothing_where_there_are_none() -> None:
    with_wall, without = fit(RUNS, "auto").trimmed_, fit(FREE, "auto").trimmed_
    assert with_wall is not None and without is not None
    assert with_wall.share < 1.0
    assert without.share == 1.0
    assert without.n_trimmed == 0
    assert with_wall.errors[with_wall.share] < 0.1 * with_wall.errors[1.0]


def test_the_pieces_kept_are_those_of_the_data_and_cross_no_gap() -> None:
    trimmed = fit(RUNS, 0.8).trimmed_
    assert trimmed is not None
    assert sum(len(piece) for piece in trimmed.pieces) == sum(k.sum() for k in trimmed.kept)
    whole = {tuple(x): i for run in RUNS for i, x in enumerate(run.observations)}
    for piece in trimmed.pieces:
        places = [whole[tuple(x)] for x in piece.observations]
        assert places == list(range(places[0], places[0] + len(places)))


def test_residuals_do_not_depend_on_units() -> None:
    factor = np.array([1e3, 1e-4])
    scaled = [Trajectory(run.observations * factor, run.actions) for run in RUNS]
    settings = EDMDc(FEATURES, regularization=1e-8, n_folds=0)
    plain = one_step_residuals(settings.fit(RUNS).model_, RUNS)
    other = one_step_residuals(clone(settings).fit(scaled).model_, scaled)
    np.testing.assert_allclose(np.concatenate(other), np.concatenate(plain), rtol=1e-5, atol=1e-9)


@pytest.mark.parametrize("trim", [0.0, 1.5, "most"])
def test_a_share_that_is_none_is_refused(trim: object) -> None:
    with pytest.raises((TypeError, ValueError), match="trim"):
        Corrections(trim=trim)  # type: ignore[arg-type]


def test_trimming_needs_all_data_at_once() -> None:
    with pytest.raises(ValueError, match="trim is 'auto'"):
        EDMDc(FEATURES, corrections=Corrections(trim="auto")).partial_fit(RUNS)
