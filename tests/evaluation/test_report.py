import base64
import json
import re
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from koopman_control.common.files import FolderNotWritableError
from koopman_control.evaluation import Evaluation, evaluate, plots, write_report


@pytest.fixture
def evaluation(adder: Any, constant: Any) -> Evaluation:
    return evaluate(constant([0.1]), adder(), seeds=range(1000, 1004))


def test_a_report_is_a_page_its_metrics_and_its_figures(
    evaluation: Evaluation, tmp_path: Path
) -> None:
    page = evaluation.report(tmp_path / "runs" / "adder", references={"zero": evaluation})
    assert page == tmp_path / "runs" / "adder" / "report.html"
    assert {path.name for path in page.parent.iterdir()} == {
        "report.html", "metrics.json", "closed_loop.png", "return_distribution.png",
        "step_times.png", "contents.json",
    }  # fmt: skip
    metrics = json.loads((page.parent / "metrics.json").read_text("utf-8"))
    assert metrics["references"] == {"zero": evaluation.mean}
    assert metrics["returns"] == evaluation.returns.tolist()
    assert metrics["settings"] == {"dt": 0.1}


def test_the_page_needs_nothing_but_itself(evaluation: Evaluation, tmp_path: Path) -> None:
    page = evaluation.report(tmp_path)
    text = page.read_text("utf-8")
    assert "<script" not in text and "http" not in text and "<link" not in text
    images = re.findall(r'src="data:image/png;base64,([^"]+)"', text)
    assert len(images) == text.count("<img") == 3
    assert base64.b64decode(images[0]) == (tmp_path / "closed_loop.png").read_bytes()
    assert all(re.findall(r'alt="([^"]*)"', text))


def test_figures_come_in_a_fixed_order_with_unknown_ones_last(
    evaluation: Evaluation, tmp_path: Path
) -> None:
    extra = {"mine": plots.eigenvalues([0.1]), "eigenvalues": plots.eigenvalues([0.5])}
    text = evaluation.report(tmp_path, figures=extra).read_text("utf-8")
    assert re.findall(r'<figure id="(\w+)">', text) == [
        "closed_loop", "return_distribution", "eigenvalues", "step_times", "mine",
    ]  # fmt: skip


def test_more_metrics_are_merged_and_shown(evaluation: Evaluation, tmp_path: Path) -> None:
    more = {
        "data_steps": 600,
        "learn_seconds": 12.5,
        "prediction_error": {"linear": [0.1, np.nan]},
        "settings": {"horizon": 50},
    }
    text = evaluation.report(tmp_path, metrics=more, title="My task").read_text("utf-8")
    assert "<h1>My task</h1>" in text
    assert "Learned from 600 environment steps" in text
    assert "12.5 s" in text
    assert "k = 2" in text
    metrics = json.loads((tmp_path / "metrics.json").read_text("utf-8"))
    assert metrics["prediction_error"] == {"linear": [0.1, None]}
    assert metrics["settings"] == {"dt": 0.1, "horizon": 50}


def test_names_cannot_smuggle_markup_into_the_page(evaluation: Evaluation, tmp_path: Path) -> None:
    page = write_report(
        tmp_path,
        {**evaluation.metrics(), "settings": {"<i>": "<b>"}},
        {},
        title="<script>x</script>",
        references={"<u>": -1.0},
    )
    text = page.read_text("utf-8")
    assert not any(tag in text for tag in ("<script", "<i>", "<b>", "<u>"))
    assert "&lt;script&gt;" in text


def test_a_folder_that_cannot_be_written_is_named(evaluation: Evaluation, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("in the way")
    with pytest.raises(FolderNotWritableError, match="file"):
        evaluation.report(tmp_path / "file" / "run")
