"""What the site makes by itself: gallery, reference and the figure of the rooms."""

from pathlib import Path

import pytest

pytest.importorskip("mkdocs", reason="the extra `docs` is not installed")

import griffe

from docs import architecture, examples_section, gallery, reference
from koopman_control.tasks import TASKS


def test_the_gallery_shows_every_example_and_every_task() -> None:
    page = gallery.page()
    for script in gallery.examples():
        assert f"### {script.stem}" in page
    for task in TASKS.values():
        assert task.env_id in page


@pytest.mark.parametrize("script", gallery.examples(), ids=lambda script: script.stem)
def test_what_an_example_printed_was_printed_by_the_script_as_it_is(script: Path) -> None:
    of, text = gallery.printed(script)
    assert of == gallery.digest(script), f"run `python -m docs.gallery {script.stem}`"
    assert text.strip()


def test_the_reference_lists_what_a_room_exports() -> None:
    listed = reference.documented("koopman_control.mpc")
    assert listed["KoopmanMPC"] == "koopman_control.mpc.controller.KoopmanMPC"
    assert "::: koopman_control.mpc.controller.KoopmanMPC" in reference.page(
        "Controller", "koopman_control.mpc"
    )


def test_every_room_has_a_page_of_reference() -> None:
    rooms = {room for _, room in reference.PAGES.values()}
    known = {f"koopman_control.{room}" for room in architecture.WAY if room != "cli"}
    assert known <= rooms


def test_every_registered_environment_has_its_reference() -> None:
    assert "koopman_envs.duffing.Duffing" in reference.environments()
    assert len(reference.environments()) >= 10


def test_the_figure_of_the_rooms_shows_each_room_and_its_files() -> None:
    files = architecture.files_in_rooms()
    svg = architecture.drawn()
    for room in architecture.WAY:
        assert f">{room}<" in svg
        assert f">{files[room]} file{'s' * (files[room] != 1)}<" in svg
    assert svg == architecture.drawn()


def test_no_room_imports_one_that_stands_below_it_in_the_figure() -> None:
    order = [*architecture.WAY]
    for user, used in architecture.imports_between_rooms():
        if used != architecture.BESIDE:
            assert order.index(used) < order.index(user), (user, used)


def test_a_room_that_the_figure_does_not_know_is_an_error() -> None:
    files = architecture.files_in_rooms()
    files["attic"] = 1
    with pytest.raises(ValueError, match="holds the rooms attic, of which"):
        architecture.picture(architecture.imports_between_rooms(), files)


def test_an_example_in_a_docstring_is_read_as_code() -> None:
    text = "Add.\n\nExample:\n    >>> 1 + 1\n    2\n"
    function = griffe.Function("add", docstring=griffe.Docstring(text))
    examples_section.ExamplesSection().on_object(obj=function)
    assert function.docstring is not None
    kinds = [section.kind for section in function.docstring.parse("google")]
    assert griffe.DocstringSectionKind.examples in kinds
