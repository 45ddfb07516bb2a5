"""The page of an identification: report.html, metrics.json, model.npz and the figures."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from importlib import resources
from pathlib import Path
from types import MappingProxyType
from typing import TYPE_CHECKING, Any

import numpy as np

from koopman_control.common import ensure_writable_folder, list_contents, write_text_atomically
from koopman_control.common.border import checked
from koopman_control.common.files import PathLike
from koopman_control.evaluation.plots import simulation
from koopman_control.evaluation.plots.spectrum import eigenvalues
from koopman_control.evaluation.report import metrics_json, package_versions, picture, render
from koopman_control.evaluation.simulations import LogJudgement
from koopman_control.evaluation.summary import flatten
from koopman_control.identification import Identified

if TYPE_CHECKING:
    from matplotlib.figure import Figure

CAPTIONS = {
    "free_run": "Grey is what was measured; the model knows the inputs and the first rows only. "
    "Below each output the error.",
    "k_step_error": "Predictions from every measured state on, as a controller makes them.",
    "residuals": "What one-step predictions miss, correlated with itself and with the inputs. In "
    "the shaded band lie 95 % of the lags of white noise. Left of zero, inputs that come later: "
    "traces there are those of a controller.",
    "steady_states": "Where each output settles while one input is held and the others are at the "
    "middle of their range. A controller relies on the sign of these slopes.",
    "eigenvalues": "Eigenvalues of the lifted state matrix.",
}


@checked
def write_identification(
    folder: PathLike,
    found: Identified,
    judged: LogJudgement,
    title: str,
    notes: Sequence[str] = (),
    settings: Mapping[str, Any] = MappingProxyType({}),
) -> Path:
    """Write report.html, metrics.json, model.npz and one PNG per figure into a folder.

    Args:
        folder: Where to; made if it is not there.
        found: What `identify` found.
        judged: The model judged on data it has not seen.
        title: Heading of the page.
        notes: What was found in the data, beside `found.findings`.
        settings: What was asked for.

    Returns:
        Path of report.html.

    Raises:
        OSError: If the folder cannot be written.
    """
    target = ensure_writable_folder(folder)
    found.model.save(target / "model.npz")
    pictures = [
        picture(target, name, figure, CAPTIONS[name])
        for name, figure in _figures(found, judged).items()
    ]
    findings = [*notes, *found.findings]
    metrics = _metrics(found, judged, findings, settings)
    write_text_atomically(target / "metrics.json", metrics_json(metrics))
    source = resources.files(__package__).joinpath("identification.html.jinja").read_text("utf-8")
    spread = np.concatenate([run.measured[run.first :] for run in judged.runs]).std(axis=0)
    page = render(
        source,
        title=title,
        verdict=judged.verdict,
        outputs=[
            {
                "name": name,
                "rmse": _number(judged.rmse[i]),
                "nrmse": _number(judged.rmse[i] / max(spread[i], 1e-300)),
                "fit": f"{judged.fit[i]:.1f} %" if np.isfinite(judged.fit[i]) else "–",
                "linear": _number(judged.linear_rmse[i]),
            }
            for i, name in enumerate(judged.names)
        ],
        findings=findings,
        trials=[
            {
                "structure": str(trial.structure),
                "n_features": trial.n_features,
                "error": _number(trial.error),
                "seconds": f"{trial.seconds:.1f}",
                "chosen": trial.structure == found.structure,
            }
            for trial in found.trials
        ],
        pictures=pictures,
        facts=flatten(metrics["model"]),
        settings=flatten(settings),
        versions=metrics["versions"],
    )
    path = target / "report.html"
    write_text_atomically(path, page)
    list_contents(target, dict(settings))
    return path


def _number(value: float) -> str:
    return f"{value:.3g}" if np.isfinite(value) else "diverges"


def _figures(found: Identified, judged: LogJudgement) -> dict[str, Figure]:
    longest = max(judged.runs, key=lambda run: len(run.measured))
    dt = found.model.dt
    rows = None if dt is None else dt / found.structure.thinning
    shown = {
        "free_run": simulation.free_run(
            longest.measured, longest.simulated, longest.linear, rows, judged.names
        ),
        "k_step_error": simulation.k_step_error(judged.k_step, dt),
        "steady_states": simulation.steady_states(
            judged.steady.inputs, judged.steady.outputs, judged.names, judged.input_names
        ),
        "eigenvalues": eigenvalues(found.model.eigenvalues),
    }
    if np.isfinite(judged.residuals.band):
        shown["residuals"] = simulation.residuals(
            judged.residuals.whiteness,
            judged.residuals.inputs,
            judged.residuals.band,
            judged.names,
            judged.input_names,
        )
    return {name: shown[name] for name in CAPTIONS if name in shown}


def _metrics(
    found: Identified, judged: LogJudgement, findings: Sequence[str], settings: Mapping[str, Any]
) -> dict[str, Any]:
    return {
        "verdict": list(judged.verdict),
        "findings": list(findings),
        "outputs": list(judged.names),
        "rmse": judged.rmse,
        "fit_percent": judged.fit,
        "linear_rmse": judged.linear_rmse,
        "k_step_error": judged.k_step,
        "model": {
            "structure": str(found.structure),
            "memory": found.structure.memory,
            "feedthrough": found.structure.feedthrough,
            "coupling": found.structure.coupling,
            "thinning": found.structure.thinning,
            "dt": found.model.dt,
            "n_lifted": found.model.n_lifted,
            "left_out_error": found.error,
            "left_out_error_linear": found.linear_error,
            "seconds": found.seconds,
        },
        "trials": [
            {"structure": str(t.structure), "error": t.error, "seconds": t.seconds}
            for t in found.trials
        ],
        "settings": dict(settings),
        "versions": package_versions(),
    }
