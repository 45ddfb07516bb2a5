import re

import numpy as np
import pytest

from koopman_control.features.base import constant_columns, spread


def test_a_column_that_never_moves_is_constant_in_spite_of_rounding() -> None:
    X = np.column_stack([np.full(1000, 0.1), np.zeros(1000), np.linspace(0, 1e-9, 1000)])
    assert X[:, 0].std() > 0.0  # the trap: rounding alone
    assert constant_columns(X).tolist() == [True, True, False]
    np.testing.assert_array_equal(spread(X)[:2], [1.0, 1.0])
    np.testing.assert_array_equal(spread(X)[2], X[:, 2].std())


@pytest.mark.parametrize("size", ["1e+160", "1e-180"])
def test_numbers_whose_squares_overflow_or_vanish_are_refused(size: str) -> None:
    X = np.array([[1.0, float(size)], [2.0, -float(size)]])
    with pytest.raises(ValueError, match=re.escape(f"column 1 of the data reaches {size}")):
        spread(X)
