from .autopilot import Autopilot, Levers, Piloted
from .controller import PilotController, PilotStep
from .discovery import find
from .findings import Finding, Findings, InputShape, Rate, RewardLaw, Threshold
from .reward import EndModel, RewardModel

__all__ = [
    "Autopilot",
    "EndModel",
    "Finding",
    "Findings",
    "InputShape",
    "Levers",
    "PilotController",
    "PilotStep",
    "Piloted",
    "Rate",
    "RewardLaw",
    "RewardModel",
    "Threshold",
    "find",
]
