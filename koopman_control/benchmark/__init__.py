"""The benchmark: subjects on tasks under conditions, several learning seeds each, and its page."""

from koopman_control.benchmark.baselines import Trained
from koopman_control.benchmark.conditions import CONDITIONS, Condition
from koopman_control.benchmark.page import write_results
from koopman_control.benchmark.plan import Key, Plan
from koopman_control.benchmark.run import RunFile, missing, open_runs, run_benchmark
from koopman_control.benchmark.subjects import SUBJECTS, Subject, Variation
from koopman_control.benchmark.variants import NotApplicableError

__all__ = [
    "CONDITIONS",
    "SUBJECTS",
    "Condition",
    "Key",
    "NotApplicableError",
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
