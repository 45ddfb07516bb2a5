"""The command line: one file for each command."""

from koopman_control.cli.run import app

__all__ = ["app"]
