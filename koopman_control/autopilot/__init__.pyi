from .autopilot import Autopilot, Piloted

__all__ = ["Autopilot", "Piloted"]
