from .baselines import Trained
from .conditions import CONDITIONS, Condition
from .page import write_results
from .plan import Key, Plan
from .run import RunFile, missing, open_runs, run_benchmark
from .subjects import SUBJECTS, Subject, Variation
from .suites import SUITES, Suite, beside_published
from .variants import NotApplicableError

__all__ = [
    "CONDITIONS",
    "SUBJECTS",
    "SUITES",
    "Condition",
    "Key",
    "NotApplicableError",
    "Plan",
    "RunFile",
    "Subject",
    "Suite",
    "Trained",
    "Variation",
    "beside_published",
    "missing",
    "open_runs",
    "run_benchmark",
    "write_results",
]
