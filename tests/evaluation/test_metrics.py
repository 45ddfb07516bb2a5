import json
from pathlib import Path

import numpy as np
import pytest

from koopman_control.evaluation.report import metrics_json, package_versions, plain


def test_numpy_becomes_plain_python() -> None:
    value = {"a": np.arange(3), "b": np.float32(0.5), "c": (np.int64(2), np.bool_(True))}
    assert plain(value) == {"a": [0, 1, 2], "b": 0.5, "c": [2, True]}


def test_what_json_cannot_say_becomes_null_or_text() -> None:
    value = {"nan": np.nan, "inf": [np.inf, 1.0], "path": Path("runs"), 3: None}
    assert plain(value) == {"nan": None, "inf": [None, 1.0], "path": "runs", "3": None}


def test_metrics_json_is_strict_and_keeps_the_order_of_the_keys() -> None:
    text = metrics_json({"z": float("nan"), "a": "σ"})
    assert "NaN" not in text
    assert list(json.loads(text)) == ["z", "a"]
    assert json.loads(text) == {"z": None, "a": "σ"}


def test_versions_leave_out_what_is_not_installed(monkeypatch: pytest.MonkeyPatch) -> None:
    module = "koopman_control.common.versions"
    monkeypatch.setattr(f"{module}.PACKAGES", ("numpy", "no-such-package"))
    assert set(package_versions()) == {"python", "numpy"}


def test_versions_name_python_and_what_is_installed() -> None:
    versions = package_versions()
    assert versions["numpy"] == np.__version__
    assert {"python", "gymnasium"} <= set(versions)
