import json
from importlib.resources import files
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from koopman_control.tasks import normalised_score, reference_returns

ROOT = Path(__file__).parents[2]
SEEDS = range(1000, 1100)
TABLE: dict[str, dict[str, Any]] = json.loads(
    (files("koopman_control.tasks") / "references.json").read_text(encoding="utf-8")
)
ENTRIES = [entry for entries in TABLE.values() for entry in entries.values()]


@pytest.mark.parametrize("env_id", TABLE)
def test_every_task_has_a_reference_and_two_floors_over_the_evaluation_seeds(env_id: str) -> None:
    assert TABLE[env_id].keys() == {"reference", "random", "zero"}
    for entry in TABLE[env_id].values():
        assert list(entry["returns"]) == [str(seed) for seed in SEEDS]
        assert np.isfinite(list(entry["returns"].values())).all()


@pytest.mark.parametrize("entry", ENTRIES)
def test_an_entry_says_how_it_came_about(entry: dict[str, Any]) -> None:
    assert entry.keys() == {
        "name", "how", "command", "versions", "mean", "standard_error", "returns", "violations",
    }  # fmt: skip
    module = entry["command"].split()[2]
    assert (ROOT / Path(*module.split("."))).with_suffix(".py").is_file()
    assert {"gymnasium", "numpy"} <= entry["versions"].keys()


@pytest.mark.parametrize("entry", ENTRIES)
def test_mean_and_standard_error_are_those_of_the_returns(entry: dict[str, Any]) -> None:
    returns = np.array(list(entry["returns"].values()))
    assert entry["mean"] == pytest.approx(returns.mean(), abs=1e-6)
    assert entry["standard_error"] == pytest.approx(returns.std(ddof=1) / 10.0, abs=1e-6)


@pytest.mark.parametrize("env_id", [name for name in TABLE if name.startswith("koopman_envs/")])
def test_references_of_koopman_envs_violate_no_constraint(env_id: str) -> None:
    violations = TABLE[env_id]["reference"]["violations"]
    assert list(violations) == [str(seed) for seed in SEEDS]
    assert not any(violations.values())


@pytest.mark.parametrize("env_id", TABLE)
def test_no_floor_beats_a_reference(env_id: str) -> None:
    best = TABLE[env_id]["reference"]["mean"]
    assert best > TABLE[env_id]["random"]["mean"]
    assert best > TABLE[env_id]["zero"]["mean"]


@pytest.mark.parametrize(
    ("env_id", "mean"),
    [
        ("Pendulum-v1", -143.13),
        ("InvertedPendulum-v5", 1000.0),
        ("koopman_envs/VanDerPol-v0", -45.97),
    ],
)
def test_the_references_have_the_published_means(env_id: str, mean: float) -> None:
    assert TABLE[env_id]["reference"]["mean"] == pytest.approx(mean, abs=0.01)


@pytest.mark.parametrize("env_id", TABLE)
def test_the_reference_scores_one_and_random_actions_zero(env_id: str) -> None:
    reference = reference_returns(env_id, SEEDS)
    assert reference is not None
    assert normalised_score(env_id, reference[1], SEEDS) == pytest.approx(1.0, abs=1e-12)
    random = list(TABLE[env_id]["random"]["returns"].values())
    assert normalised_score(env_id, random, SEEDS) == pytest.approx(0.0, abs=1e-12)
    half = 0.5 * (reference[1] + random)
    assert normalised_score(env_id, half, SEEDS) == pytest.approx(0.5, abs=1e-12)


def test_there_is_no_score_without_stored_returns() -> None:
    assert normalised_score("koopman_envs/Unknown-v0", [1.0], [1000]) is None
    assert normalised_score("Pendulum-v1", [-150.0], [7]) is None


def test_returns_that_do_not_match_the_seeds_are_refused() -> None:
    with pytest.raises(ValueError, match=r"shape \(3,\); expected one return for each of the 2 se"):
        normalised_score("Pendulum-v1", [1.0, 2.0, 3.0], [1000, 1001])
