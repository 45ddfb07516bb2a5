"""What a run keeps of learning: model, trajectories and controller; and how to go on from it."""

from __future__ import annotations

from pathlib import Path

from koopman_control.autopilot.controller import Held
from koopman_control.common import FileFormatError, PathLike
from koopman_control.common.border import checked
from koopman_control.evaluation import Learned
from koopman_control.identification import LiftedModel
from koopman_control.mpc import KoopmanMPC
from koopman_control.tasks.registry import TASKS
from koopman_control.tasks.task import Task
from koopman_control.tasks.untold import Untold
from koopman_control.trajectories import save_trajectories
from koopman_control.trajectories.store import load_with_settings

MODEL, DATA, CONTROLLER = "model.npz", "trajectories.npz", "controller.npz"


@checked
def save_learned(
    task: Task | Untold, learned: Learned, learning_seed: int, folder: PathLike
) -> str:
    """Write model.npz, trajectories.npz and, if files can hold it, controller.npz into a folder.

    The controller of an autopilot that acts every few steps of the environment, as its model does,
    is written without that pace: whoever loads it calls it at its model's steps (`model.dt`).

    Returns:
        Why there is no controller.npz; empty if there is one.
    """
    learned.model.save(Path(folder) / MODEL)
    made_by = {"task": task.name, "learning_seed": learning_seed}
    if isinstance(task, Untold):
        made_by |= {"knowledge": "none", "env_id": task.env_id}
    save_trajectories(Path(folder) / DATA, learned.data, made_by)
    controller = learned.controller
    if isinstance(controller, Held):
        controller = controller.controller
    if not isinstance(controller, KoopmanMPC):
        return f"there is no {CONTROLLER}: files hold a KoopmanMPC only"
    try:
        controller.save(Path(folder) / CONTROLLER)
    except TypeError as error:  # a part of it is code
        return f"there is no {CONTROLLER}: {error}"
    return ""


@checked
def load_learned(folder: PathLike, task: Task | None = None) -> tuple[Task, KoopmanMPC]:
    """Build the controller of a saved run again.

    Args:
        folder: A folder that `koopman-control run` or `save_learned` has written.
        task: The task that was run; None: the one of `TASKS` that the folder names.

    Returns:
        The task and its controller on the saved model.

    Raises:
        FileNotFoundError: There is no saved run in the folder.
        FileFormatError: A file is damaged, or does not say what it was made by.
        ValueError: Nothing was told in that run, so no task makes its controller.
        UnknownTaskError: No task goes by the name that the folder holds.
    """
    where = Path(folder)
    for name in (MODEL, DATA):
        if not (where / name).is_file():
            raise FileNotFoundError(
                f"there is no saved run in {where}: it has no {name}; give a folder that "
                "`koopman-control run` has made"
            )
    data, made_by = load_with_settings(where / DATA)
    if not isinstance(made_by.get("task"), str):
        raise FileFormatError(
            f"{where / DATA} does not say of which task it is; give a folder of a run that has "
            "ended learning"
        )
    if task is None and made_by.get("knowledge") == "none":
        if (where / CONTROLLER).is_file():
            instead = f"load it with KoopmanMPC.load({str(where / CONTROLLER)!r})"
        else:
            instead = "run it again"
        raise ValueError(
            f"the run in {where} was told nothing, and its controller is made of more than the "
            f"model that is saved there; {instead}, or give the task to use"
        )
    chosen = TASKS[made_by["task"]] if task is None else task
    model = LiftedModel.load(where / MODEL)
    return chosen, chosen.restored(model, data, int(made_by.get("learning_seed", 0)))
