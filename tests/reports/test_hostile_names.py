"""Names and files of strangers: nothing they hold may run, be fetched, or be taken for a formula.

After OWASP's pages on cross-site scripting and on CSV injection, and CVE-2019-6446 (files of NumPy
that run code when they are read).
"""

import csv
import io
import json
import pickle
import shutil
import subprocess
import sys
from collections.abc import Callable
from html.parser import HTMLParser
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
from matplotlib.figure import Figure
from rich.console import Console
from typer.testing import CliRunner

from examples.campaigns.hostile_files import packed, signed, unpacked
from koopman_control import (
    EDMDc,
    LiftedModel,
    SampledFeatures,
    Trajectory,
    load_trajectories,
    save_trajectories,
)
from koopman_control.benchmark.page import write_page
from koopman_control.benchmark.statistics import Cell
from koopman_control.benchmark.summary import markdown
from koopman_control.cli import app
from koopman_control.cli.run import _table
from koopman_control.common.files import FileFormatError
from koopman_control.evaluation import write_report
from koopman_control.evaluation.plots import style
from tests.benchmark.tiny import tiny_plan

SCRIPT = "<script>document.title='run'</script>"
HOSTILE = (
    SCRIPT,
    "\"'><img src=x onerror=\"document.title='run'\">",
    "</style></title><svg/onload=document.title='run'>",
    "{{ 7 * 191 }}{% include '/etc/passwd' %}",
    "javascript:document.title='run'",
    "&lt;b&gt;&#x3c;script&#x3e;",
    "$x^{\\q$ \\input{/etc/passwd}",
    "line\nbreak\r\n[link](javascript:alert(1)) | `cell`",
)
PLAIN_TAGS = {
    *("html", "head", "meta", "title", "style", "body", "header", "main", "footer", "div", "p"),
    *("h1", "h2", "table", "thead", "tbody", "tr", "th", "td", "figure", "img", "figcaption"),
    *("details", "summary"),
}
PLAIN_ATTRIBUTES = {"lang", "charset", "name", "content", "class", "scope", "id", "src", "alt"}


class Inventory(HTMLParser):
    """What a page is made of."""

    def __init__(self) -> None:
        super().__init__()
        self.tags: set[str] = set()
        self.attributes: set[str] = set()
        self.sources: set[str] = set()
        self.text = ""

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.add(tag)
        self.attributes |= {name for name, _ in attrs}
        self.sources |= {str(value)[:22] for name, value in attrs if name == "src"}

    def handle_data(self, data: str) -> None:
        self.text += data


def titled(text: str) -> Figure:
    figure = Figure(figsize=(2.0, 1.0))
    style.set_title(figure, text)
    return figure


def report(folder: Path, name: str) -> Path:
    """Write a report with a name wherever it has one."""
    metrics = {
        "returns": [-1.0, -2.0],
        "return_mean": -1.5,
        "return_ci95": [-2.0, -1.0],
        "return_iqm": -1.5,
        "return_worst": -2.0,
        "act_us": {"p50": 100.0, "p99": 200.0, "max": 300.0},
        "fallback_share": 0.5,
        "rungs": {name: 3},
        "seeds": [1, 2],
        "prediction_error": {name: [0.1, 0.2]},
        "settings": {name: name, "nested": {name: [name]}},
        "versions": {name: name},
    }
    figures = {"closed_loop": titled(name), "mine": titled(name)}
    return write_report(folder, metrics, figures, name, {name: [-3.0, -4.0]})


def page(folder: Path, name: str) -> Path:
    """Write the page of a benchmark with a name wherever it has one."""
    record = {"seed": 0, "returns": [-1.0, -2.0], "name": name, "violations": VIOLATIONS}
    cells = {
        (name, subject, "nominal"): Cell(
            (name, subject, "nominal"), (record,), {1: None}, (1, 2), name
        )
        for subject in ("koopman", name, "reference")
    }
    facts = {"settings": {"episodes": 2, "first_seed": 1}, "machine": {name: name}}
    write_page(folder, cells, tiny_plan(), facts | {"versions": {name: name}})
    return folder / "control.html"


VIOLATIONS = {"total": 0.0, "episodes": 0, "steps": 0}
PAGES: dict[str, Callable[[Path, str], Path]] = {"report": report, "page": page}


