import json
from importlib.resources import files
from typing import Any

import numpy as np
import pytest

TABLE: dict[str, dict[str, Any]] = json.loads(
    (files("koopman_control.tasks") / "references.json").read_text(encoding="utf-8")
)


@pytest.mark.parametrize("env_id", TABLE)
def test_every_task_has_a_reference_and_two_floors_over_the_evaluation_seeds(env_id: str) -> None:
    assert TABLE[env_id].keys() == {"reference", "random", "zero"}
    for entry in TABLE[env_id].values():
        assert entry.keys() == {"name", "how", "source", "returns"}
        assert list(entry["returns"]) == [str(seed) for seed in range(1000, 1100)]
        assert np.isfinite(list(entry["returns"].values())).all()


@pytest.mark.parametrize(
    ("env_id", "mean"),
    [
        ("Pendulum-v1", -143.13),
        ("InvertedPendulum-v5", 1000.0),
        ("koopman_envs/VanDerPol-v0", -45.97),
    ],
)
def test_the_references_have_the_published_means(env_id: str, mean: float) -> None:
    returns = list(TABLE[env_id]["reference"]["returns"].values())
    assert np.mean(returns) == pytest.approx(mean, abs=0.01)
