from .autopilot import Autopilot, Piloted
from .discovery import find
from .findings import Finding, Findings, InputShape, Rate, RewardLaw, Threshold

__all__ = [
    "Autopilot",
    "Finding",
    "Findings",
    "InputShape",
    "Piloted",
    "Rate",
    "RewardLaw",
    "Threshold",
    "find",
]
