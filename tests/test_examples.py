"""The code of README and tutorials is the code that is tested."""

from pathlib import Path

ROOT = Path(__file__).parents[1]


def test_the_readme_shows_the_pendulum_example() -> None:
    code = (ROOT / "examples" / "pendulum.py").read_text("utf-8").split('"""\n\n', 1)[1]
    assert code in (ROOT / "README.md").read_text("utf-8")
    assert len(code.strip().splitlines()) <= 12


def test_the_tutorial_shows_the_tested_task() -> None:
    page = (ROOT / "docs" / "tutorials" / "own-environment.md").read_text("utf-8")
    tested = (ROOT / "tests" / "tasks" / "test_tasks.py").read_text("utf-8")
    start = page.index('task = Task(\n    env_id="MountainCar')
    shown = page[start : page.index("\n)\n", start)]
    for line in shown.splitlines():
        assert line.strip() in tested
