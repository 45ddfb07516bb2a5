from .autopilot import Autopilot, Levers, Piloted
from .controller import PilotController, PilotStep
from .modelling import Structure
from .reward import EndModel, RewardModel

__all__ = [
    "Autopilot",
    "EndModel",
    "Levers",
    "PilotController",
    "PilotStep",
    "Piloted",
    "RewardModel",
    "Structure",
]
