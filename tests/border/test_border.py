"""What a caller gets wrong is said in a sentence: which argument, what it is, what was expected."""

import re
import traceback
import warnings
from pathlib import Path

import pytest

from tests.border.allowed import ALLOWED, OTHER_NAMES
from tests.border.bad_values import bad_values
from tests.border.not_called import NOT_CALLED, NOT_CALLED_METHODS
from tests.border.public import OURS, arguments, itself, public_callables, public_names
from tests.border.rows import (
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
from tests.border.rows.row import Row

TABLE = [
    *(*data.ROWS, *features.ROWS, *models.ROWS, *control.ROWS, *judging.ROWS),
    *(*deploy.ROWS, *deploying.ROWS, *forecasting.ROWS, *tasks.ROWS, *benchmark.ROWS),
    *(*autopilot.ROWS, *environments.ROWS, *common.ROWS, *tuning.ROWS),
]
LONGEST = 800  # characters; scikit-learn's own message about NaN takes 600


@pytest.mark.parametrize("row", TABLE, ids=[row.name for row in TABLE])
def test_bad_arguments_are_refused_in_words(
    row: Row, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    warnings.simplefilter("ignore")
    row.call(**row.good())
    unclear = [
        f"{argument} = {label}: {complaint}"
        for argument, good in row.good().items()
        for label, bad in bad_values(good)
        if (complaint := what_is_unclear(row, argument, label, bad))
    ]
    assert not unclear, "\n".join(unclear)


def what_is_unclear(row: Row, argument: str, label: str, bad: object) -> str:
    """Say what is wrong with how one bad value is received, nothing if all is well."""
    try:
        row.call(**(row.good() | {argument: bad}))
    except Exception as error:
        message = str(error)
        names = {argument} | OTHER_NAMES.get((row.name, argument), set())
        named = any(re.search(rf"\b{name}\b", message) for name in names)
        kind = isinstance(error, TypeError | ValueError | OSError | ImportError | KeyError)
        clear = kind and named and said_by_us(error) and len(message) < LONGEST
        return "" if clear else f"{type(error).__name__}: {message[:200]}"
    allowed = ALLOWED.get((row.name, argument), set())
    return "" if allowed & {label, "*"} else "accepted"


def said_by_us(error: BaseException | None) -> bool:
    """Whether we raised it; Gymnasium repeats what an environment raises while it is made."""
    while error is not None:
        place = Path(traceback.extract_tb(error.__traceback__)[-1].filename)
        if set(OURS) & set(place.parts[:-1]):
            return True
        error = error.__cause__
    return False


def test_every_public_callable_is_in_the_table() -> None:
    called = public_callables()
    names = {itself(thing): name for name, thing in called.items()}
    in_table = {names.get(itself(thing)) for row in TABLE for thing in row.meant(public_names())}
    by_method = {name for name in called if name.rpartition(".")[2] in NOT_CALLED_METHODS}
    assert set(called) - in_table - NOT_CALLED - by_method == set()
    assert NOT_CALLED - set(called) == set(), "no longer public"
    assert (NOT_CALLED | by_method) & in_table == set(), "called after all"


def test_every_argument_of_a_public_callable_is_in_the_table(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)  # good arguments may be files
    public = public_names()
    tried: dict[str, set[str]] = {}
    taken: dict[str, set[str]] = {}
    for row in TABLE:
        for thing in row.meant(public):
            tried.setdefault(row.name, set()).update(row.good())
            taken[row.name] = arguments(thing)
    left = {name: names - tried[name] for name, names in taken.items() if names - tried[name]}
    assert not left


def test_nothing_is_allowed_that_no_row_asks_for(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)  # good arguments may be files
    known = {(row.name, argument) for row in TABLE for argument in row.good()}
    assert set(ALLOWED) - known == set()
    assert set(OTHER_NAMES) - known == set()
