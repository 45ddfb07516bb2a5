"""The command `control`: a model and settings in, a rehearsed and saved controller out."""

from __future__ import annotations

import time
import tomllib
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from koopman_control.cli.errors import new_folder, one_sentence
from koopman_control.cli.log_data import MINARI, read_logs

if TYPE_CHECKING:
    from koopman_control.identification import LiftedModel
    from koopman_control.trajectories import Trajectory

LARGEST = 2**20  # bytes of a file of settings


def control(
    model: Annotated[Path, typer.Argument(help="Saved model, such as model.npz.")],
    settings: Annotated[
        Path | None, typer.Argument(help="TOML file of settings; options come before it.")
    ] = None,
    horizon: Annotated[
        int | None, typer.Option(min=1, max=10_000, help="Steps that plans look ahead.")
    ] = None,
    q: Annotated[
        str | None, typer.Option("--Q", help="Weights of the states: 1, or one for each: 1,0.1.")
    ] = None,
    r: Annotated[str | None, typer.Option("--R", help="Weights of the inputs, likewise.")] = None,
    reference: Annotated[str | None, typer.Option(help="Target of the states, likewise.")] = None,
    rollout: Annotated[str | None, typer.Option(help="linear, bilinear or relifted.")] = None,
    data: Annotated[
        Path | None,
        typer.Option(help="What the model was fitted on: saved trajectories, or a log file."),
    ] = None,
    inputs: Annotated[
        list[str] | None,
        typer.Option(help="Column of an input in a log file; those that `identify` was told."),
    ] = None,
    outputs: Annotated[
        list[str] | None, typer.Option(help="Column of an output in a log file, likewise.")
    ] = None,
    clock: Annotated[
        str | None, typer.Option("--time", help="Column of times in a log file, likewise.")
    ] = None,
    variants: Annotated[int, typer.Option(min=0, help="Other fits to the data to try it on.")] = 5,
    starts: Annotated[int, typer.Option(min=1, help="Starts on each.")] = 5,
    steps: Annotated[int, typer.Option(min=1, help="Steps from each start.")] = 200,
    noise: Annotated[
        float, typer.Option(help="Noise of observations, in deviations of the states.")
    ] = 0.0,
    output: Annotated[Path, typer.Option(help="Folder in which a folder is made.")] = Path("runs"),
    json: Annotated[
        bool, typer.Option("--json", help="Print metrics.json and nothing else to standard output.")
    ] = False,
    debug: Annotated[bool, typer.Option(help="Show the traceback of an error.")] = False,
) -> None:
    """Make a controller on a saved model, rehearse it and save it.

    Settings come from a TOML file (docs/how-to/serve.md shows one), from options, or both. Closes
    the loop on the model itself and, with --data, on other fits to the same data, so that it shows
    what these leave open. Bounds of inputs and states that nobody gave are those of the data.
    Writes controller.npz, report.html, metrics.json and figures to OUTPUT/<model>-<time>/.
    """
    with one_sentence(debug):
        from koopman_control.evaluation import rehearse
        from koopman_control.evaluation.summary import printable
        from koopman_control.identification import LiftedModel
        from koopman_control.mpc import controller_from

        options: dict[str, Any] = {"horizon": horizon, "rollout": rollout}
        options |= {"Q": _numbers("--Q", q), "R": _numbers("--R", r)}
        options |= {"reference": _numbers("--reference", reference)}
        asked = read_settings(settings) | {k: v for k, v in options.items() if v is not None}
        plant = LiftedModel.load(model)
        runs, notes = read_data(data, plant, inputs, outputs, clock)
        notes += with_bounds(asked, plant, runs)
        controller = controller_from(plant, asked)
        name = f"{model.name.partition('.')[0]}-{time.strftime('%Y%m%d-%H%M%S')}"
        with new_folder(output / name) as folder:
            for note in notes:
                typer.echo(printable(f"Note: {note.removesuffix('.')}."), err=True)
            found = rehearse(
                controller, runs, n_variants=variants, n_starts=starts, n_steps=steps, noise=noise
            )
            report = found.write(folder)
        if json:
            typer.echo((folder / "metrics.json").read_text("utf-8"), nl=False)
        else:
            typer.echo(f"{found}\nController: {folder / 'controller.npz'}\nReport: {report}")


