"""Short hashes of settings, by which results of other settings are told apart."""

import hashlib
import json

from koopman_control.tasks import Task

WORDING = ("summary", "state_names")


def fingerprint(task: Task) -> str:
    """Return a short hash of a task's settings: results of other settings are no longer valid.

    Settings at their defaults do not count, so that a new kind of setting invalidates nothing; nor
    do words.
    """
    unset = type(task)("", "", Q=(), R=0.0, horizon=0, n_steps=0, first_steps=0).settings()
    settings = {
        name: value
        for name, value in task.settings().items()
        if value != unset[name] and name not in WORDING
    }
    return hashlib.sha256(json.dumps(settings, sort_keys=True).encode()).hexdigest()[:12]
