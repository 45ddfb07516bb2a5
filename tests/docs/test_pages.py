"""The pages of the documentation: their code runs, their links are links, their sources current."""

import os
import re
import subprocess
import sys
from pathlib import Path
from urllib.parse import urlsplit

import pytest

from docs import pages

ROOT = Path(__file__).parents[2]
DOCS = ROOT / "docs"
LINK = re.compile(r"\[[^\]]*\]\(([^)\s]+)[^)]*\)")
TEXTS = [*sorted(DOCS.rglob("*.md")), *sorted(ROOT.glob("*.md"))]


@pytest.mark.parametrize("page", pages.pages(), ids=lambda page: page.stem)
def test_the_code_of_a_page_runs_and_prints_what_is_shown(page: Path, tmp_path: Path) -> None:
    if "register" not in page.read_text("utf-8"):
        pages.run(page, tmp_path)
        return
    # What a page registers must not be there for other tests.
    code = "import sys; from pathlib import Path; from docs import pages; "
    code += "pages.run(Path(sys.argv[1]), Path(sys.argv[2]))"
    command = [sys.executable, "-W", "error", "-c", code, str(page), str(tmp_path)]
    places = os.pathsep.join([str(ROOT), str(ROOT / "envs")])
    done = subprocess.run(
        command, env={**os.environ, "PYTHONPATH": places}, capture_output=True, text=True
    )
    assert not done.returncode, done.stderr


def test_every_tutorial_and_every_how_to_holds_code() -> None:
    with_code = {page.relative_to(DOCS) for page in pages.pages()}
    for folder in ("tutorials", "how-to"):
        assert {page.relative_to(DOCS) for page in (DOCS / folder).glob("*.md")} <= with_code


@pytest.mark.parametrize(
    ("printed", "shown", "same"),
    [
        ("cost 10.1", "cost 10.3", True),
        ("cost 10.1", "cost 15", False),
        ("cost 1e-9", "cost 2e-3", False),
        ("12 steps", "11 steps", False),
        ("3.", "3.", True),
        ("mean cost 10", "worst cost 10", False),
        ("a 1 2", "a 1", False),
    ],
)
def test_words_and_whole_numbers_agree_and_others_nearly(
    printed: str, shown: str, same: bool
) -> None:
    assert pages.alike(printed, shown) is same


def test_a_page_that_prints_something_else_fails(tmp_path: Path) -> None:
    page = tmp_path / "page.md"
    page.write_text("```python\nprint(2 + 2)\n```\n\n```text\n5\n```\n", "utf-8")
    with pytest.raises(AssertionError, match=r"page.md, line 1, prints\n4\n\nand shows\n5"):
        pages.run(page, tmp_path)


@pytest.mark.parametrize("text", TEXTS, ids=lambda text: text.name)
def test_links_to_elsewhere_are_whole_and_links_within_exist(text: Path) -> None:
    for target in LINK.findall(text.read_text("utf-8")):
        parts = urlsplit(target)
        if parts.scheme:
            assert parts.scheme == "https", target
            assert re.fullmatch(r"[a-z0-9-]+(\.[a-z0-9-]+)+", parts.netloc), target
        elif text.parent == ROOT and parts.path:  # those within docs/ are mkdocs' to check
            assert (ROOT / parts.path).exists(), target


def test_the_readme_is_short() -> None:
    assert len((ROOT / "README.md").read_text("utf-8").splitlines()) <= 120


def test_pictures_are_small() -> None:
    for picture in (DOCS / "assets").rglob("*.png"):
        assert picture.stat().st_size <= 300_000, picture.name
    for movie in (DOCS / "assets").rglob("*.gif"):
        assert movie.stat().st_size <= 1_000_000, movie.name
