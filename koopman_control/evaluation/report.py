"""The report of a run: a self-contained HTML page, the metrics as JSON, the figures as PNG.

The page needs nothing but itself (images are embedded, no script, no network), reads on a phone
and prints on paper.
"""

import base64
import io
from collections.abc import Mapping
from dataclasses import dataclass
from importlib import resources
from pathlib import Path
from typing import TYPE_CHECKING, Any

import jinja2
import numpy as np
from numpy.typing import ArrayLike

from koopman_control.common.contents import list_contents
from koopman_control.common.files import (
    PathLike,
    ensure_writable_folder,
    write_bytes_atomically,
    write_text_atomically,
)
from koopman_control.evaluation.metrics import metrics_json, plain
from koopman_control.evaluation.wording import (
    controller_rows,
    duration,
    error_table,
    facts,
    flatten,
    number,
    verdict,
)

if TYPE_CHECKING:  # matplotlib is loaded where figures are drawn
    from matplotlib.figure import Figure

_DPI = 130

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


@dataclass(frozen=True)
class _Picture:
    name: str
    title: str
    caption: str
    data: str


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
    pictures = [_picture(target, name, figures[name]) for name in names]
    write_text_atomically(target / "metrics.json", metrics_json(complete))
    page = target / "report.html"
    write_text_atomically(page, _page(plain(complete), pictures, title, given))
    list_contents(target, plain(complete.get("settings", {})))
    return page


def _picture(folder: Path, name: str, figure: "Figure") -> _Picture:
    buffer = io.BytesIO()
    figure.savefig(buffer, format="png", dpi=_DPI, pil_kwargs={"optimize": True})
    data = buffer.getvalue()
    write_bytes_atomically(folder / f"{name}.png", data)
    return _Picture(
        name=name,
        title=" ".join(figure.get_suptitle().split()) or name.replace("_", " "),
        caption=CAPTIONS.get(name, ""),
        data=base64.b64encode(data).decode("ascii"),
    )


def _page(
    metrics: dict[str, Any], pictures: list[_Picture], title: str, references: Mapping[str, Any]
) -> str:
    environment = jinja2.Environment(
        autoescape=True, trim_blocks=True, lstrip_blocks=True, undefined=jinja2.StrictUndefined
    )
    environment.filters |= {"number": number, "duration": duration}
    source = resources.files(__package__).joinpath("report.html.jinja").read_text("utf-8")
    return environment.from_string(source).render(
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
