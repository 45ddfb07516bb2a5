from .page import write_tuned
from .settings import Range, settings_of, tuned
from .study import Judgement, Tried, Tuned, Tuning, tune

__all__ = [
    "Judgement",
    "Range",
    "Tried",
    "Tuned",
    "Tuning",
    "settings_of",
    "tune",
    "tuned",
    "write_tuned",
]
