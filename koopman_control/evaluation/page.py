"""Self-contained HTML pages: one look, figures embedded, no script and no network."""

import base64
import io
from dataclasses import dataclass
from importlib import resources
from pathlib import Path
from typing import TYPE_CHECKING, Any

import jinja2
from markupsafe import Markup

from koopman_control.common.files import write_bytes_atomically
from koopman_control.evaluation.wording import duration, number

if TYPE_CHECKING:  # matplotlib is loaded where figures are drawn
    from matplotlib.figure import Figure

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
