import json
from pathlib import Path

import gymnasium as gym
import pytest

from examples.references import episodes
from examples.references.floors import RandomActions, ZeroActions
from koopman_control.tasks import TASKS
from koopman_control.tasks.references import reference_returns


@pytest.fixture(autouse=True)
def elsewhere(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setattr(episodes, "PARTIAL", tmp_path)
    table = tmp_path / "references.json"
    table.write_text("{}")
    monkeypatch.setattr(episodes, "STORE", table)
    return table


def test_an_interrupted_run_goes_on_where_it_was(elsewhere: Path) -> None:
    env = gym.make("koopman_envs/Duffing-v0")
    first = episodes.outcomes(env, ZeroActions(env), "idle", range(3))
    file = elsewhere.parent / "koopman_envs-Duffing-v0-idle.json"
    partial = json.loads(file.read_text())
    partial["1"]["return"] = -123.0
    file.write_text(json.dumps(partial))
    again = episodes.outcomes(env, ZeroActions(env), "idle", range(4))
    assert again["0"] == first["0"]
    assert again["1"]["return"] == -123.0
    assert list(again) == ["0", "1", "2", "3"]


def test_random_actions_belong_to_the_seed() -> None:
    env = gym.make("koopman_envs/Duffing-v0")
    both = episodes.outcomes(env, RandomActions(env), "random", [7, 8])
    alone = episodes.outcomes(env, RandomActions(env), "random again", [8])
    assert alone["8"] == both["8"] != both["7"]


def test_stored_outcomes_can_be_read_back(elsewhere: Path) -> None:
    found: episodes.Outcomes = {
        str(seed): {"return": -float(seed), "violation": None} for seed in episodes.SEEDS
    }
    episodes.store("Some-v0", "reference", "name", "how", found)
    entry = json.loads(elsewhere.read_text())["Some-v0"]["reference"]
    assert entry["mean"] == pytest.approx(-1049.5)
    assert entry["standard_error"] == pytest.approx(2.901149, abs=1e-6)
    assert entry["violations"] is None
    assert entry["returns"]["1001"] == -1001.0


def test_only_all_evaluation_seeds_are_stored() -> None:
    with pytest.raises(ValueError, match=r"only all of the seeds 1000 \.\.\. 1099"):
        episodes.store("Some-v0", "zero", "zero", "how", {"1": {"return": 0.0, "violation": 0.0}})


def test_each_ready_task_has_a_reference() -> None:
    assert all(
        reference_returns(env_id, episodes.SEEDS) is not None
        for env_id in {task.env_id for task in TASKS.values()}
    )


def test_a_dictionary_without_another_takes_one_line() -> None:
    value = {"a": {"b": {"c": 1, "d": [1, 2]}, "e": None}}
    assert (
        episodes.text(value)
        == '{\n  "a": {\n    "b": {"c": 1, "d": [1, 2]},\n    "e": null\n  }\n}'
    )
    assert json.loads(episodes.text(value)) == value
