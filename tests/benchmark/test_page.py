from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from koopman_control.benchmark import CONDITIONS, SUBJECTS, open_runs, write_results
from koopman_control.benchmark.page import (
    curves,
    learning_curves,
    paired_differences,
    verdict,
    write_page,
)
from koopman_control.benchmark.plan import Key
from koopman_control.benchmark.statistics import Cell, Estimate, cells_of
from koopman_control.benchmark.summary import markdown, summarised, tables
from koopman_control.evaluation import PairedDifference
from koopman_control.evaluation.plots import style
from koopman_control.tasks import reference_returns
from tests.benchmark.tiny import tiny_plan

SEEDS = range(1000, 1004)
ENVS = ("Pendulum-v1", "koopman_envs/Duffing-v0")


def record(key: Key, below: float, data_steps: int = 600) -> dict[str, Any]:
    """A run whose returns lie below those of the reference."""
    stored = reference_returns(key.task, SEEDS)
    assert stored is not None
    return {
        "task": key.task,
        "env_id": key.task,
        "subject": key.subject,
        "condition": key.condition,
        "seed": key.seed,
        "returns": (stored[1] - below).tolist(),
        "steps": 10,
        "fallbacks": 1,
        "data_steps": data_steps,
        "violations": {"total": 0.5, "episodes": 1, "steps": 2},
        "times": {"learn_seconds": 2.0, "act_us": {"p50": 100.0, "p99": 200.0}},
    }


@pytest.fixture(scope="module")
def cells() -> dict[tuple[str, str, str], Cell]:
    records = {}
    for env_id in ENVS:
        for seed in range(3):
            for subject, condition, below, steps in (
                ("koopman", "nominal", 0.1 * seed, 600),
                ("koopman", "half", 5.0 + seed, 300),
                ("lqr", "nominal", 20.0 + seed, 600),
            ):
                key = Key(env_id, subject, condition, seed)
                records[key] = record(key, below, steps)
        key = Key(env_id, "random", "nominal", 0)
        records[key] = record(key, 500.0, 0)
        key = Key(env_id, "reference", "nominal", 0)
        records[key] = record(key, 0.0, 0) | {"name": "the true model"}
    return cells_of(records, SEEDS)


def test_a_page_needs_nothing_but_itself(
    cells: dict[tuple[str, str, str], Cell], tmp_path: Path
) -> None:
    facts = {
        "settings": {"episodes": 4, "first_seed": 1000},
        "machine": {"cores": 2},
        "versions": {"numpy": "9"},
    }
    write_page(tmp_path, cells, tiny_plan(), facts)
    page = (tmp_path / "control.html").read_text("utf-8")
    assert page.count("data:image/png;base64,") == 3
    assert "http" not in page and "<script" not in page
    for text in ("Pendulum", "Duffing", "lqr", "max-width: 62rem", "1000 to"):
        assert text in page
    assert {path.stem for path in tmp_path.glob("*.png")} == {
        "performance_profiles", "learning_curves", "paired_differences",
    }  # fmt: skip


def test_the_verdict_is_the_interquartile_mean_of_all_runs(
    cells: dict[tuple[str, str, str], Cell],
) -> None:
    scores = [cells[env_id, "koopman", "nominal"].scores for env_id in ENVS]
    runs = np.sort([x for found in scores if found is not None for x in found.values()])
    assert f"{runs[1:5].mean():.3f}" in verdict(cells)
    assert f"{runs.min():.3f}" in verdict(cells)


def test_learning_curves_hold_scores_by_environment_steps(
    cells: dict[tuple[str, str, str], Cell],
) -> None:
    found = curves(cells)
    assert set(found) == set(ENVS)
    for subjects in found.values():
        assert list(subjects) == ["koopman"]
        (few, less), (many, more) = subjects["koopman"]
        assert (few, many) == (300, 600)
        assert less.value < more.value


def test_a_budget_from_which_nothing_could_be_learned_stays_in_the_curve() -> None:
    """It scores 0, as random actions do, at its share of the steps that others took."""
    records = {}
    for condition, steps in (("quarter", None), ("half", 300), ("nominal", 600)):
        key = Key(ENVS[0], "koopman", condition, 0)
        records[key] = record(key, 0.0, steps or 0)
        if steps is None:
            del records[key]["returns"], records[key]["data_steps"]
            records[key]["error"] = "ValueError: data holds too few samples"
    points = curves(cells_of(records, SEEDS))[ENVS[0]]["koopman"]
    assert [steps for steps, _ in points] == [150, 300, 600]
    np.testing.assert_allclose([found.value for _, found in points], [0.0, 1.0, 1.0], atol=1e-12)


