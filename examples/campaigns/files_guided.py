"""The same readers under atheris, which looks for inputs that reach new code.

    pip install atheris
    python -m examples.campaigns.files_guided -max_total_time=300

Each input is the content of a file and which kind it claims to be; the options are libFuzzer's.
A reader may return, or raise a ValueError with a sentence; anything else stops the run, and the
input is kept in a file named crash-….
"""

from __future__ import annotations

import sys
import tempfile
import warnings
from pathlib import Path

import atheris

with atheris.instrument_imports(include=["koopman_control", "zipfile", "json"]):
    from examples.campaigns.files import Subject, subjects


def check(subject: Subject, content: bytes, path: Path) -> None:
    path.write_bytes(content)
    try:
        subject.read(path)
    except ValueError as error:
        assert str(error) and "\n" not in str(error), "no sentence"


def main() -> None:
    warnings.simplefilter("ignore")
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        known = list(subjects(folder))
        corpus = folder / "corpus"
        corpus.mkdir()
        for i, subject in enumerate(known):
            (corpus / str(i)).write_bytes(bytes([i]) + subject.data)

        def one_input(data: bytes) -> None:
            if data:
                check(known[data[0] % len(known)], data[1:], folder / "file.csv")

        atheris.Setup([*sys.argv, str(corpus)], one_input)
        atheris.Fuzz()


if __name__ == "__main__":
    main()
