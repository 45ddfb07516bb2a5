"""The tasks there are, by name: the ready ones, those of other packages, and those added here.

The ready ones stand here with what `koopman-control tasks` tells of them, so that listing them
imports none. Another package adds its tasks by entry points, in its pyproject.toml:

    [project.entry-points."koopman_control.tasks"]
    Crane = "my_package.crane:CRANE"
"""

from __future__ import annotations

import warnings
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from importlib import import_module
from importlib.metadata import entry_points
from typing import TYPE_CHECKING

from koopman_control.common.border import checked, did_you_mean

if TYPE_CHECKING:
    from koopman_control.tasks.task import Task

ENTRY_POINTS = "koopman_control.tasks"  # the group that other packages add tasks to
OURS = "koopman-control"


class UnknownTaskError(KeyError, ValueError):
    """No task, or more than one, goes by a name; the message says which there are."""

    def __str__(self) -> str:
        """Return the sentence as it is, where a KeyError would quote it."""
        return str(self.args[0])


@dataclass(frozen=True)
class Entry:
    """Where a task is found.

    Args:
        name: Name of the task.
        target: Its module and its name there, "module:NAME".
        package: The distribution that it comes with.
        env_id: Gymnasium id of its environment; None: not known before it is loaded.
        n_steps: Its budget of environment steps, likewise.
        summary: What is to be done, likewise.
    """

    name: str
    target: str
    package: str
    env_id: str | None = None
    n_steps: int | None = None
    summary: str | None = None


# File, name, Gymnasium id, budget of environment steps; summary: as the task itself says, which a
# test sees to. In alphabetical order.
_READY = """
bilinear_motor BilinearMotor koopman_envs/BilinearMotor-v0 600
    bring a loaded motor to a speed by its field current, within a speed limit
cart_pole_swing_up CartPoleSwingUp koopman_envs/CartPoleSwingUp-v0 1000
    swing a pole up on a cart and hold it
cstr CSTR koopman_envs/CSTR-v0 1000
    hold an exothermic reactor at an unstable temperature, below 370 K
duffing Duffing koopman_envs/Duffing-v0 600
    bring a mass to any place of a double well, its ridge included
inverted_double_pendulum InvertedDoublePendulum InvertedDoublePendulum-v5 1500
    balance two linked poles on a cart
inverted_pendulum InvertedPendulum InvertedPendulum-v5 100
    balance a pole on a cart
korteweg_de_vries KortewegDeVries koopman_envs/KortewegDeVries-v0 2000
    calm waves on a ring, with the linear roll-out
lorenz Lorenz koopman_envs/Lorenz-v0 600
    calm chaos down at one of its two unstable fixed points
lunar_lander LunarLanderContinuous LunarLanderContinuous-v3 1000
    set a lander down on its pad with little fuel
mountain_car MountainCarContinuous MountainCarContinuous-v0 500
    rock a car with a weak engine up a hill, with little effort
pendulum Pendulum Pendulum-v1 600
    swing a torque-limited pendulum up and hold it
planar_quadrotor PlanarQuadrotor koopman_envs/PlanarQuadrotor-v0 1000
    fly a planar quadrotor to waypoints inside a box
quadruple_tank QuadrupleTank koopman_envs/QuadrupleTank-v0 600
    bring two tanks to their levels by two pumps that act crosswise
reacher Reacher Reacher-v5 800
    bring the tip of a two-link arm to a point
swimmer Swimmer Swimmer-v5 10000
    swim forward by a wave through two joints
two_link_arm TwoLinkArm koopman_envs/TwoLinkArm-v0 1000
    reach goals with the hand of a two-link arm
van_der_pol VanDerPol koopman_envs/VanDerPol-v0 2000
    drive a forced Van der Pol oscillator to set-points, with the linear roll-out
"""


def _ready() -> Iterator[Entry]:
    """Read the table above; a task's name in its file is that of the file in capitals."""
    lines = _READY.strip().splitlines()
    for facts, summary in zip(lines[::2], lines[1::2], strict=True):
        file, name, env_id, n_steps = facts.split()
        target = f"koopman_control.tasks.{file}:{file.upper()}"
        yield Entry(name, target, OURS, env_id, int(n_steps), summary.strip())


