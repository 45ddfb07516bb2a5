"""The oldest versions that the tests are run with are those that pyproject.toml allows."""

import tomllib
from pathlib import Path

ROOT = Path(__file__).parents[1]


def test_the_oldest_versions_tested_are_the_lower_bounds_of_the_required_packages() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    bounds = [bound.replace(">=", "==") for bound in project["dependencies"]]
    lines = (ROOT / "tests" / "oldest.txt").read_text(encoding="utf-8").splitlines()
    assert [line for line in lines if not line.startswith("#")] == bounds