def test_differences_are_ours_less_theirs(cells: dict[tuple[str, str, str], Cell]) -> None:
    found = summarised(cells)["differences"]["nominal"]
    assert set(found) == {"lqr", "random", "reference"}
    for env_id in ENVS:
        assert found["lqr"][env_id]["wins"] == 1.0
        assert found["reference"][env_id]["mean"] < 0.0


def test_the_table_has_a_row_per_task(cells: dict[tuple[str, str, str], Cell]) -> None:
    lines = markdown(cells).splitlines()
    assert len(lines) == 2 + len(ENVS)
    assert len({line.count("|") for line in lines}) == 1
    assert "1.5 in 3 episodes" in lines[2]
    assert "(the true model)" in lines[2]
    assert "100 / 200" in lines[2]


def test_all_tables_are_rectangular(cells: dict[tuple[str, str, str], Cell]) -> None:
    found = tables(cells)
    assert len(found) == 3
    for table in found:
        assert {len(row) for row in table.rows.values()} == {len(table.columns)}


def test_an_empty_file_of_runs_gives_an_empty_table_and_no_page(tmp_path: Path) -> None:
    plan = tiny_plan()
    table = write_results(tmp_path, plan, open_runs(tmp_path, plan))
    assert len(table.splitlines()) == 2
    assert not (tmp_path / "control.html").exists()


def test_a_task_without_a_reference_has_returns_and_no_score(
    cells: dict[tuple[str, str, str], Cell],
) -> None:
    unknown = {
        ("Other-v0", subject, "nominal"): Cell(
            ("Other-v0", subject, "nominal"),
            ({"seed": 0, "returns": [1.0, 2.0, 3.0, 4.0], "data_steps": 9},),
            {},
            SEEDS,
            "Other-v0",
        )
        for subject in ("koopman", "lqr")
    }
    found = summarised(cells | unknown)
    other = next(cell for cell in found["cells"] if cell["task"] == "Other-v0")
    assert other["mean"]["value"] == 2.5
    assert other["score"] is None
    assert set(found["differences"]["nominal"]["lqr"]) == set(ENVS)
    scores, *_ = tables(cells | unknown)
    assert set(scores.rows["Other-v0"]) == {"–"}
    assert "–" not in scores.rows["Pendulum-v1"]


def test_with_nothing_but_references_the_page_says_that_we_have_no_score_yet(
    cells: dict[tuple[str, str, str], Cell], tmp_path: Path
) -> None:
    stored = {name: cell for name, cell in cells.items() if name[1] == "reference"}
    facts = {"settings": {"episodes": 4, "first_seed": 1000}, "machine": {}, "versions": {}}
    write_page(tmp_path, stored, tiny_plan(), facts)
    assert "no score yet" in (tmp_path / "control.html").read_text("utf-8")
    assert list(tmp_path.glob("*.png")) == []


def test_a_baseline_that_is_better_shows_in_vermillion_and_in_the_title() -> None:
    behind = PairedDifference(mean=-0.2, low=-0.3, high=-0.1, wins=0.0)
    ahead = PairedDifference(mean=0.2, low=0.1, high=0.3, wins=1.0)
    figure = paired_differences({"lqr": {"Pendulum-v1": ahead, "Duffing": behind}})
    drawn = {line.get_color() for line in figure.axes[0].lines}
    assert {style.BLUE, style.VERMILLION} <= drawn
    title = " ".join(text.get_text() for text in figure.texts)
    assert "higher than a baseline's in 1 of 2 comparisons and lower in 1" in title


def test_learning_curves_of_baselines_alone_claim_nothing_of_ours() -> None:
    curve = [(300, Estimate(0.5, 0.4, 0.6)), (600, Estimate(0.9, 0.8, 1.0))]
    title = " ".join(
        text.get_text() for text in learning_curves({"Pendulum-v1": {"sac": curve}}).texts
    )
    assert "Score against environment steps" in title
    assert "Our" not in title


def test_summaries_name_all_subjects_and_conditions() -> None:
    summaries = [s.summary for s in SUBJECTS.values()] + [c.summary for c in CONDITIONS.values()]
    assert all(len(summary) > 5 for summary in summaries)
