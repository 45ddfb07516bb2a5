"""Short hashes of settings, by which results of other settings are told apart."""

import hashlib
import json

from koopman_control.tasks import Task


def fingerprint(task: Task) -> str:
    """Return a short hash of a task's settings: results of other settings are no longer valid."""
    text = json.dumps(task.settings(), sort_keys=True)
    return hashlib.sha256(text.encode()).hexdigest()[:12]
