"""Units in other processes of this machine: each once, whatever becomes of the processes."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import joblib
import pytest

from koopman_control.common.workers import WorkerLostError, in_processes
from tests.common.units import FATAL, doubled, killed_at_first, killed_by_three, refused


def test_every_unit_comes_with_its_result() -> None:
    for jobs in (1, 2):
        found = dict(in_processes(doubled, range(7), jobs))
        assert found == {number: 2 * number for number in range(7)}


def test_units_are_taken_when_there_is_a_process_for_them() -> None:
    taken = []

    def units() -> Iterator[int]:
        for number in range(20):
            taken.append(number)
            yield number

    for unit, _ in in_processes(doubled, units(), 1):
        assert max(taken) <= unit + 1


def test_a_unit_whose_process_was_killed_is_run_again(tmp_path: Path) -> None:
    units = [(number, str(tmp_path / f"{number % 2}")) for number in range(6)]
    found = list(in_processes(killed_at_first, units, 2))
    assert sorted(found) == [(unit, 2 * unit[0]) for unit in units]


def test_one_that_always_ends_its_process_is_given_up_and_no_other() -> None:
    found = list(in_processes(killed_by_three, range(7), 2))
    assert sorted(unit for unit, _ in found) == list(range(7))
    results = dict(found)
    lost = results.pop(FATAL)
    assert isinstance(lost, WorkerLostError)
    assert "killed, or out of memory" in str(lost)
    assert results == {number: 2 * number for number in range(7) if number != FATAL}


@pytest.mark.parametrize("jobs", [1, 2])
def test_what_a_unit_raises_is_raised(jobs: int) -> None:
    with pytest.raises(LookupError, match="not 0"):
        list(in_processes(refused, [0], jobs))


def test_what_goes_wrong_while_units_are_made_is_raised() -> None:
    def units() -> Iterator[int]:
        yield from range(3)
        raise OSError("no more")

    with pytest.raises(OSError, match="no more"):
        list(in_processes(doubled, units(), 2))


def test_what_joblib_is_told_outside_counts() -> None:
    here: set[int] = set()
    with joblib.parallel_config("threading"):  # threads share memory, processes do not
        assert len(list(in_processes(here.add, range(5), 2))) == 5
    assert here == set(range(5))


@pytest.mark.parametrize("backend", ["threading", "multiprocessing"])
def test_other_backends_of_joblib_carry_units_too(backend: str) -> None:
    with joblib.parallel_config(backend):
        found = dict(in_processes(doubled, range(20), 2))
    assert found == {number: 2 * number for number in range(20)}
