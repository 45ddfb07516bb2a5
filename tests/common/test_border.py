"""What a public function says of arguments that it does not have."""

from collections.abc import Sequence
from typing import Any

import pytest
from typing_extensions import TypeAliasType, TypeVar

from koopman_control.common.border import checked
from koopman_control.common.kinds import fits, in_words


@checked
def halved(number: int, times: int = 1) -> float:
    return number * 0.5**times


def test_missing_and_unknown_arguments_are_named_beside_those_it_takes() -> None:
    with pytest.raises(TypeError, match=r"^halved: missing .* 'number'; it takes number, times$"):
        halved()  # type: ignore[call-arg]
    with pytest.raises(TypeError, match=r"unexpected keyword argument 'time'; it takes number, t"):
        halved(3, time=2)  # type: ignore[call-arg]
    assert halved(3, times=2) == 0.75


Item = TypeVar("Item")


def test_annotations_may_name_what_a_type_statement_declares() -> None:
    # As NumPy's array types are from 2.5 on, for Python 3.12 and later.
    whole: Any = TypeAliasType("whole", int | None)
    row: Any = TypeAliasType("row", Sequence[Item], type_params=(Item,))  # type: ignore[arg-type]
    assert fits(3, whole)
    assert not fits("a", whole)
    assert in_words(whole) == "an integer or None"
    assert fits([1, 2], row[int])
    assert not fits([1, 2.5], row[int])
    assert in_words(row[int]) == "a sequence with an integer for each entry"
