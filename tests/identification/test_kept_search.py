"""A search that was interrupted goes on, and ends with the same model."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest

import koopman_control as kc
from koopman_control.identification import automatic, draws, identify
from koopman_control.identification.draws import member

pytest.importorskip("numba", reason="output-error fits need numba")


def bent(seed: int = 0) -> kc.Trajectory:
    rng = np.random.default_rng(seed)
    u, y = rng.uniform(-1.0, 1.0, 120), np.zeros(121)
    for t in range(120):
        y[t + 1] = 0.8 * y[t] - 0.3 * np.tanh(2.0 * y[t]) + 0.5 * u[t]
    return kc.Trajectory(y, u, dt=0.1)


def found(path: Path | None, data: kc.Trajectory) -> automatic.Identified:
    return identify(data, n_features=6, n_draws=2, seconds=100.0, checkpoint=path)


@pytest.mark.slow
def test_an_interrupted_search_goes_on(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    whole = found(None, bent())
    path, calls = tmp_path / "search.npz", [0]

    def counted(*arguments: Any, **more: Any) -> Any:
        calls[0] += 1
        return member(*arguments, **more)

    def stopped(*arguments: Any, **more: Any) -> Any:
        if calls[0] == 20:
            raise KeyboardInterrupt
        return counted(*arguments, **more)

    for where in (automatic, draws):
        monkeypatch.setattr(where, "member", stopped)
    with pytest.raises(KeyboardInterrupt):
        found(path, bent())
    done = calls[0]
    for where in (automatic, draws):
        monkeypatch.setattr(where, "member", counted)
    again = found(path, bent())
    first = calls[0] - done
    np.testing.assert_array_equal(again.model.A, whole.model.A)
    assert [t.structure for t in again.trials] == [t.structure for t in whole.trials]
    found(path, bent())
    assert calls[0] - done - first < first, "what is known is not fitted again"
    with pytest.raises(ValueError, match="keeps a search in other data"):
        found(path, bent(1))
