"""Tasks that Python files hold."""

from __future__ import annotations

import sys
from importlib.util import module_from_spec, spec_from_file_location
from pathlib import Path

import cloudpickle

from koopman_control.common import PathLike
from koopman_control.common.border import checked
from koopman_control.tasks.task import Task


@checked
def task_in_file(path: PathLike) -> Task:
    """Import a Python file and return the task that it holds.

    Raises:
        FileNotFoundError: There is no such file.
        ValueError: It cannot be imported, or holds no task, or several.
    """
    file = Path(path)
    if not file.is_file():
        raise FileNotFoundError(f"there is no file {file}")
    spec = spec_from_file_location(file.stem, file)
    if spec is None or spec.loader is None:
        raise ValueError(f"{file} is no Python file")
    module = module_from_spec(spec)
    sys.modules[file.stem] = module
    try:
        spec.loader.exec_module(module)
    except Exception as error:
        raise ValueError(f"{file} cannot be imported: {type(error).__name__}: {error}") from error
    cloudpickle.register_pickle_by_value(module)  # other processes cannot import it by its name
    found = [value for value in vars(module).values() if isinstance(value, Task)]
    if len(found) != 1:
        raise ValueError(f"{file} holds {len(found)} tasks; expected one Task in it")
    return found[0]
