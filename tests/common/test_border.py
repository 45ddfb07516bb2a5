"""What a public function says of arguments that it does not have."""

import pytest

from koopman_control.common.border import checked


@checked
def halved(number: int, times: int = 1) -> float:
    return number * 0.5**times


def test_missing_and_unknown_arguments_are_named_beside_those_it_takes() -> None:
    with pytest.raises(TypeError, match=r"^halved: missing .* 'number'; it takes number, times$"):
        halved()  # type: ignore[call-arg]
    with pytest.raises(TypeError, match=r"unexpected keyword argument 'time'; it takes number, t"):
        halved(3, time=2)  # type: ignore[call-arg]
    assert halved(3, times=2) == 0.75
