"""What a subject hands over to be judged."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

from koopman_control.common.border import CheckedFields, at_least
from koopman_control.common.protocols import Controller


@dataclass(frozen=True)
class Trained(CheckedFields):
    """A controller and what it took to get it.

    Args:
        controller: To be judged.
        data_steps: Environment steps that were used.
        seconds: Duration of learning; at equal data, of what follows on collecting them.
        rounds: Plain facts about each round of learning, if there were any.
    """

    controller: Controller
    data_steps: int = 0
    seconds: float = 0.0
    rounds: list[dict[str, Any]] = field(default_factory=list)

    def __post_init__(self) -> None:
        """Refuse steps or seconds below zero, too."""
        super().__post_init__()
        at_least("data_steps", self.data_steps, 0)
        at_least("seconds", self.seconds, 0)