@pytest.mark.parametrize("kind", PAGES)
@pytest.mark.parametrize("name", HOSTILE)
def test_a_page_shows_names_and_is_made_of_nothing_else(
    kind: str, name: str, tmp_path: Path
) -> None:
    text = PAGES[kind](tmp_path, name).read_text("utf-8")
    found = Inventory()
    found.feed(text)
    assert found.tags <= PLAIN_TAGS
    assert found.attributes <= PLAIN_ATTRIBUTES
    assert found.sources <= {"data:image/png;base64,"}
    assert " ".join(name.split()) in " ".join(found.text.split())
    assert "1337" not in found.text


@pytest.mark.parametrize("kind", PAGES)
def test_a_browser_runs_nothing_of_a_page(kind: str, tmp_path: Path) -> None:
    browser = next(filter(None, map(shutil.which, ("chromium", "chromium-browser"))), None)
    if browser is None:
        pytest.skip("needs the program chromium")
    made = PAGES[kind](tmp_path, "".join(HOSTILE[:5]))
    trap = tmp_path / "trap.html"
    trap.write_text(f"<title>calm</title>{SCRIPT}", "utf-8")
    flags = ["--headless", "--no-sandbox", "--disable-gpu", "--virtual-time-budget=2000"]
    flags += [f"--user-data-dir={tmp_path / 'profile'}", "--dump-dom"]
    shown = [
        subprocess.run(
            [browser, *flags, path.as_uri()],
            capture_output=True,
            text=True,
            timeout=120,
            check=True,
        ).stdout
        for path in (trap, made)
    ]
    assert "<title>run</title>" in shown[0]  # the browser does run scripts
    assert "<title>run</title>" not in shown[1]
    found = Inventory()
    found.feed(shown[1])
    assert found.tags <= PLAIN_TAGS
    assert SCRIPT in found.text


@pytest.mark.parametrize("name", HOSTILE)
def test_a_markdown_table_keeps_its_cells(name: str) -> None:
    record = {"seed": 0, "returns": [-1.0, -2.0], "name": name, "violations": VIOLATIONS}
    cells = {
        (name, subject, "nominal"): Cell((name, subject, "nominal"), (record,), {}, (1, 2), name)
        for subject in ("koopman", "reference")
    }
    lines = markdown(cells).splitlines()
    assert len(lines) == 3
    plain = lines[2].replace("\\|", "")
    assert plain.count("|") == lines[0].count("|")
    assert "<" not in lines[2]
    assert "[link]" not in lines[2]


@pytest.mark.parametrize("name", ["../outside", "a/b", "", ".hidden", "C:\\x", "line\nbreak"])
def test_a_figure_is_named_like_a_file(name: str, tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="expected a plain name for a file"):
        write_report(tmp_path / "in", {}, {name: titled("x")}, "title")
    assert not list(tmp_path.rglob("*.png"))


FORMULAS = ("=1+1", "+1", "-1+cmd|' /C calc'!A0", "@SUM(A1)", "\t=1+1", " =2", "＝1")


def forecast(folder: Path, name: str) -> Any:
    """Forecast a column of a name."""
    rows = [["date", name]]
    for i in range(200):
        hour = np.datetime64("2021-01-01T00") + np.timedelta64(i, "h")
        rows.append([f"{hour}:00", str(20.0 + 5.0 * np.sin(2.0 * np.pi * i / 24.0))])
    with (folder / "data.csv").open("w", encoding="utf-8", newline="") as file:
        csv.writer(file).writerows(rows)
    call = ["forecast", str(folder / "data.csv"), f"--target={name}", "--horizon", "3"]
    call += ["--lookback", "8", "--output", str(folder / "out")]
    return CliRunner().invoke(app, call)


@pytest.mark.parametrize("name", FORMULAS[:5:2])
def test_a_spreadsheet_finds_no_formula(name: str, tmp_path: Path) -> None:
    result = forecast(tmp_path, name)
    assert result.exit_code == 0, result.output
    (folder,) = (tmp_path / "out").iterdir()
    with (folder / "forecast.csv").open(encoding="utf-8", newline="") as file:
        rows = list(csv.reader(file))
    assert rows[0][1:] == [f"'{name}", f"'{name} low", f"'{name} high"]
    assert len({len(row) for row in rows}) == 1


def test_a_terminal_is_told_what_it_would_obey(tmp_path: Path) -> None:
    name = "a\x1b]0;run\x07\x1b[2Jb\nError: none"
    result = forecast(tmp_path, name)
    assert result.exit_code == 0, result.output
    assert "\x1b" not in result.output
    assert "a\\x1b]0;run\\x07\\x1b[2Jb\\nError: none: mean squared error" in result.stdout


