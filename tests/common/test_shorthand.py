"""Settings given by themselves are those of their groups."""

from typing import Any

import numpy as np
import pytest

from koopman_control.identification import Corrections, EDMDc, LeastSquares, LiftedModel
from koopman_control.mpc import Bounds, Cost, Inputs, KoopmanMPC, Search
from koopman_control.mpc.settings import FIELDS

MODEL = LiftedModel.from_arrays([[1.0, 0.1], [0.0, 1.0]], [[0.005], [0.1]], dt=0.1)
controller: Any = KoopmanMPC  # type checkers know the groups only
edmdc: Any = EDMDc


def test_a_controller_takes_the_fields_of_its_groups() -> None:
    alone = controller(MODEL, 10, S=0.1, rate_bounds=0.2, soft=False, n_guesses=3, safe_input=0.5)
    grouped = KoopmanMPC(
        MODEL,
        10,
        cost=Cost(S=0.1),
        bounds=Bounds(rates=0.2, soft=False),
        search=Search(guesses=3),
        inputs=Inputs(safe=0.5),
    )
    for name in ("cost", "bounds", "search", "inputs"):
        assert getattr(alone, name) == getattr(grouped, name)
    np.testing.assert_array_equal(alone.act([1.0, 0.0]), grouped.act([1.0, 0.0]))


def test_every_field_of_the_groups_can_be_given() -> None:
    groups = {"cost": Cost(), "bounds": Bounds(), "search": Search(), "inputs": Inputs()}
    for name, (argument, _, inside) in FIELDS.items():
        value = getattr(groups[argument], inside)
        assert getattr(getattr(controller(MODEL, 5, **{name: value}), argument), inside) is value


def test_a_fit_takes_the_fields_of_its_groups() -> None:
    alone = edmdc(noise="smooth", noise_std=0.1, penalty="lasso", corrections=Corrections(trim=0.9))
    assert alone.corrections == Corrections(noise="smooth", noise_std=0.1, trim=0.9)
    assert alone.least_squares == LeastSquares(penalty="lasso")


def test_what_is_given_twice_is_refused() -> None:
    said = r"S is given twice, as S= and in cost=Cost\(S=...\); give it once"
    with pytest.raises(ValueError, match=said):
        controller(MODEL, 10, S=0.1, cost=Cost(S=0.2))


def test_a_group_of_another_kind_is_refused() -> None:
    with pytest.raises(TypeError, match=r"cost is 3; expected Cost, since S is short for"):
        controller(MODEL, 10, S=0.1, cost=3)


def test_names_that_are_no_fields_are_refused() -> None:
    with pytest.raises(TypeError, match="unexpected keyword argument 'rate_bound'"):
        controller(MODEL, 10, rate_bound=0.1)