class TaskRegistry(Mapping[str, "Task"]):
    """Tasks by name; the id of an environment that has a single task finds that task, too.

    Args:
        entries: Tasks to begin with.
        group: Entry points that add to them.
    """

    def __init__(self, entries: Iterable[Entry], group: str = ENTRY_POINTS) -> None:
        self._known = {entry.name: entry for entry in entries}
        self._tasks: dict[str, Task] = {}
        self._group: str | None = group

    def __getitem__(self, name: str) -> Task:
        """Return the task of a name, or the only one of an environment.

        Raises:
            UnknownTaskError: There is none, or the environment has several.
            ImportError: It is another package's and cannot be loaded.
        """
        entries = self._entries()
        if name in entries:
            return self._task(entries[name])
        env_ids = {entry.name: entry.env_id for entry in self.listed() if entry.env_id is not None}
        found = [task for task, env_id in env_ids.items() if env_id == name]
        if len(found) == 1:
            return self._task(entries[found[0]])
        if found:
            raise UnknownTaskError(
                f"{name} has {len(found)} tasks: {', '.join(found)}; give the name of one"
            )
        hint = did_you_mean(name, [*entries, *env_ids.values()]) if isinstance(name, str) else ""
        raise UnknownTaskError(f"there is no task {name!r}; there are {', '.join(entries)}.{hint}")

    def __iter__(self) -> Iterator[str]:
        """Go through the names."""
        return iter(self._entries())

    def __len__(self) -> int:
        """Return the number of tasks."""
        return len(self._entries())

    def register(self, task: Task) -> Task:
        """Add a task; see `register_task`."""
        if (entry := self._entries().get(task.name)) is not None:
            raise ValueError(
                f"task is named {task.name!r}, and so is one of {entry.package}; give it another "
                f"name: Task({task.env_id!r}, ..., name={task.name + '2'!r})"
            )
        self._known[task.name] = self._described(task, "this program")
        self._tasks[task.name] = task
        return task

    def listed(self) -> list[Entry]:
        """Describe all tasks; those of other packages are loaded for it, the ready ones are not.

        A task that cannot be loaded has the reason as its summary.
        """
        found = []
        for entry in self._entries().values():
            if entry.env_id is None:
                try:
                    entry = self._described(self._task(entry), entry.package)
                except ImportError as error:
                    entry = Entry(entry.name, entry.target, entry.package, summary=str(error))
            found.append(entry)
        return found

    @staticmethod
    def _described(task: Task, package: str) -> Entry:
        return Entry(task.name, "", package, task.env_id, task.n_steps, task.summary)

    def _entries(self) -> dict[str, Entry]:
        """Return all entries; the first call looks for those of other packages."""
        group, self._group = self._group, None
        for point in () if group is None else entry_points(group=group):
            package = "another package" if point.dist is None else point.dist.name
            other = self._known.setdefault(point.name, Entry(point.name, point.value, package))
            if (other.target, other.package) != (point.value, package):
                warnings.warn(
                    f"the task {point.name!r} of {package} is left out, as {other.package} has one "
                    "of this name; rename its entry point",
                    stacklevel=3,
                )
        return self._known

    def _task(self, entry: Entry) -> Task:
        if entry.name not in self._tasks:
            from koopman_control.tasks.task import Task

            module, _, attribute = entry.target.partition(":")
            try:
                task = getattr(import_module(module), attribute)
            except (ImportError, AttributeError) as error:
                raise ImportError(
                    f"the task {entry.name} of {entry.package} cannot be loaded from "
                    f"{entry.target}: {error}"
                ) from error
            if not isinstance(task, Task) or task.name != entry.name:
                what = f"the task {task.name}" if isinstance(task, Task) else repr(task)
                raise ImportError(
                    f"{entry.target} of {entry.package} is {what}; expected a Task named "
                    f"{entry.name}, as its entry point is"
                )
            self._tasks[entry.name] = task
        return self._tasks[entry.name]


TASKS = TaskRegistry(_ready())


@checked
def register_task(task: Task) -> Task:
    """Add a task to `TASKS`, for this process.

    Args:
        task: The task; its name must be new, its environment need not be.

    Returns:
        The task.

    Raises:
        ValueError: There is a task of this name.

    Example:
        >>> from dataclasses import replace
        >>> gentle = replace(TASKS["Pendulum"], name="GentlePendulum", R=0.1)
        >>> register_task(gentle).name
        'GentlePendulum'
    """
    return TASKS.register(task)