def test_names_in_brackets_are_no_style_of_the_table() -> None:
    name = "[/] [link=x]here[/link] [red]"
    act = {"p50": 1.0, "p99": 2.0, "max": 3.0}
    judged: Any = SimpleNamespace(
        mean=1.0, ci95=(0.0, 2.0), iqm=1.0, worst=0.0, seeds=[1, 2], act_us=act,
        fallback_share=0.5, rungs={name: 1},
    )  # fmt: skip
    metrics = {"references": {name: 1.0}, "normalised_score": None, "data_steps": 5}
    result: Any = SimpleNamespace(
        task=SimpleNamespace(env_id=name, summary=name),
        evaluation=judged,
        metrics=lambda: metrics | {"fit_seconds": 1.0, "learn_seconds": 2.0},
        prediction_error={name: [0.1]},
    )
    shown = Console(width=120, record=True, file=io.StringIO())
    shown.print(_table(result))
    assert shown.export_text().count(name) == 5  # of them two in the title


@pytest.fixture
def trap(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A module that leaves a trace when it is imported, and where that would be."""
    trace = tmp_path / "trace"
    (tmp_path / "sprung_trap.py").write_text(f"open({str(trace)!r}, 'w')\n", "utf-8")
    monkeypatch.syspath_prepend(str(tmp_path))
    return trace


def changed(data: bytes, change: Callable[[Any], None]) -> bytes:
    """Change a file's header and sign it anew."""
    members = unpacked(data)
    facts = json.loads(members["header.json"])
    change(facts)
    members["header.json"] = json.dumps(facts).encode()
    return packed(signed(members, facts))


RUN = Trajectory(
    np.cumsum(np.random.default_rng(0).normal(size=(60, 2)), axis=0),
    np.random.default_rng(1).uniform(-1.0, 1.0, (59, 1)),
)
CODE = ("sprung_trap", "sprung_trap.Trap", "sprung_trap:Trap-v0", "os.system", "FunctionFeatures")


@pytest.mark.parametrize("code", CODE)
def test_a_model_cannot_name_what_is_imported(code: str, trap: Path, tmp_path: Path) -> None:
    path = tmp_path / "model.npz"
    estimator = EDMDc(SampledFeatures(4, random_state=0), n_folds=0, regularization=1e-6)
    estimator.fit(RUN).model_.save(path)
    good = path.read_bytes()

    def name_class(facts: Any) -> None:
        facts["settings"]["features"]["class"] = code

    def name_activation(facts: Any) -> None:
        facts["settings"]["features"]["parameters"]["activation"] = code

    def name_type(facts: Any) -> None:
        next(iter(facts["arrays"].values()))["type"] = f"|O8{code}"

    def name_kind(facts: Any) -> None:
        facts["kind"] = code

    before = set(sys.modules)
    for change in (name_class, name_activation, name_type, name_kind):
        path.write_bytes(changed(good, change))
        with pytest.raises(FileFormatError):
            LiftedModel.load(path)
    assert not trap.exists()
    assert not {
        m for m in set(sys.modules) - before if not m.startswith(("koopman", "numpy", "encodings"))
    }


@pytest.mark.parametrize("code", CODE)
def test_trajectories_may_name_an_environment_that_nobody_makes(
    code: str, trap: Path, tmp_path: Path
) -> None:
    path = tmp_path / "data.npz"
    save_trajectories(path, RUN)

    def name_environment(facts: Any) -> None:
        facts["settings"]["trajectories"][0]["env_id"] = code
        facts["settings"]["made_by"] = {"task": code, "entry_point": code}

    path.write_bytes(changed(path.read_bytes(), name_environment))
    (run,) = load_trajectories(path)
    assert run.env_id == code
    EDMDc(SampledFeatures(4, random_state=0), n_folds=0, regularization=1e-6).fit([run])
    assert not trap.exists()


def test_a_pickle_is_no_file_of_ours(trap: Path, tmp_path: Path) -> None:
    class Trap:
        def __reduce__(self) -> tuple[Any, ...]:
            return __import__, ("sprung_trap",)

    path = tmp_path / "model.npz"
    np.savez(path, A=np.array([Trap()], dtype=object))
    loaders: tuple[Callable[[Any], Any], ...] = (LiftedModel.load, load_trajectories)
    for data in (path.read_bytes(), pickle.dumps(Trap())):
        path.write_bytes(data)
        for load in loaders:
            with pytest.raises(FileFormatError):
                load(path)
    assert not trap.exists()
