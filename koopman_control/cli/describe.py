"""The command `describe`: what an environment is, from a few steps, each finding with evidence."""

from __future__ import annotations

from typing import Annotated

import typer

from koopman_control.cli.errors import one_sentence
from koopman_control.cli.untold import (
    LongestEpisode,
    Module,
    WrittenTask,
    collecting,
    require_new_task,
    untold,
)


def describe(
    env_id: Annotated[
        str, typer.Argument(help="A Gymnasium id, such as HalfCheetah-v5 or module:Env-v0.")
    ],
    steps: Annotated[
        int, typer.Option(min=100, help="Environment steps to look at, under random inputs.")
    ] = 1000,
    module: Module = None,
    max_episode_steps: LongestEpisode = None,
    seed: Annotated[int, typer.Option(help="Seed of resets and inputs.")] = 0,
    write_task: WrittenTask = None,
    json: Annotated[
        bool, typer.Option("--json", help="Print the findings as JSON and nothing else.")
    ] = False,
    debug: Annotated[bool, typer.Option(help="Show the traceback of an error.")] = False,
) -> None:
    """Find out what an environment is, and say how sure each finding is.

    Acts at random for some steps and looks at what happened: which columns are angles, which stay
    constant within an episode (goals), which make no difference, which are speeds of which; limits,
    contacts, dead zones and delays of inputs, noise, whether the past matters; what the reward
    rewards, and where episodes end. Each finding comes with the numbers that speak for it; what is
    uncertain begins with "perhaps". `koopman-control run ENV_ID --knowledge none` learns to control
    it; `--write-task FILE` writes a task that `koopman-control run FILE` runs.
    """
    with one_sentence(debug):
        from koopman_control.autopilot import find
        from koopman_control.common.arrays import seed_number
        from koopman_control.tasks.writing import write_task as write

        seed_number("--seed", seed)
        require_new_task(write_task)
        task = untold(env_id, None, module, max_episode_steps)
        data = collecting(task, steps, seed)
        found = find(data)
        if json:
            import json as format

            text = format.dumps(found.as_dict(), indent=2, ensure_ascii=False, allow_nan=False)
            typer.echo(text)
        else:
            typer.echo(found.table())
        if write_task is not None:
            typer.echo(f"Task: {write(write_task, task, found, data)}", err=True)
