from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

from koopman_control.features import PolynomialFeatures, SampledFeatures
from koopman_control.forecasting import SampledRNN, fill_gaps
from koopman_control.trajectories import Trajectory

RNG = np.random.default_rng(0)
Y = RNG.normal(size=(60, 2))
U = RNG.normal(size=(60, 1))
HOLES = Y.copy()
HOLES[[3, 8], [0, 1]] = np.nan, np.inf
STILL = np.column_stack([Y[:, 0], np.full(60, 2.5)])
FIT = SampledRNN(SampledFeatures(5, random_state=0), memory=3).fit(Y, inputs=U)


def fitted(series: Any, inputs: Any = None, **settings: Any) -> SampledRNN:
    return SampledRNN(SampledFeatures(5, random_state=0), **settings).fit(series, inputs=inputs)


@pytest.mark.parametrize(
    ("call", "says"),
    [
        (lambda: fitted(HOLES), r"gaps \(NaN or infinity\) in 2 rows \(3, 8\)"),
        (lambda: fitted(Y, HOLES[:, :1]), "inputs has gaps .* in row 3"),
        (lambda: fitted(STILL), "never move in column 1; leave constant columns out"),
        (lambda: fitted(Y, STILL), "inputs never move in column 1"),
        (lambda: fitted(Y[:1]), "has 1 rows; expected at least 2"),
        (lambda: fitted([]), "empty list"),
        (lambda: fitted(Y, U[:30]), "inputs has 30 rows for 60 rows; expected 59"),
        (lambda: fitted([Y, Y[:, :1]]), r"series 1 has the columns \['0'\]"),
        (lambda: fitted([Y, Y], [U]), "inputs has 1 parts for 2"),
        (lambda: fitted(Y[:2]), "single snapshot pair beyond the memory"),
        (lambda: fitted(Y, memory=60), "no series has more than 61 rows"),
        (lambda: fitted(Y, memory=-1), "memory is -1"),
        (lambda: fitted(Y, n_recurrent=5), "n_recurrent is 5 with memory=0"),
        (lambda: fitted(Y, n_folds=0), "n_folds is 0"),
        (lambda: SampledRNN(PolynomialFeatures(2), n_draws=2).fit(Y), "nothing at random"),
        (lambda: fitted(Y, regularization=-1.0), "regularization is -1.0"),
        (lambda: fitted(Y, horizon=0), "horizon is 0"),
        (lambda: FIT.forecast(Y, 0, U), "horizon is 0; expected at least 1"),
        (lambda: FIT.forecast(Y[:3], 2, U[:4]), "history 0 has 3 rows; expected at least 4"),
        (lambda: FIT.forecast(Y, 5, U), "inputs has 60 rows for 60 rows of history and 5 steps"),
        (lambda: FIT.forecast(Y, 5), "inputs have 0 columns; expected 1"),
        (lambda: FIT.forecast(Y[:, :1], 5, np.zeros((64, 1))), "expected those of the fit"),
        (lambda: FIT.forecast(Trajectory(Y, U[:59]), 5), "inputs is None; expected 5 rows"),
        (lambda: FIT.forecast(Trajectory(Y, U[:59]), 5, U[:4]), "inputs has 4 rows; expected 5"),
        (lambda: FIT.partial_fit(Y[:, :1]), "expected those of the fit"),
        (lambda: FIT.forecast_with_intervals(Y, 40, np.zeros((99, 1))), "fit with a horizon as"),
    ],
)
def test_bad_input_is_one_clear_sentence(call: Callable[[], Any], says: str) -> None:
    with pytest.raises(ValueError, match=says) as caught:
        call()
    assert "\n" not in str(caught.value)


def test_inputs_beside_trajectories_are_refused() -> None:
    with pytest.raises(TypeError, match="their actions are the inputs"):
        fitted(Trajectory(Y, U[:59]), inputs=U)


def test_text_is_no_series() -> None:
    with pytest.raises(TypeError, match="real numbers"):
        fitted([["a", "b"], ["c", "d"]])


def test_lines_and_repeats_fill_gaps() -> None:
    gaps = np.array([[np.nan, 1.0], [2.0, np.nan], [np.nan, np.inf], [8.0, 4.0], [np.nan, 5.0]])
    np.testing.assert_allclose(fill_gaps(gaps), [[2, 1], [2, 2], [5, 3], [8, 4], [8, 5]])
    np.testing.assert_allclose(
        fill_gaps(gaps, "previous"), [[2, 1], [2, 1], [2, 1], [8, 4], [8, 5]]
    )
    assert np.isnan(gaps[0, 0])


def test_a_column_without_any_number_cannot_be_filled() -> None:
    with pytest.raises(ValueError, match="no number in column 1"):
        fill_gaps([[1.0, np.nan], [2.0, np.nan]])
    with pytest.raises(ValueError, match="expected one of linear, previous"):
        fill_gaps([1.0], "cubic")  # type: ignore[arg-type]
