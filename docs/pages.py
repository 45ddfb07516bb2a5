"""Run the code of a page of this documentation, and compare what it prints with what is shown.

The Python blocks of a page run from top to bottom in one namespace. A block of text right after one
shows what it prints: words and whole numbers have to agree, others to within a quarter, since
machines differ in the last digits.

`python -m docs.pages` runs all pages and keeps the pictures that they save.
"""

from __future__ import annotations

import re
import shutil
import sys
import tempfile
from collections.abc import Iterator
from contextlib import chdir, redirect_stdout
from dataclasses import dataclass
from io import StringIO
from pathlib import Path
from typing import Any

DOCS = Path(__file__).parent
PICTURES = DOCS / "assets" / "pages"
FENCE = re.compile(r"^```(python|text)[^\n]*\n(.*?)^```$", re.MULTILINE | re.DOTALL)
FRACTION = re.compile(r"[-+]?\d+(?:\.\d+(?:e[-+]?\d+)?|e[-+]?\d+)")
TOLERANCE = 0.25  # relative


@dataclass(frozen=True)
class Block:
    """Code of a page, the line it begins in, and what it is said to print, if anything."""

    line: int
    code: str
    shown: str | None


def pages() -> list[Path]:
    """Return the pages that hold code."""
    return [path for path in sorted(DOCS.rglob("*.md")) if any(blocks(path))]


def blocks(path: Path) -> Iterator[Block]:
    """Yield the blocks of Python of a page."""
    text = path.read_text("utf-8")
    found = list(FENCE.finditer(text))
    for i, match in enumerate(found):
        if match[1] != "python":
            continue
        shown = None
        for after in found[i + 1 : i + 2]:
            if after[1] == "text" and not text[match.end() : after.start()].strip():
                shown = after[2]
        yield Block(text[: match.start()].count("\n") + 1, match[2], shown)


def run(path: Path, folder: Path) -> dict[str, Any]:
    """Run a page's code in a folder.

    Returns:
        The namespace it leaves.

    Raises:
        AssertionError: If something else is printed than the page shows.
    """
    names: dict[str, Any] = {"__name__": "page"}
    with chdir(folder):
        for block in blocks(path):
            out = StringIO()
            # Tracebacks then show the line of the page.
            code = compile("\n" * block.line + block.code, str(path), "exec", dont_inherit=True)
            with redirect_stdout(out):
                exec(code, names)
            if block.shown is not None and not alike(out.getvalue(), block.shown):
                raise AssertionError(
                    f"{path.name}, line {block.line}, prints\n{out.getvalue()}\nand shows\n"
                    f"{block.shown}"
                )
    return names


def alike(printed: str, shown: str) -> bool:
    """Tell whether two texts have the same words and whole numbers, and others nearly so."""
    words = [FRACTION.sub("#", text).split() for text in (printed, shown)]
    if words[0] != words[1]:
        return False
    numbers = ([float(n) for n in FRACTION.findall(text)] for text in (printed, shown))
    near = (abs(a - b) <= TOLERANCE * max(abs(a), abs(b)) for a, b in zip(*numbers, strict=True))
    return all(near)


if __name__ == "__main__":
    PICTURES.mkdir(parents=True, exist_ok=True)
    for page in pages():
        if sys.argv[1:] and page.stem not in sys.argv[1:]:
            continue
        print(page.relative_to(DOCS), flush=True)
        with tempfile.TemporaryDirectory() as name:
            run(page, Path(name))
            for drawn in Path(name).glob("*.png"):
                shutil.copy(drawn, PICTURES / drawn.name)
