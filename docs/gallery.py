"""Hook of mkdocs: the gallery, made from the examples, what they printed, and the ready tasks.

`python -m docs.gallery` runs the examples again and keeps what they print in
`docs/assets/examples/`, under the digest of the script that printed it, and the figure of the
closed loop where one writes a report.
"""

from __future__ import annotations

import ast
import hashlib
import os
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

from mkdocs.config.defaults import MkDocsConfig
from mkdocs.structure.files import File, Files

from koopman_control.tasks import TASKS, Task

ROOT = Path(__file__).parents[1]
PRINTED = ROOT / "docs" / "assets" / "examples"
MOVIES = ROOT / "docs" / "assets" / "tasks"


def examples() -> list[Path]:
    """Return the example scripts, without the one that films the tasks."""
    return sorted(p for p in (ROOT / "examples").glob("*.py") if p.stem != "animations")


def digest(script: Path) -> str:
    """Return what tells a script from its other versions, whatever the line endings."""
    return hashlib.sha256(script.read_text("utf-8").encode()).hexdigest()[:16]


def printed(script: Path) -> tuple[str, str]:
    """Return the digest of the script that was run last, and what it printed."""
    kept = PRINTED / f"{script.stem}.txt"
    if not kept.exists():
        return "", ""
    first, _, rest = kept.read_text("utf-8").partition("\n")
    return first.removeprefix("script "), rest


def run(script: Path) -> None:
    """Run an example in an empty folder and keep what it prints."""
    with tempfile.TemporaryDirectory() as folder:
        places = [str(ROOT), str(ROOT / "envs"), os.environ.get("PYTHONPATH", "")]
        result = subprocess.run(
            [sys.executable, str(script)],
            cwd=folder,
            env={**os.environ, "PYTHONPATH": os.pathsep.join(places)},
            stdout=subprocess.PIPE,
            text=True,
            check=True,
        )
        PRINTED.mkdir(parents=True, exist_ok=True)
        for drawn in Path(folder).rglob("closed_loop.png"):  # of a report, if it writes one
            shutil.copy(drawn, PRINTED / f"{script.stem}.png")
    text = f"script {digest(script)}\n{result.stdout.rstrip()}\n"
    (PRINTED / f"{script.stem}.txt").write_text(text, encoding="utf-8")


def section(script: Path) -> str:
    """Write what an example is about, its figure, what it printed, and its code."""
    source = script.read_text("utf-8")
    tree = ast.parse(source)
    about = ast.get_docstring(tree) or ""
    code = source.split('"""', 2)[2].strip()
    parts = [f"### {script.stem}", about]
    if (PRINTED / f"{script.stem}.png").exists():
        parts.append(f"![What {script.stem}.py arrives at](assets/examples/{script.stem}.png)")
    if text := printed(script)[1]:
        parts.append(f'```text title="python examples/{script.name}"\n{text.rstrip()}\n```')
    lines = code.count("\n") + 1
    shown = "\n".join(f"    {line}".rstrip() for line in f"```python\n{code}\n```".splitlines())
    parts.append(f'??? example "examples/{script.name}, {lines} lines"\n{shown}')
    return "\n\n".join(parts)


def entry(name: str, task: Task) -> str:
    """Write the entry of a task: its animation, where there is one, and what is to be done."""
    movies = [name, name.split("/")[-1], name.split("/")[-1].split("-v")[0]]
    movie = next((f"{m}.gif" for m in movies if (MOVIES / f"{m}.gif").exists()), None)
    alt = f"{movies[-1]} under its learned controller"
    shown = f"![{alt}](assets/tasks/{movie}){{ loading=lazy }}" if movie else ""
    said = (
        f"**{movies[-1]}**: {task.summary}. Environment `{task.env_id}`, {task.n_steps:,} steps of "
        f"data. `koopman-control run {name}`"
    )
    return f"<div markdown>\n\n{shown}\n\n{said}\n\n</div>"


def page() -> str:
    """Write the gallery."""
    tasks = [entry(name, task) for name, task in TASKS.items()]
    return "\n\n".join(
        [
            "# Gallery",
            "## Examples",
            "Short scripts in `examples/`, to be read from top to bottom, with what they printed.",
            *map(section, examples()),
            "## Tasks",
            f"The {len(tasks)} tasks that are ready. Each learns its own controller from the steps "
            "named and is judged on seeds it has never seen; the returns are in the "
            "[benchmark](benchmarks/control.md).",
            '<div class="tasks" markdown>',
            *tasks,
            "</div>",
        ]
    )


def on_files(files: Files, config: MkDocsConfig) -> Files:
    """Add the gallery to the pages that are built."""
    files.append(File.generated(config, "gallery.md", content=page() + "\n"))
    return files


if __name__ == "__main__":
    for each in examples():
        if not sys.argv[1:] or each.stem in sys.argv[1:]:
            print(each.name, flush=True)
            run(each)
