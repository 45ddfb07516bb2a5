"""Readers under attack: a damaged file is refused in one sentence or means what it meant."""

from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from examples.campaigns.files import HARMLESS, Subject, subjects, tried
from examples.campaigns.hostile_files import forged

pytest.importorskip("pandas", reason="needs pip install pandas")
pytestmark = pytest.mark.filterwarnings("ignore")  # of fits to few data, and of forged numbers

KINDS = (
    "trajectories", "model", "model, features composed", "model, memory and input features",
    "controller", "table, fill=None", "table, fill=linear",
)  # fmt: skip


@pytest.fixture(scope="module")
def known(tmp_path_factory: pytest.TempPathFactory) -> Iterator[dict[str, Subject]]:
    yield {subject.name: subject for subject in subjects(tmp_path_factory.mktemp("files"))}


@pytest.mark.parametrize("kind", KINDS)
@settings(
    max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(seed=st.integers(0, 2**32 - 1))
def test_every_attack_is_refused_or_harmless(
    kind: str, seed: int, known: dict[str, Subject], tmp_path: Path
) -> None:
    assert tried(known[kind], seed, tmp_path) in HARMLESS


@pytest.mark.parametrize("kind", KINDS)
def test_an_undamaged_file_is_accepted_and_saved_again_the_same(
    kind: str, known: dict[str, Subject], tmp_path: Path
) -> None:
    subject = known[kind]
    (tmp_path / "file.csv").write_bytes(subject.data)
    found = subject.read(tmp_path / "file.csv")
    if subject.write is not None:
        subject.write(tmp_path / "again", found)
        assert (tmp_path / "again").read_bytes() == subject.data


@pytest.mark.parametrize("kind", KINDS[:5])
def test_files_cut_short_anywhere_are_refused(
    kind: str, known: dict[str, Subject], tmp_path: Path
) -> None:
    subject = known[kind]
    for length in range(0, len(subject.data), max(97, len(subject.data) // 300)):
        (tmp_path / "file.csv").write_bytes(subject.data[:length])
        with pytest.raises(ValueError, match="or it is damaged: make it again"):
            subject.read(tmp_path / "file.csv")


def test_forgeries_get_past_the_checksum(known: dict[str, Subject], tmp_path: Path) -> None:
    told = []
    for seed in range(120):
        (tmp_path / "file.csv").write_bytes(
            forged(known["model"].data, np.random.default_rng(seed))
        )
        try:
            known["model"].read(tmp_path / "file.csv")
        except ValueError as error:
            told.append(str(error))
    assert sum("whole lifted model" in text for text in told) >= 5
    assert not any("checksum" in text for text in told)
