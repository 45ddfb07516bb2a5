"""An environment of which nothing is told but its id; the autopilot finds out the rest."""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import closing
from dataclasses import dataclass
from types import MappingProxyType
from typing import Any, ClassVar

from koopman_control.autopilot import Autopilot, Piloted
from koopman_control.common import PathLike, positive_int
from koopman_control.common.border import CheckedFields, checked
from koopman_control.identification import Coupling, Rollout
from koopman_control.tasks.task import OnStep, short_name
from koopman_control.trajectories import adapted
from koopman_control.trajectories.environments import Environment, imported, open_environment

BUDGET = 5000  # environment steps
LONGEST = 1000  # steps of an episode, where the environment sets no limit


@dataclass(frozen=True)
class Untold(CheckedFields):
    """What takes a task's place in a run where there is none, or where it is not to be used.

    Args:
        env_id: Gymnasium id of the environment.
        n_steps: Budget of environment steps for learning.
        max_episode_steps: Where to cut episodes; None: where the environment does, and after 1,000
            steps if its id tells no limit.
        module: Module to import before, which registers the id; None: none.
        name: What it goes by; default the id without namespace and version.

    Example:
        >>> Untold("Pendulum-v1", n_steps=1500).name
        'Pendulum'
    """

    env_id: str
    n_steps: int = BUDGET
    max_episode_steps: int | None = None
    module: str | None = None
    name: str = ""

    summary: ClassVar[str] = "nothing told, the autopilot found out what is to be done"
    rollout: ClassVar[Rollout] = "relifted"
    coupling: ClassVar[Coupling] = "bilinear"
    horizon: ClassVar[int] = 50
    state_names: ClassVar[None] = None
    env_arguments: ClassVar[Mapping[str, Any]] = MappingProxyType({})
    wrap: ClassVar[None] = None

    def __post_init__(self) -> None:
        """Check the ranges of numbers, too, and find a name."""
        super().__post_init__()
        positive_int("n_steps", self.n_steps)
        if self.max_episode_steps is not None:
            positive_int("max_episode_steps", self.max_episode_steps)
        if not self.name:
            object.__setattr__(self, "name", short_name(self.env_id))

    def settings(self) -> dict[str, Any]:
        """Describe what was given as plain data."""
        return {
            "env_id": self.env_id,
            "knowledge": "none",
            "n_steps": self.n_steps,
            "max_episode_steps": self.max_episode_steps,
            "module": self.module,
        }

    def environment(self, **arguments: Any) -> Environment:
        """Make the environment, adapted to continuous control, to be closed by the caller.

        Args:
            **arguments: For `gymnasium.make`, such as a `render_mode`.

        Raises:
            TypeError: Its observations are pictures, or its actions discrete.
            ValueError: There is no such environment.
            ImportError: Its module, or something that needs, is not installed.
        """
        if self.module is not None:
            imported(self.module)
        made = open_environment(self.env_id, arguments)
        limit = self.max_episode_steps
        if limit is None and (made.spec is None or made.spec.max_episode_steps is None):
            limit = LONGEST
        try:
            return adapted(made, limit)
        except Exception:
            made.close()
            raise

    @checked
    def learn(
        self, seed: int = 0, on_step: OnStep | None = None, checkpoint: PathLike | None = None
    ) -> Piloted:
        """Let the autopilot learn with this budget; see `koopman_control.autopilot.Autopilot`."""
        with closing(self.environment()) as env:
            return Autopilot(self.n_steps, seed).learn(env, on_step, checkpoint)