def read_settings(path: Path | None) -> dict[str, Any]:
    """Read a TOML file; whatever is wrong with it is one sentence."""
    from koopman_control.common import refusing

    if path is None:
        return {}
    if not path.is_file():
        raise FileNotFoundError(f"there is no file {path}")
    with refusing(f"{path} cannot be read as settings; expected TOML"):
        if path.stat().st_size > LARGEST:
            raise ValueError(f"it has more than {LARGEST} bytes")
        return tomllib.loads(path.read_text("utf-8"))


def read_data(
    path: Path | None,
    model: LiftedModel,
    inputs: list[str] | None,
    outputs: list[str] | None,
    clock: str | None,
) -> tuple[list[Trajectory] | None, list[str]]:
    """Read saved trajectories, or a log as `identify` read it, at the model's sampling time."""
    from koopman_control.common.files import FileFormatError
    from koopman_control.identification.log_facts import thinned
    from koopman_control.trajectories import load_trajectories

    named = bool(inputs or outputs) or clock is not None
    if path is None:
        if named:
            raise ValueError("--inputs, --outputs and --time tell how to read --data; give that")
        return None, []
    told = model.summary.get("log", {})
    minari = str(path).startswith(MINARI)
    if not minari and not path.is_file():
        raise FileNotFoundError(f"there is no file {path}")
    log = minari or path.suffix.lower() != ".npz"
    if not log and not named:
        try:
            return load_trajectories(path), []
        except FileFormatError:
            if not told:
                raise
    columns = inputs or told.get("inputs", []), outputs or told.get("outputs", [])
    if not all(columns) and not minari:
        raise ValueError(
            f"the model does not tell which columns of {path.name} it was fitted to; name them "
            "with --inputs and --outputs"
        )
    thinning, dt = int(model.summary.get("thinning", 1)), model.dt
    clock = clock or told.get("time")
    between = None if dt is None else dt if clock else dt / thinning
    runs, notes = read_logs(
        [path], *columns, time=clock, dt=between, run=told.get("run_column"),
        angles=told.get("angle") or [], missing=told.get("missing") or [],
    )  # fmt: skip
    return (runs if clock and dt is not None else thinned(runs, thinning)), notes


def with_bounds(
    settings: dict[str, Any], model: LiftedModel, runs: list[Trajectory] | None
) -> list[str]:
    """Bound what nobody has bounded by the range of the data; returns what was done, in words."""
    import numpy as np

    notes: list[str] = []
    bounds = settings.setdefault("bounds", {})
    if not isinstance(bounds, dict):
        return notes  # what is wrong with it is said later
    known = "inputs" in bounds or model.action_bounds is not None
    if runs is None and not known:
        raise ValueError(
            "nothing bounds the inputs: neither settings nor the model do; give bounds.inputs "
            "in the file of settings, or --data"
        )
    if runs is not None and not known:
        U = np.concatenate([run.actions for run in runs])
        bounds["inputs"] = [U.min(axis=0).tolist(), U.max(axis=0).tolist()]
        notes.append(f"inputs are bounded by the range of the data, {_range(bounds['inputs'])}")
    d, angle = model.coordinates.n_outputs, model.coordinates.is_angle
    if runs is not None:
        X = np.concatenate([run.X[:, :d] for run in model.signals.runs(runs)])
        ranges = np.stack([X.min(axis=0), X.max(axis=0)])
    else:  # of the log that `identify` saw
        ranges = np.array(model.summary.get("output_range", np.empty((0, d))), dtype=np.float64)
    if "outputs" not in bounds and ranges.shape == (2, d):
        low, high = ranges
        low[angle[:d]], high[angle[:d]] = -np.inf, np.inf
        bounds["outputs"] = [low.tolist(), high.tolist()]
        notes.append(
            f"states are bounded, softly, by the range of the data, {_range(bounds['outputs'])}; "
            "give bounds.outputs to let plans leave it"
        )
    return notes


def _range(bounds: list[list[float]]) -> str:
    return ", ".join(f"{low:.4g} to {high:.4g}" for low, high in zip(*bounds, strict=True))


def _numbers(option: str, text: str | None) -> float | list[float] | None:
    """Read a number, or several with commas between them."""
    if text is None:
        return None
    try:
        values = [float(part) for part in text.split(",")]
    except ValueError:
        raise ValueError(f"{option} is {text!r}; expected numbers, as 1 or 1,0.1") from None
    return values if "," in text else values[0]
