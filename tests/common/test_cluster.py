"""A Dask cluster: connected to, looked at, and left; its workers may die, and it may itself."""

from __future__ import annotations

import importlib
import socket
from collections.abc import Iterator
from pathlib import Path

import cloudpickle
import pytest

from koopman_control.common.cluster import cluster
from koopman_control.common.versions import package_versions
from koopman_control.common.workers import (
    ClusterGoneError,
    UnfitWorkerError,
    WorkerLostError,
    in_processes,
)
from tests.common import units
from tests.common.units import FATAL, doubled

pytest.importorskip("distributed", reason="needs pip install 'koopman-control[cluster]'")


@pytest.mark.parametrize("address", ["", "here", "tcp://", "127.0.0.1:8786", "tcp://host:port"])
def test_what_is_no_address_is_refused(address: str) -> None:
    with pytest.raises(ValueError, match=r"expected the address of a Dask scheduler, as tcp://"):
        with cluster(address):
            pass


def test_where_nothing_or_something_else_answers_it_says_so(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("koopman_control.common.cluster.PATIENCE", 0.5)
    with socket.socket() as silent:
        silent.bind(("127.0.0.1", 0))
        addresses = [f"tcp://127.0.0.1:{silent.getsockname()[1]}"]
        for address in addresses:
            with pytest.raises(ClusterGoneError, match=f"no Dask scheduler answers at {address}"):
                with cluster(address):
                    pass
        silent.listen()
        with pytest.raises(ClusterGoneError, match=r"`dask scheduler`, and workers with"):
            with cluster(addresses[0]):
                pass


@pytest.mark.slow
def test_units_are_done_by_its_workers_whatever_becomes_of_them(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    told: list[str] = []
    with cluster("local", 2, told.append) as workers:
        assert workers == 2
        assert "2 workers; dashboard: http://" in told[0]
        found = dict(in_processes(doubled, range(20), 1))
        assert found == {number: 2 * number for number in range(20)}
        (tmp_path / "of_mine.py").write_text("def tripled(number): return 3 * number")
        monkeypatch.syspath_prepend(tmp_path)
        module = importlib.import_module("of_mine")
        cloudpickle.register_pickle_by_value(module)  # as `run FILE.py` does: workers lack it
        assert dict(in_processes(module.tripled, [1, 2], 1)) == {1: 3, 2: 6}
        once = [(number, str(tmp_path / f"{number % 2}")) for number in range(6)]
        assert sorted(in_processes(units.killed_at_first, once, 1)) == [(u, 2 * u[0]) for u in once]
        with pytest.raises(LookupError, match="not 0"):
            list(in_processes(units.refused, [0], 1))
        with pytest.raises(OSError, match="No space left on device"):
            list(in_processes(units.full_disk, [0], 1))
        results = dict(in_processes(units.killed_by_three, range(7), 1))
        assert isinstance(results.pop(FATAL), WorkerLostError)
        assert results == {number: 2 * number for number in range(7) if number != FATAL}


@pytest.mark.slow
def test_workers_that_would_find_something_else_are_refused_by_name(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with units.scheduler(tmp_path) as (address, _):
        monkeypatch.setattr("koopman_control.common.cluster.STARTING", 0.3)
        with pytest.raises(ClusterGoneError, match=f"the scheduler at {address} has no workers"):
            with cluster(address):
                pass
        monkeypatch.setattr("koopman_control.common.cluster.STARTING", 60)
        with units.worker(tmp_path, address, threads=2):
            with pytest.raises(
                UnfitWorkerError, match=r"has 2 threads, .*start it with --nthreads"
            ):
                with cluster(address):
                    pass
        with units.worker(tmp_path, address):
            with cluster(address) as workers:
                assert workers == 1
                others = package_versions() | {"numpy": "0.1"}
                module = "koopman_control.common.workers.package_versions"
                monkeypatch.setattr(module, lambda: others)  # of one that came later
                with pytest.raises(UnfitWorkerError, match=r"has numpy .* \(here 0\.1\)"):
                    list(in_processes(doubled, [0], 1))
            monkeypatch.setattr("koopman_control.common.cluster.package_versions", lambda: others)
            with pytest.raises(
                UnfitWorkerError, match=r"numpy .* \(here 0\.1\); results would not"
            ):
                with cluster(address):
                    pass
        (tmp_path / "broken" / "koopman_control").mkdir(parents=True)
        file = tmp_path / "broken" / "koopman_control" / "__init__.py"
        file.write_text("raise ImportError('it is not here')")
        with units.worker(tmp_path, address, PYTHONPATH=str(tmp_path / "broken")):
            with pytest.raises(UnfitWorkerError, match=r"cannot run units of work .*; install"):
                with cluster(address):
                    pass


@pytest.mark.slow
def test_a_cluster_that_goes_away_is_one_sentence(tmp_path: Path) -> None:
    def numbers() -> Iterator[int]:
        for number in range(40):
            if number == 20:
                process.kill()
            yield number

    with units.scheduler(tmp_path) as (address, process), units.worker(tmp_path, address):
        with pytest.raises(ClusterGoneError, match=r"scheduler is gone; .* is kept"):
            with cluster(address):
                list(in_processes(doubled, numbers(), 1))


@pytest.mark.slow
def test_a_disk_without_room_for_workers_is_one_sentence(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    import dask

    (tmp_path / "file").write_text("in the way")
    with dask.config.set({"temporary-directory": str(tmp_path / "file" / "within")}):
        with pytest.raises(ClusterGoneError, match="cannot start 2 workers on this machine"):
            with cluster("local", 2):
                pass
