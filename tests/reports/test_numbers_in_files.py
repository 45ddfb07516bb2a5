"""Files with a right checksum and wrong numbers: NaN, or infinity where it is no bound."""

import json
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from examples.campaigns.hostile_files import packed, signed, unpacked
from koopman_control import (
    EDMDc,
    FourierFeatures,
    LiftedModel,
    SampledFeatures,
    Trajectory,
    load_trajectories,
    save_trajectories,
)
from koopman_control.common import load_npz, save_npz
from koopman_control.common.files import FileFormatError
from koopman_control.features.store import describe_features, rebuild_features
from koopman_control.trajectories.store import Checkpoint

RUN = Trajectory(
    np.cumsum(np.random.default_rng(0).normal(size=(60, 2)), axis=0),
    np.random.default_rng(1).uniform(-1.0, 1.0, (59, 1)),
    rewards=np.zeros(59),
    dt=0.1,
    action_bounds=np.array([[-np.inf], [np.inf]]),
)


def with_number(path: Path, array: str, number: float) -> None:
    """Put a number in front of an array of a file and sign it anew, as its maker would."""
    members = unpacked(path.read_bytes())
    facts = json.loads(members["header.json"])
    body = bytearray(members[f"{array}.npy"])
    form = facts["arrays"][array]
    values = np.frombuffer(
        body, form["type"], count=int(np.prod(form["shape"])), offset=len(body)
        - int(np.prod(form["shape"])) * np.dtype(form["type"]).itemsize,
    )  # fmt: skip
    values[0] = number
    path.write_bytes(packed(signed(members | {f"{array}.npy": bytes(body)}, facts)))


@pytest.fixture
def model(tmp_path: Path) -> Path:
    features = SampledFeatures(4, random_state=0)
    path = tmp_path / "model.npz"
    EDMDc(features, n_folds=2, horizon=3, regularization=1e-6).fit(RUN).model_.save(path)
    return path


def floats(path: Path) -> list[str]:
    facts = json.loads(unpacked(path.read_bytes())["header.json"])["arrays"]
    return sorted(
        k for k, f in facts.items() if np.dtype(f["type"]).kind == "f" and np.prod(f["shape"])
    )


def test_no_array_of_a_model_may_hold_nan(model: Path) -> None:
    data, names = model.read_bytes(), floats(model)
    assert any(name.startswith("features/") for name in names)
    for name in names:
        model.write_bytes(data)
        with_number(model, name, np.nan)
        with pytest.raises(FileFormatError, match=r"NaN at|nan at index"):
            LiftedModel.load(model)
    model.write_bytes(data)
    LiftedModel.load(model)


def test_infinity_is_legal_in_bounds_only(model: Path) -> None:
    data = model.read_bytes()
    bounds = ("limits", "action_bounds", "error_quantiles/")
    for name in floats(model):
        model.write_bytes(data)
        with_number(model, name, -np.inf if name in ("limits", "action_bounds") else np.inf)
        if name.startswith(bounds):
            LiftedModel.load(model)
            continue
        with pytest.raises(FileFormatError, match="inf at index"):
            LiftedModel.load(model)


@pytest.mark.parametrize("array", ["observations", "actions", "rewards", "action_bounds"])
def test_no_array_of_trajectories_may_hold_nan(array: str, tmp_path: Path) -> None:
    path = tmp_path / "data.npz"
    save_trajectories(path, RUN)
    with_number(path, array, np.nan)
    with pytest.raises(FileFormatError, match=f"array '{array}' holds NaN at"):
        load_trajectories(path)


def test_a_checkpoint_with_nan_is_refused(tmp_path: Path) -> None:
    kept = Checkpoint(tmp_path, {"seed": 0})
    kept.add(0, RUN)
    (file,) = tmp_path.glob("*.npz")
    with_number(file, "observations", np.nan)
    with pytest.raises(FileFormatError, match="array 'observations' holds NaN"):
        kept.episodes()


@pytest.mark.parametrize("number", [np.nan, np.inf])
def test_features_with_such_numbers_are_refused_by_name(number: float) -> None:
    settings, arrays = describe_features(FourierFeatures(4, random_state=0).fit(RUN.observations))
    name = sorted(key for key, a in arrays.items() if a.dtype.kind == "f")[0]
    broken = arrays | {name: np.where(np.arange(arrays[name].size).reshape(arrays[name].shape) == 1,
                                      number, arrays[name])}  # fmt: skip
    rebuild_features(settings, arrays)
    with pytest.raises(ValueError, match=rf"FourierFeatures\.{name} holds"):
        rebuild_features(settings, broken)


def test_what_could_not_be_read_again_is_not_written(tmp_path: Path) -> None:
    for make in (lambda: np.array([1.0, np.nan]), lambda: np.array([complex(0.0, np.nan)])):
        refused(make, tmp_path / "numbers.npz")
    save_npz(tmp_path / "numbers.npz", "numbers", 1, {"x": np.array([np.inf])}, {})
    assert load_npz(tmp_path / "numbers.npz", "numbers", 1)[0]["x"][0] == np.inf


def refused(make: Callable[[], np.ndarray], path: Path) -> None:
    with pytest.raises(ValueError, match="array 'x' holds NaN at"):
        save_npz(path, "numbers", 1, {"x": make()}, {})
    assert not path.exists()


def test_settings_that_hold_no_number_are_refused(model: Path) -> None:
    members = unpacked(model.read_bytes())
    facts = json.loads(members["header.json"])
    facts["settings"]["dt"] = float("nan")
    members["header.json"] = json.dumps(facts).encode()
    model.write_bytes(packed(signed(members, facts)))
    with pytest.raises(FileFormatError, match="its settings hold NaN"):
        LiftedModel.load(model)
