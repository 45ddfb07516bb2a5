"""The report of a run: a self-contained HTML page, the metrics as JSON, the figures as PNG.

The page needs nothing but itself (images are embedded, no script, no network), reads on a phone
and prints on paper.
"""

from collections.abc import Mapping
from importlib import resources
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import ArrayLike

from koopman_control.common.border import checked
from koopman_control.common.files import (
    PathLike,
    ensure_writable_folder,
    list_contents,
    write_text_atomically,
)
from koopman_control.evaluation.metrics import metrics_json, plain
from koopman_control.evaluation.page import Picture, picture, render
from koopman_control.evaluation.wording import controller_rows, error_table, facts, flatten, verdict

if TYPE_CHECKING:  # matplotlib is loaded where figures are drawn
    from matplotlib.figure import Figure

# How to read each figure (its finding is its title), in the order of the page.
CAPTIONS = {
    "closed_loop": "What the controller observed and did, over time, for the first evaluation "
    "episodes and for the worst of all.",
    "return_distribution": "Above, every evaluation episode is a dot; diamonds are means, black "
    "bars their 95 % bootstrap intervals. Below, the share of episodes that returned at most as "
    "much as the horizontal axis says: the further right and the steeper, the better.",
    "learning_curve": "Rounds of collecting data and refitting. Every environment step that was "
    "ever taken is counted.",
    "prediction_fan": "Held-out data the model was not fitted to (grey) and its predictions from "
    "the first point on. On the right the error over all windows in standard deviations of the "
    "output: median and the band that holds 80 % of them.",
    "eigenvalues": "Eigenvalues of the lifted state matrix. Outside the unit circle, the linear "
    "roll-out with zero input grows without limit.",
    "eigenvalue_residuals": "Eigenvalues coloured by how badly their eigenfunctions obey "
    "evaluation episodes, which no fit has seen. Crosses are spurious: artefacts of the features, "
    "not of the system.",
    "pseudospectrum": "The smallest residual that any combination of lifted states has. Dark "
    "regions hold dynamics that the data confirm; circles are confirmed eigenvalues.",
    "step_times": "Wall time of the controller alone, without the environment, on one thread.",
}


@checked
def write_report(
    folder: PathLike,
    metrics: Mapping[str, Any],
    figures: Mapping[str, "Figure"],
    title: str,
    references: Mapping[str, ArrayLike] | None = None,
) -> Path:
    """Write report.html, metrics.json and one PNG per figure into a folder.

    A list of all files in the folder with their checksums, contents.json, comes last; see
    `koopman_control.common.check_contents`.

    Args:
        folder: Where to; made if it is not there.
        metrics: The metrics of the run, under the names of metrics.json. `references` is filled
            from the argument of that name if it is missing.
        figures: Name (of the PNG file, and of its caption in `CAPTIONS`) to figure.
        title: Heading of the page.
        references: Name to returns of another controller on the same seeds, or its mean alone.

    Returns:
        Path of report.html.

    Raises:
        OSError: If the folder cannot be written; the message says which.
    """
    target = ensure_writable_folder(folder)
    given = {
        name: np.asarray(value, dtype=np.float64) for name, value in (references or {}).items()
    }
    complete = dict(metrics)
    complete.setdefault("references", {name: float(value.mean()) for name, value in given.items()})
    names = [name for name in CAPTIONS if name in figures]
    names += [name for name in figures if name not in CAPTIONS]
    pictures = [picture(target, name, figures[name], CAPTIONS.get(name, "")) for name in names]
    write_text_atomically(target / "metrics.json", metrics_json(complete))
    page = target / "report.html"
    write_text_atomically(page, _page(plain(complete), pictures, title, given))
    list_contents(target, plain(complete.get("settings", {})))
    return page


def _page(
    metrics: dict[str, Any], pictures: list[Picture], title: str, references: Mapping[str, Any]
) -> str:
    source = resources.files(__package__).joinpath("report.html.jinja").read_text("utf-8")
    return render(
        source,
        title=title,
        verdict=verdict(metrics),
        rows=controller_rows(metrics, references),
        facts=facts(metrics),
        errors=error_table(metrics.get("prediction_error")),
        pictures=pictures,
        settings=flatten(metrics.get("settings") or {}),
        versions=metrics.get("versions") or {},
        seeds=_range(metrics.get("seeds") or []),
    )


def _range(seeds: list[int]) -> str:
    if len(seeds) > 1 and seeds == list(range(seeds[0], seeds[0] + len(seeds))):
        return f"{seeds[0]}–{seeds[-1]}"
    return ", ".join(str(seed) for seed in seeds)
