"""The command `render`: an episode of a saved run as moving pictures."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from koopman_control.cli.errors import one_sentence

if TYPE_CHECKING:
    from koopman_control.evaluation.animation import Film
    from koopman_control.mpc import KoopmanMPC
    from koopman_control.tasks import Task


def render(
    folder: Annotated[Path, typer.Argument(help="Folder of a run, such as runs/Pendulum-...")],
    seed: Annotated[int, typer.Option(help="Reset seed of the episode.")] = 1000,
    gif: Annotated[bool, typer.Option("--gif", help="Write a GIF only.")] = False,
    mp4: Annotated[bool, typer.Option("--mp4", help="Write an MP4 only.")] = False,
    debug: Annotated[bool, typer.Option(help="Show the traceback of an error.")] = False,
) -> None:
    """Replay an episode of a saved run and write it to FOLDER as animated GIF and as MP4.

    Builds the run's controller again from its model and data. The environment draws itself; where
    it cannot, the measured states, the inputs and the plan ahead are drawn. The GIF has at most
    1 MB; for the MP4, ffmpeg is needed (pip install 'koopman-control[video]').
    """
    with one_sentence(debug):
        from koopman_control.common.arrays import seed_number
        from koopman_control.evaluation.animation import write_gif, write_mp4
        from koopman_control.tasks.saved import load_learned

        seed_number("--seed", seed)
        task, controller = load_learned(folder)
        if changed := _changed_settings(folder, task):
            told = f"Note: {', '.join(changed)} of the task have changed since this run"
            typer.echo(f"{told}; its controller is built as they are now.", err=True)
        film = _filmed(task, controller, seed)
        told = f"return {film.episode.episode_return:.2f} in {film.episode.length} steps"
        typer.echo(f"{task.name}, seed {seed}: {told}.")
        both = gif == mp4
        if gif or both:
            path = folder / f"episode-{seed}.gif"
            typer.echo(f"GIF: {path} ({write_gif(path, film) / 1e6:.2f} MB)")
        if mp4 or both:
            path = folder / f"episode-{seed}.mp4"
            try:
                write_mp4(path, film)
            except ImportError as error:
                if not both:
                    raise
                typer.echo(f"No MP4: {error}", err=True)
            else:
                typer.echo(f"MP4: {path}")


def _filmed(task: Task, controller: KoopmanMPC, seed: int) -> Film:
    """Run the episode with a bar on standard error."""
    from contextlib import closing

    from rich.console import Console
    from rich.progress import Progress

    from koopman_control.evaluation.animation import drawing_environment, film_episode

    made, obstacle = drawing_environment(task.environment)
    if obstacle is not None:
        typer.echo(f"{task.env_id} {obstacle}; its plans are drawn.", err=True)
    with closing(made) as env:
        steps = None if env.spec is None else env.spec.max_episode_steps
        with Progress(console=Console(stderr=True), transient=True) as progress:
            bar = progress.add_task("Filming", total=steps)
            return film_episode(controller, env, seed, lambda: progress.update(bar, advance=1))


def _changed_settings(folder: Path, task: Task) -> list[str]:
    """Name the settings of the task that are not those in the metrics of the run, if it has any."""
    import json

    from koopman_control.evaluation.report import plain

    if not (folder / "metrics.json").is_file():  # the run ended before its evaluation
        return []
    metrics = json.loads((folder / "metrics.json").read_text("utf-8"))
    then, now = metrics["settings"]["task"], plain(task.settings())
    return sorted(name for name in then if name in now and then[name] != now[name])
