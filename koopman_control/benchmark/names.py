"""Names as tables and figures show them."""

OWN = "koopman"  # the subject that others are compared with


def short(task: str) -> str:
    """Return the name of a task without its namespace and version."""
    return task.rpartition("/")[2].rpartition("-v")[0]
