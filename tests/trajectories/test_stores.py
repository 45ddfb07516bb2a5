"""Stores: shards of files of every kind hold what the files hold."""

import gzip
import pickle
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from koopman_control.common.arrays import Array
from koopman_control.features import SampledFeatures
from koopman_control.identification import EDMDc
from koopman_control.trajectories import (
    Trajectory,
    TrajectoryStore,
    from_table,
    open_store,
    pieces,
    save_trajectories,
)

pandas = pytest.importorskip("pandas")
N = 900


def table(n: int = N, start: int = 0, dt: float = 0.01) -> dict[str, Any]:
    """Return a log of a driven oscillation in runs of 70 rows."""
    rows = np.arange(start, start + n)
    U = np.sin(0.7 * rows)
    return {
        "t": rows * dt,
        "x": np.sin(0.05 * rows) + 0.1 * U,
        "v": np.cos(0.05 * rows),
        "u": U,
        "run": rows // 70,
    }


def written(folder: Path, kind: str, columns: dict[str, Any], name: str = "log") -> Path:
    path = folder / f"{name}.{kind}"
    if kind == "parquet":
        pyarrow = pytest.importorskip("pyarrow")
        pytest.importorskip("pyarrow.parquet").write_table(
            pyarrow.table(columns), path, row_group_size=200
        )
    elif kind == "zarr":
        group = pytest.importorskip("zarr").open_group(str(path), mode="w")
        for column, values in columns.items():
            group.create_array(column, data=np.asarray(values), chunks=(150,))
    elif kind == "npz":
        np.savez(path, **columns)
    else:
        pandas.DataFrame(columns).to_csv(path, index=False)
    return path


def read(store: TrajectoryStore) -> list[Trajectory]:
    return [
        trajectory for reader in pickle.loads(pickle.dumps(list(store))) for trajectory in reader()
    ]


def pairs(data: list[Trajectory]) -> Array:
    """Return all snapshot pairs as rows."""
    rows = [np.hstack([t.observations[:-1], t.actions, t.observations[1:]]) for t in data]
    return np.concatenate(rows)


