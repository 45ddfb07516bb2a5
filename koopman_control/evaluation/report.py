"""The report of a run: a self-contained HTML page, the metrics as strict JSON, figures as PNG."""

import base64
import io
import json
import math
from collections.abc import Mapping
from dataclasses import dataclass
from importlib import resources
from pathlib import Path
from typing import TYPE_CHECKING, Any

import jinja2
import numpy as np
from markupsafe import Markup
from numpy.typing import ArrayLike

from koopman_control.common.border import checked
from koopman_control.common.files import (
    PathLike,
    ensure_writable_folder,
    list_contents,
    write_bytes_atomically,
    write_text_atomically,
)
from koopman_control.common.versions import package_versions as package_versions
from koopman_control.evaluation.summary import (
    controller_rows,
    duration,
    error_table,
    facts,
    flatten,
    number,
    verdict,
)

if TYPE_CHECKING:
    from matplotlib.figure import Figure


def plain(value: Any) -> Any:
    """Turn a value into what JSON knows: NumPy to Python, NaN and infinity to None.

    Anything else that JSON lacks (a dataclass, a path, a type) becomes its text, so that settings
    can be stored as they are.
    """
    if value is None or isinstance(value, bool | str | int):
        return value
    if isinstance(value, Mapping):
        return {str(key): plain(item) for key, item in value.items()}
    if isinstance(value, list | tuple | range | set | frozenset):
        return [plain(item) for item in value]
    if isinstance(value, np.ndarray | np.generic):
        return plain(value.tolist())
    if isinstance(value, float):
        return value if math.isfinite(value) else None
    return str(value)


@checked
def metrics_json(metrics: Mapping[str, Any]) -> str:
    """Return the metrics as strict JSON text: no NaN, keys in the order given."""
    return json.dumps(plain(metrics), indent=2, ensure_ascii=False, allow_nan=False) + "\n"


_DPI = 130


@dataclass(frozen=True)
class Picture:
    """A figure as a page embeds it: its name, its title, how to read it, and the PNG as base64."""

    name: str
    title: str
    caption: str
    data: str


def picture(folder: Path, name: str, figure: "Figure", caption: str) -> Picture:
    """Write a figure as PNG into a folder and prepare it for a page.

    Args:
        folder: Where to; must exist.
        name: Name of the file, without ending.
        figure: The figure; its title becomes the picture's.
        caption: How to read it.
    """
    buffer = io.BytesIO()
    figure.savefig(buffer, format="png", dpi=_DPI, pil_kwargs={"optimize": True})
    data = buffer.getvalue()
    write_bytes_atomically(folder / f"{name}.png", data)
    return Picture(
        name=name,
        title=" ".join(figure.get_suptitle().split()) or name.replace("_", " "),
        caption=caption,
        data=base64.b64encode(data).decode("ascii"),
    )


def render(source: str, **values: Any) -> str:
    """Fill in a template; every value it names must be given, the style sheet is `css`.

    Args:
        source: Text of the Jinja template.
        values: What it names.
    """
    environment = jinja2.Environment(
        autoescape=True, trim_blocks=True, lstrip_blocks=True, undefined=jinja2.StrictUndefined
    )
    environment.filters |= {"number": number, "duration": duration}
    # Markup keeps the style sheet, which is our own file, from being escaped.
    css = Markup(resources.files(__package__).joinpath("page.css").read_text("utf-8"))
    return environment.from_string(source).render(css=css, **values)


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
        ValueError: If a figure's name is no name of a file.
    """
    for name in figures:
        if not name or name.startswith(".") or not name.isprintable() or set(name) & set("/\\:"):
            raise ValueError(f"figures holds the name {name!r}; expected a plain name for a file")
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
        findings=metrics.get("findings") or {},
        pictures=pictures,
        settings=flatten(metrics.get("settings") or {}),
        versions=metrics.get("versions") or {},
        seeds=_range(metrics.get("seeds") or []),
    )


def _range(seeds: list[int]) -> str:
    if len(seeds) > 1 and seeds == list(range(seeds[0], seeds[0] + len(seeds))):
        return f"{seeds[0]}–{seeds[-1]}"
    return ", ".join(str(seed) for seed in seeds)
