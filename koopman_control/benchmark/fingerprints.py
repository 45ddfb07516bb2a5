"""Short hashes of settings, by which results of other settings are told apart."""

import hashlib
import json
from dataclasses import MISSING, fields

from koopman_control.tasks import Task

WORDING = ("summary", "state_names")


def fingerprint(task: Task) -> str:
    """Return a short hash of a task's settings: results of other settings are no longer valid.

    Settings at their defaults do not count, so that a new kind of setting invalidates nothing; nor
    do words.
    """
    necessary = [f.name for f in fields(task) if f.default is f.default_factory is MISSING]
    unset = type(task)(**{name: getattr(task, name) for name in necessary}).settings()
    settings = {
        name: value
        for name, value in task.settings().items()
        if (name in necessary or value != unset[name]) and name not in WORDING
    }
    return hashlib.sha256(json.dumps(settings, sort_keys=True).encode()).hexdigest()[:12]