@pytest.fixture
def small_shards(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(pieces, "ROWS", 180)
    monkeypatch.setattr(pieces, "BYTES", 9_000)


@pytest.mark.parametrize("kind", ["parquet", "csv", "zarr", "npz"])
@pytest.mark.parametrize(
    "settings",
    [{"dt": 0.01}, {"time": "t"}, {"time": "t", "run": "run"}, {"run": "run", "dt": 0.01}],
    ids=str,
)
def test_no_snapshot_pair_is_lost_or_made_up_between_shards(
    tmp_path: Path, small_shards: None, kind: str, settings: dict[str, Any]
) -> None:
    store = open_store(written(tmp_path, kind, table()), ["x", "v"], ["u"], **settings)
    whole, _ = from_table(table(), ["x", "v"], ["u"], **settings)
    assert len(store) > (2 if kind != "npz" else 0)
    assert all(t.dt == pytest.approx(0.01, rel=1e-9) for t in read(store))
    np.testing.assert_allclose(pairs(read(store)), pairs(whole), rtol=0.0, atol=1e-12)


def test_files_come_in_the_order_of_their_numbers_and_small_ones_go_together(
    tmp_path: Path,
) -> None:
    for i in (10, 2, 1):
        written(tmp_path, "csv", table(50, start=100 * i), name=f"log{i}")
    for path in (tmp_path, tmp_path / "log*.csv"):
        store = open_store(path, ["x"], ["u"], dt=0.01)
        assert len(store) == 1
        starts = [trajectory.observations[0, 0] for trajectory in store[0]()]
        assert starts == [table(1, start=100 * i)["x"][0] for i in (1, 2, 10)]
    assert repr(store).startswith("TrajectoryStore(1 shards, about ")


def test_gaps_and_markers_are_treated_as_by_from_table(tmp_path: Path) -> None:
    log = table(300)
    log["x"][100:110], log["v"][205] = np.nan, -9999.0
    path = written(tmp_path, "parquet", log)
    with pytest.raises(ValueError, match=r"log.parquet, row group 1: column 'v' holds -9999"):
        read(open_store(path, ["x", "v"], ["u"], dt=0.01))
    found = read(open_store(path, ["x", "v"], ["u"], dt=0.01, missing=[-9999]))
    whole, _ = from_table(log, ["x", "v"], ["u"], dt=0.01, missing=[-9999])
    assert sum(map(len, found)) == pytest.approx(sum(map(len, whole)), abs=1)


def test_trajectories_that_were_saved_are_a_store(tmp_path: Path) -> None:
    kept = [Trajectory(np.arange(i, i + 5.0), np.ones(4), dt=0.1) for i in range(4)]
    save_trajectories(tmp_path / "a1.npz", kept[:3])
    save_trajectories(tmp_path / "a2.npz", kept[3:])
    found = read(open_store(tmp_path))
    np.testing.assert_array_equal(pairs(found), pairs(kept))


def test_columns_of_two_dimensional_arrays_are_named_by_number(tmp_path: Path) -> None:
    zarr = pytest.importorskip("zarr")
    group = zarr.open_group(str(tmp_path / "log.zarr"), mode="w")
    Y = np.random.default_rng(0).normal(size=(40, 2))
    group.create_array("y", data=Y, chunks=(7, 2))
    group.create_array("u", data=Y[:, 0].copy(), chunks=(40,))
    (trajectory,) = read(open_store(tmp_path / "log.zarr", ["y[1]"], ["u"], dt=0.1))
    np.testing.assert_array_equal(trajectory.observations[:, 0], Y[:, 1])


def test_a_model_is_that_of_all_the_files_trajectories(tmp_path: Path, small_shards: None) -> None:
    store = open_store(written(tmp_path, "parquet", table()), ["x", "v"], ["u"], dt=0.01)
    settings = EDMDc(SampledFeatures(8, random_state=0), regularization=1e-6, n_folds=0)
    fit, whole = settings.fit(store).model_, settings.fit(read(store)).model_
    np.testing.assert_allclose(fit.A, whole.A, rtol=0.0, atol=1e-8)
    assert fit.state_names == whole.state_names == ("x", "v")


def test_shards_of_another_rate_are_refused_or_brought_to_one(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(pieces, "ROWS", 50)
    written(tmp_path, "csv", table(100), name="a")
    written(tmp_path, "csv", table(100, dt=0.02), name="b")
    store = open_store(tmp_path, ["x"], ["u"], time="t")
    with pytest.raises(ValueError, match=r"b.csv.*: is sampled every 0.02 s and the first shard"):
        EDMDc(SampledFeatures(3, random_state=0)).fit(store)
    brought = read(open_store(tmp_path, ["x"], ["u"], time="t", dt=0.02))
    assert sum(map(len, brought)) == 49 + 99


def test_what_cannot_be_opened_is_refused(tmp_path: Path) -> None:
    with pytest.raises(
        FileNotFoundError, match=r"there is no file .*nothing.*; expected a file, a"
    ):
        open_store(tmp_path / "nothing-*.csv", ["x"], ["u"])
    with pytest.raises(FileNotFoundError):
        open_store(tmp_path, ["x"], ["u"])
    written(tmp_path, "csv", table(30), name="a")
    odd = {name: values for name, values in table(30).items() if name != "v"}
    written(tmp_path, "csv", odd, name="b")
    with pytest.raises(
        ValueError, match=r"b.csv has no single column 'v'; expected the same column"
    ):
        open_store(tmp_path, ["x", "v"], ["u"])
    with pytest.raises(ValueError, match=r"observations is empty, but a.csv holds columns"):
        open_store(tmp_path)
    with pytest.raises(ValueError, match="actions is empty"):
        open_store(tmp_path, ["x"])
    with pytest.raises(ValueError, match="dt is 0"):
        open_store(tmp_path, ["x"], ["u"], dt=0.0)
    (tmp_path / "c.doc").write_text("x")
    with pytest.raises(ValueError, match=r"c.doc is of no known kind"):
        open_store(tmp_path / "c.doc", ["x"], ["u"])
    (tmp_path / "empty").mkdir()
    (tmp_path / "empty" / "e.csv").write_text("x,v,u\n")
    with pytest.raises(ValueError, match="has no rows in its 1 files"):
        open_store(tmp_path / "empty", ["x"], ["u"])
    (tmp_path / "p.parquet").write_text("no Parquet")
    with pytest.raises(ValueError, match=r"p.parquet cannot be read as a Parquet file"):
        open_store(tmp_path / "p.parquet", ["x"], ["u"])


def test_packed_texts_are_read_whole(tmp_path: Path) -> None:
    text = written(tmp_path, "csv", table(60)).read_bytes()
    with gzip.open(tmp_path / "packed.csv.gz", "wb") as packed:
        packed.write(text)
    found = read(open_store(tmp_path / "packed.csv.gz", ["x"], ["u"], dt=0.01))
    assert [len(trajectory) for trajectory in found] == [59]
