from .baselines import Trained
from .conditions import CONDITIONS, Condition
from .page import write_results
from .plan import Key, Plan
from .run import RunFile, missing, open_runs, run_benchmark
from .subjects import SUBJECTS, Subject, Variation
from .variants import NotApplicableError

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
