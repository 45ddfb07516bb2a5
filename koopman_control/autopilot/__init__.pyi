from .autopilot import Autopilot
from .controller import PilotController, PilotStep
from .discovery import find
from .findings import Finding, Findings, InputShape, Rate, RewardLaw, Threshold
from .learning import Levers, Piloted
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
