from .page import write_tuned
from .settings import Range, settings_of, tuned
from .study import Judgement, Search, Trial, Tuned, tune

__all__ = [
    "Judgement",
    "Range",
    "Search",
    "Trial",
    "Tuned",
    "settings_of",
    "tune",
    "tuned",
    "write_tuned",
]
