"""What is legitimate for an argument, by labels of `bad_values`; "*" for all of them.

A line in `accepted` is NAME ARGUMENT: LABELS. Its other names of arguments are the words by which a
message may name one as well: what it disagrees with, or what it is part of.
"""

from tests.border.accepted import (
    autopilot,
    benchmark,
    common,
    control,
    data,
    deploy,
    deploying,
    environments,
    features,
    forecasting,
    judging,
    models,
    tasks,
    tuning,
)

Entries = dict[tuple[str, str], set[str]]

_SUBJECTS = [
    *(autopilot, benchmark, common, control, data, deploy, deploying, environments),
    *(features, forecasting, judging, models, tasks, tuning),
]


def _read(lines: str) -> Entries:
    entries: Entries = {}
    for line in filter(None, lines.splitlines()):
        argument, _, words = line.partition(": ")
        name, _, argument = argument.rpartition(" ")
        entries[name, argument] = set(words.split())
    return entries


ALLOWED: Entries = {}
OTHER_NAMES: Entries = {}
for _subject in _SUBJECTS:
    ALLOWED |= _read(_subject.LINES)
    OTHER_NAMES |= _read(getattr(_subject, "OTHER_NAMES", ""))
