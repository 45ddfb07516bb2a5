"""Names that are no mathematics to a figure (plotnine #1062, matplotlib #20266)."""

import io
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from matplotlib.figure import Figure
from matplotlib.text import Text
from typer.testing import CliRunner

from koopman_control.benchmark.page import learning_curves, paired_differences, performance_profiles
from koopman_control.benchmark.statistics import Estimate
from koopman_control.cli import app
from koopman_control.evaluation import PairedDifference, plots
from koopman_control.evaluation.episode import Episode
from koopman_control.evaluation.summary import printable

NAMES = (
    "$$",
    r"T_{out} \alpha $\q$",
    "_hidden",
    "price ($)",
    "$x^{",
    r"\frac{1}{",
    "US$_MWh$",
    "a\x1b[2Jb",
)
RNG = np.random.default_rng(0)


def episode() -> Episode:
    return Episode(
        seed=0,
        episode_return=-1.0,
        terminated=False,
        observations=RNG.normal(size=(21, 1)),
        actions=RNG.normal(size=(20, 1)),
        rewards=np.zeros(20),
        act_seconds=np.full(20, 1e-4),
        fallbacks=np.zeros(20, dtype=bool),
        violation=None,
        violation_steps=0,
        rungs={},
    )


def fan(name: str) -> Figure:
    truth = RNG.normal(size=(5, 8, 1))
    return plots.prediction_fan(truth, {name: truth + 0.1, "other": truth}, names=[name])


def forecast(name: str) -> Figure:
    dates = np.datetime64("2024-01-01") + np.arange(12)
    values = RNG.normal(size=12)
    ahead = (dates, values, values - 1.0, values + 1.0)
    return plots.forecast_figure((dates, values), ahead, {name: np.ones(12)}, name, 0.9, name)


def learned(name: str) -> Figure:
    return plots.learning_curve(
        [100, 200], [[1.0, 2.0], [3.0]], {name: [0.1, 0.05], "b": [0.2, 0.1]}, {name: 2.0}
    )


def returns(name: str) -> Figure:
    own = RNG.normal(size=30)
    return plots.return_distribution(own, {name: own + 0.1, "b": [0.0]}, "ours")


def profiles(name: str) -> Figure:
    return performance_profiles({name: [RNG.random(5)], "b": [RNG.random(5)]})


def curves(name: str) -> Figure:
    curve = [(100, Estimate(0.5, 0.4, 0.6)), (200, Estimate(0.7, 0.6, 0.8))]
    return learning_curves({name: {name: curve, "b": curve}})


def differences(name: str) -> Figure:
    return paired_differences({name: {name: PairedDifference(0.1, 0.0, 0.2, 0.6)}})


def loop(name: str) -> Figure:
    return plots.closed_loop([episode()], 0.1, [name], [name])


FIGURES: dict[str, Callable[[str], Figure]] = {
    f.__name__: f for f in (fan, forecast, learned, returns, profiles, curves, differences, loop)
}


def texts(figure: Figure) -> Iterator[Text]:
    for text in figure.findobj(Text):
        assert isinstance(text, Text)
        if text.get_text():
            yield text


@pytest.mark.parametrize("kind", FIGURES)
@pytest.mark.parametrize("name", NAMES)
def test_a_name_is_drawn_as_it_is(kind: str, name: str) -> None:
    figure = FIGURES[kind](name)
    figure.savefig(io.BytesIO(), format="png", dpi=40)
    told = printable(name)
    shown = [text for text in texts(figure) if told in text.get_text().replace("\n", " ")]
    assert shown, "the name is nowhere"
    assert not any(text.get_parse_math() or text.get_usetex() for text in shown)


@pytest.mark.parametrize("kind", ["fan", "learned", "profiles", "curves", "forecast"])
def test_a_name_with_an_underscore_in_front_is_in_the_legend(kind: str) -> None:
    figure = FIGURES[kind]("_hidden")
    boxes = [*figure.legends, *(axes.get_legend() for axes in figure.axes)]
    said = [text.get_text() for box in boxes if box is not None for text in box.get_texts()]
    assert "_hidden" in said


def test_numbers_on_logarithmic_axes_stay_typeset() -> None:
    figure = learned("$$")
    figure.savefig(io.BytesIO(), format="png", dpi=40)
    ticks = [label.get_text() for label in figure.axes[-1].get_yticklabels(which="both")]
    assert any("10^{" in tick for tick in ticks)


@pytest.mark.parametrize("name", NAMES[:2])
def test_the_command_draws_such_columns(name: str, tmp_path: Path) -> None:
    dates = np.datetime64("2021-01-01T00") + np.arange(200)
    values = 20.0 + 5.0 * np.sin(2.0 * np.pi * np.arange(200) / 24.0)
    rows = "\n".join(f"{date}:00,{value}" for date, value in zip(dates, values, strict=True))
    (tmp_path / "data.csv").write_text(f'date,"{name}"\n{rows}\n', "utf-8")
    call: list[Any] = ["forecast", tmp_path / "data.csv", "--target", name, "--horizon", 3]
    call += ["--lookback", 8, "--output", tmp_path / "out"]
    result = CliRunner().invoke(app, [str(argument) for argument in call])
    assert result.exit_code == 0, result.output
    (folder,) = (tmp_path / "out").iterdir()
    assert (folder / "forecast.png").read_bytes().startswith(b"\x89PNG")
    assert name in (folder / "forecast.csv").read_text("utf-8")
