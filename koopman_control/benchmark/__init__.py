"""The benchmark: subjects on tasks under conditions, several learning seeds each, and its page."""

from koopman_control.benchmark.conditions import CONDITIONS, Condition
from koopman_control.benchmark.no_meaning import NoMeaning
from koopman_control.benchmark.plan import Key, Plan
from koopman_control.benchmark.results import write_results
from koopman_control.benchmark.run import missing, open_runs, run_benchmark
from koopman_control.benchmark.store import RunFile
from koopman_control.benchmark.subjects import SUBJECTS, Subject, Variation
from koopman_control.benchmark.trained import Trained

__all__ = [
    "CONDITIONS",
    "SUBJECTS",
    "Condition",
    "Key",
    "NoMeaning",
    "Plan",
    "RunFile",
    "Subject",
    "Trained",
    "Variation",
    "missing",
    "open_runs",
    "run_benchmark",
    "write_results",
]
