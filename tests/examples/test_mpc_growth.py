"""A controller that runs for long holds no more memory than at first."""

import pytest

from examples.benchmarks.mpc_growth import traced_growth


@pytest.mark.slow
def test_twenty_thousand_steps_leave_no_memory_behind() -> None:
    assert traced_growth(20_000) < 64 * 1024
