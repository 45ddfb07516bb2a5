"""What a caller gets wrong is said in a sentence: which argument, what it is, what was expected."""

import importlib
import inspect
import pkgutil
import re
import traceback
import warnings
from pathlib import Path

import pytest

import koopman_control
from tests.border import data_rows, judging_rows, model_rows, mpc_rows
from tests.border.allowed import ALIASES, ALLOWED
from tests.border.bad_values import bad_values
from tests.border.not_called import NOT_CALLED
from tests.border.row import Row

TABLE = [*data_rows.ROWS, *model_rows.ROWS, *mpc_rows.ROWS, *judging_rows.ROWS]
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
        message, place = str(error), Path(traceback.extract_tb(error.__traceback__)[-1].filename)
        names = argument, ALIASES.get((row.name, argument), argument)
        named = any(re.search(rf"\b{name}\b", message) for name in names)
        ours = {"koopman_control", "koopman_envs"} & set(place.parts[:-1])
        kind = isinstance(error, TypeError | ValueError | OSError)
        clear = kind and named and ours and len(message) < LONGEST
        return "" if clear else f"{type(error).__name__} in {place.name}: {message[:200]}"
    allowed = ALLOWED.get((row.name, argument), set())
    return "" if allowed & {label, "*"} else "accepted"


def test_every_public_callable_is_in_the_table() -> None:
    rooms = [m.name for m in pkgutil.iter_modules(koopman_control.__path__) if m.ispkg]
    modules = ["koopman_control", "koopman_envs", *(f"koopman_control.{room}" for room in rooms)]
    public = {
        name
        for module in map(importlib.import_module, modules)
        for name in module.__all__
        if inspect.isclass(getattr(module, name)) or inspect.isfunction(getattr(module, name))
    }
    called = {row.name.partition(".")[0] for row in TABLE}
    assert public - called - NOT_CALLED == set()
    assert NOT_CALLED - public == set(), "no longer public"


def test_nothing_is_allowed_that_no_row_asks_for(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)  # good arguments may be files
    known = {(row.name, argument) for row in TABLE for argument in row.good()}
    assert set(ALLOWED) - known == set()
    assert set(ALIASES) - known == set()
