"""Why a cell of the table is empty."""


class NoMeaning(Exception):
    """A condition has no clear meaning for a task; the message is the reason."""
