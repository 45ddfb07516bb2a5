"""What a controller prints, and what it says of a reference that is too short."""

import threading
from typing import Any

import numpy as np
import pytest

from koopman_control.identification import LiftedModel
from koopman_control.mpc import Cost, KoopmanMPC

MODEL = LiftedModel.from_arrays([[0.9]], [[1.0]])


def test_osqp_is_silent_in_the_loop(capfd: pytest.CaptureFixture[str]) -> None:
    """It remarks "Polishing not needed" where no bound is active, whatever it is told."""
    mpc = KoopmanMPC(MODEL, 5, R=0.1, solver="osqp", input_bounds=[[-9.0], [9.0]])
    for x in (1.0, 0.5, 90.0, 0.1):
        mpc.act([x])
    assert capfd.readouterr() == ("", "")
    print("as before")
    assert capfd.readouterr() == ("as before\n", "")


def test_others_may_write_while_osqp_solves(capfd: pytest.CaptureFixture[str]) -> None:
    mpc = KoopmanMPC(MODEL, 40, R=0.1, solver="osqp", input_bounds=[[-9.0], [9.0]])
    lines, over = 0, threading.Event()

    def write() -> None:
        nonlocal lines
        while not over.is_set() and lines < 5000:
            print("line")
            lines += 1

    writer = threading.Thread(target=write)
    writer.start()
    for x in np.linspace(0.0, 20.0, 100):
        mpc.act([x])
    over.set()
    writer.join()
    assert capfd.readouterr() == ("line\n" * lines, "")


@pytest.mark.parametrize("name", ["reference", "input_reference", "linear_output"])
def test_a_short_reference_is_refused_with_what_to_do(name: str) -> None:
    rows: Any = [[1.0], [2.0], [3.0]]

    def made(value: Any) -> KoopmanMPC:
        if name == "reference":
            return KoopmanMPC(MODEL, 5, reference=value)
        given: Any = {name: value}
        return KoopmanMPC(MODEL, 5, cost=Cost(**given))

    with pytest.raises(ValueError) as refusal:
        made(rows)
    said = str(refusal.value)
    assert f"{name} has shape (3, 1); expected a number, shape (1,) or shape (5, 1)" in said
    assert "its 3 rows end 2 steps before the horizon of 5" in said
    advice = said[said.index("give ") + len("give ") : said.index(", or shorten")]
    longer = eval(advice, {"np": np, name: rows})  # what it says is what works
    np.testing.assert_array_equal(longer[:, 0], [1.0, 2.0, 3.0, 3.0, 3.0])
    made(longer)


def test_a_short_reference_of_a_function_is_told_in_the_loop() -> None:
    mpc = KoopmanMPC(MODEL, 5, reference=lambda y: [[1.0], [2.0]])
    mpc.act([1.0])
    assert mpc.last is not None
    assert mpc.last.rung == "safe"
    assert "its 2 rows end 3 steps before the horizon of 5" in mpc.last.status
