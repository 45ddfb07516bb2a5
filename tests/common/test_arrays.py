import numpy as np
import pytest

from koopman_control.common import (
    bounds_array,
    finite_array,
    positive_float,
    positive_int,
    read_only,
    real_array,
)


def test_lists_become_contiguous_float64() -> None:
    array = finite_array("x", np.asfortranarray([[1, 2], [3, 4]]), ndim=2)
    assert array.dtype == np.float64
    assert array.flags.c_contiguous
    np.testing.assert_array_equal(array, [[1.0, 2.0], [3.0, 4.0]])


def test_an_array_that_fits_is_not_copied() -> None:
    x = np.ones((3, 2))
    assert finite_array("x", x, shape=(None, 2)) is x


def test_the_message_names_the_argument_and_the_first_bad_row() -> None:
    x = np.zeros((5, 2))
    x[3, 1] = np.nan
    with pytest.raises(ValueError, match=r"speeds holds nan at index \(3, 1\), first in row 3"):
        finite_array("speeds", x)


@pytest.mark.parametrize("value", [[np.inf], np.nan])
def test_infinity_and_scalar_nan_are_refused(value: object) -> None:
    with pytest.raises(ValueError, match="finite"):
        finite_array("x", value)  # type: ignore[arg-type]


def test_the_message_says_which_shape_was_expected() -> None:
    with pytest.raises(ValueError, match=r"x0 has shape \(2, 1\); expected \(any, 3\)"):
        finite_array("x0", [[0.0], [1.0]], shape=(None, 3))


def test_the_message_says_how_many_dimensions_were_expected() -> None:
    with pytest.raises(ValueError, match="x0 has 1 dimensions"):
        finite_array("x0", [0.0], ndim=2)


def test_text_and_complex_numbers_are_no_real_numbers() -> None:
    with pytest.raises(TypeError, match="real numbers"):
        finite_array("x", ["a"])
    with pytest.raises(TypeError, match="real numbers"):
        finite_array("x", [1j])


def test_ragged_rows_are_refused() -> None:
    with pytest.raises(ValueError, match="equal length"):
        finite_array("x", [[1.0], [1.0, 2.0]])


def test_a_read_only_copy_cannot_be_changed_and_keeps_its_values() -> None:
    original = np.zeros(2)
    copy = read_only(original)
    original[0] = 1.0
    assert copy[0] == 0.0
    with pytest.raises(ValueError, match="read-only"):
        copy[0] = 1.0


def test_bounds_may_be_infinite_but_not_crossed() -> None:
    np.testing.assert_array_equal(bounds_array("b", [[-np.inf], [2.0]], 1), [[-np.inf], [2.0]])
    with pytest.raises(ValueError, match=r"low 3.0 above high 2.0 in column 1"):
        bounds_array("b", [[0, 3], [1, 2]], 2)
    with pytest.raises(ValueError, match="NaN"):
        bounds_array("b", [[np.nan], [2.0]], 1)


def test_integers_are_integers_of_at_least_the_minimum() -> None:
    assert positive_int("n", np.int64(3)) == 3
    assert positive_int("n", 0, minimum=0) == 0
    for wrong in (1.0, True, "1", None):
        with pytest.raises(TypeError, match="n is"):
            positive_int("n", wrong)
    with pytest.raises(ValueError, match="n is 0; expected at least 1"):
        positive_int("n", 0)


def test_positive_floats_are_finite_and_above_zero() -> None:
    assert positive_float("dt", 1) == 1.0
    for wrong in (0, -1.0, np.inf, np.nan):
        with pytest.raises(ValueError, match="above 0"):
            positive_float("dt", wrong)
    for other in (True, "1", None):
        with pytest.raises(TypeError, match="above 0"):
            positive_float("dt", other)


def test_what_is_masked_is_missing_not_what_lies_under_the_mask() -> None:
    masked = np.ma.masked_greater([1, 2, -9999], 1)
    np.testing.assert_array_equal(real_array("x", masked), [1.0, np.nan, -9999.0])
    with pytest.raises(ValueError, match="x holds nan"):
        finite_array("x", masked)
