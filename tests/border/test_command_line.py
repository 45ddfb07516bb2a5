"""What is typed wrongly is answered by a sentence and a status that is not zero, no traceback."""

from collections.abc import Iterator
from pathlib import Path

import pytest
from typer.main import get_command
from typer.testing import CliRunner, Result

from koopman_control.cli import app
from tests.border import parts

ENV = "koopman_envs/VanDerPol-v0"
RUN, BENCHMARK = ("run", ENV), ("benchmark", ENV)
TUNE = ("tune", "Pendulum")
DESCRIBE = ("describe", "Pendulum-v1")
RENDER = ("render", "folder")
FORECAST = ("forecast", "table.csv", "--target", "T", "--horizon", "3")
CONTROL = ("control", "model.npz", "--horizon", "3")
SERVE = ("serve", "controller.npz")
IDENTIFY = ("identify", "log.csv", "--inputs", "u", "--outputs", "y")
EXPORT = ("export", "controller.npz")
COUNTS = ("0", "-1", "1.5", "many", "")
SEEDS = ("-1", "1.5", "many", "4294967296")
NAMES = ("koopmn", "", "koopman,", "random,,zero")

# Command, option and what is wrong for it.
TYPED = [
    (RUN, "--episodes", COUNTS),
    (RUN, "--workers", COUNTS),
    (RUN, "--cluster", ("here", "tcp://", "")),
    (RUN, "--seed", SEEDS),
    (RUN, "--learning-seed", SEEDS),
    (RUN, "--output", ("file", "file/within")),
    (RUN, "--resume", ("nowhere", "file", "folder")),
    ((*RUN, "--knowledge", "none"), "--budget", COUNTS),
    ((*RUN, "--knowledge", "none"), "--max-episode-steps", COUNTS),
    ((*RUN, "--knowledge", "none"), "--import", ("no_such_module", "")),
    (RUN, "--knowledge", ("all", "")),
    (RUN, "--write-task", ("task.py",)),
    (DESCRIBE, "--steps", COUNTS),
    (DESCRIBE, "--seed", SEEDS),
    (DESCRIBE, "--max-episode-steps", COUNTS),
    (DESCRIBE, "--import", ("no_such_module", "")),
    (DESCRIBE, "--write-task", ("folder", "file/within")),
    (RENDER, "--seed", SEEDS),
    (TUNE, "--trials", COUNTS),
    (TUNE, "--settings", ("horizn", "", "horizon,")),
    (TUNE, "--seeds", COUNTS),
    (TUNE, "--episodes", COUNTS),
    (TUNE, "--jobs", COUNTS),
    (TUNE, "--cluster", ("here", "tcp://", "")),
    (TUNE, "--storage", ("folder", "file", "file/within")),
    (TUNE, "--out", ("file", "file/within")),
    (BENCHMARK, "--seeds", COUNTS),
    (BENCHMARK, "--episodes", COUNTS),
    (BENCHMARK, "--jobs", COUNTS),
    (BENCHMARK, "--cluster", ("here", "tcp://", "")),
    (BENCHMARK, "--subjects", NAMES),
    (BENCHMARK, "--conditions", NAMES),
    (BENCHMARK, "--knowledge", ("all", "")),
    (BENCHMARK, "--suite", ("atari", "")),
    (BENCHMARK, "--out", ("file", "file/within")),
    (FORECAST[:2], "--target", ("t", "", "date")),
    (FORECAST[:4], "--horizon", (*COUNTS, "5000")),
    (FORECAST, "--with", ("t", "", "date", "T")),
    (FORECAST, "--date", ("when", "", "T")),
    (FORECAST, "--seconds", ("when", "")),
    (FORECAST, "--dt", ("0", "-1", "nan", "inf", "many", "")),
    (FORECAST, "--fill", ("cubic", "")),
    (FORECAST, "--missing", ("",)),
    (FORECAST, "--lookback", (*COUNTS, "5000")),
    (FORECAST, "--backtest", (*COUNTS, "5000")),
    (FORECAST, "--draws", COUNTS),
    (FORECAST, "--future", ("nowhere", "folder", "file")),
    (FORECAST, "--save", ("folder", "nowhere/kept.npz")),
    (FORECAST[:2], "--model", ("nowhere", "folder", "file")),
    (FORECAST, "--level", ("0", "1", "-0.5", "nan", "inf", "most")),
    (FORECAST, "--output", ("file", "file/within")),
    (CONTROL[:2], "--horizon", (*COUNTS, "1000000000")),
    (CONTROL, "--Q", ("many", "", "1,,2", "-1", "1,2,3,4,5", "nan")),
    (CONTROL, "--R", ("many", "", "-1", "1,2")),
    (CONTROL, "--reference", ("many", "", "1,2,3", "inf")),
    (CONTROL, "--rollout", ("lifted", "")),
    (CONTROL, "--data", ("nowhere", "file", "folder")),
    (CONTROL, "--inputs", ("u", "")),
    (CONTROL, "--outputs", ("y", "")),
    (CONTROL, "--time", ("t", "")),
    (CONTROL, "--variants", ("-1", "1.5", "many", "")),
    (CONTROL, "--starts", COUNTS),
    (CONTROL, "--steps", COUNTS),
    (CONTROL, "--noise", ("-1", "nan", "inf", "much")),
    (CONTROL, "--output", ("file", "file/within")),
    (EXPORT, "--to", ("file", "file/within")),
    (EXPORT, "--precision", ("half", "")),
    (EXPORT, "--name", ("2nd", "", "a b", "while")),
    (EXPORT, "--rank-tolerance", ("-1", "1", "nan", "little")),
    (EXPORT, "--flash", ("0", "-1", "10", "small")),
    (SERVE, "--rate", ("0", "-1", "nan", "inf", "fast")),
    (SERVE, "--deadline", ("0", "-1", "nan", "inf", "soon")),
    (SERVE, "--patience", ("-1", "1.5", "much")),
    (SERVE, "--listen", ("-1", "70000", "here")),
    (SERVE, "--log", ("file", "nowhere/log.csv")),
    (SERVE, "--steps", COUNTS),
    (IDENTIFY[:2], "--inputs", ("v", "", "y")),
    (IDENTIFY[:4], "--outputs", ("z", "", "u")),
    (IDENTIFY, "--time", ("when", "", "u")),
    (IDENTIFY, "--dt", ("0", "-1", "nan", "many")),
    (IDENTIFY, "--test", ("none.csv", "folder", "file")),
    (IDENTIFY, "--split", ("0", "1", "-0.5", "most")),
    (IDENTIFY, "--run-column", ("run", "", "u")),
    (IDENTIFY, "--angle", ("z", "", "u")),
    (IDENTIFY, "--missing", ("",)),
    (IDENTIFY, "--seconds", ("0", "-1", "many")),
    (IDENTIFY, "--seed", SEEDS),
    (IDENTIFY, "--jobs", COUNTS),
    (IDENTIFY, "--cluster", ("here", "tcp://", "")),
    (IDENTIFY, "--resume", ("nowhere", "file", "folder")),
    (IDENTIFY, "--export", ("folder", "none/model.npz")),
    (IDENTIFY, "--output", ("file", "file/within")),
]
# Words beside the option and the value by which a sentence may name what is wrong.
MEANT = {
    "--cluster": "scheduler",
    "--settings": "no setting",
    "--storage": "file",
    "--output": "folder",
    "--out": "folder",
    "--import": "module",
    "--resume": "to go on from",
    "--target": "column",
    "--with": "column",
    "--date": "column",
    "--seconds": "column",
    "--missing": "missing",
    "--horizon": "table has",
    "--lookback": "lookback",
    "--backtest": "refits",
    "--draws": "n_draws",
    "--future": "file",
    "--model": "file",
    "--level": "level",
    "--rollout": "rollout",
    "--Q": "Q ",
    "--R": "R ",
    "--reference": "reference",
    "--data": "file",
    "--noise": "noise",
    "--rate": "rate",
    "--deadline": "deadline",
    "--log": "log",
    "--inputs": "column",
    "--outputs": "column",
    "--time": "column",
    "--run-column": "column",
    "--angle": "angles",
    "--dt": "dt",
    "--test": "file",
    "--export": "folder",
    "--seed": "seed",
    "--to": "folder",
    "--name": "name",
    "--rank-tolerance": "rank_tolerance",
    "--flash": "flash",
}


def call(*arguments: str) -> Result:
    return CliRunner().invoke(app, arguments)


@pytest.fixture
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder with a table, a file and a folder that are none."""
    monkeypatch.chdir(tmp_path)
    rows = [f"2024-01-{1 + i // 24:02d} {i % 24:02d}:00:00,{i * 7 % 11}" for i in range(480)]
    Path("table.csv").write_text("\n".join(["date,T", *rows, ""]), "utf-8")
    rows = [f"{0.1 * i},{i * 5 % 7},{i * 7 % 11}" for i in range(60)]
    Path("log.csv").write_text("\n".join(["t,u,y", *rows, ""]), "utf-8")
    Path("file").write_bytes(bytes(range(256)))
    Path("folder").mkdir()
    parts.model().save("model.npz")
    parts.controller().save("controller.npz")
    return tmp_path


def told(result: Result) -> str:
    """What the answer says; wrong use is told in a box, which breaks lines."""
    assert isinstance(result.exception, SystemExit), result.exception
    assert result.exit_code in (1, 2)
    assert "Traceback" not in result.output
    text = result.stderr.strip()
    if result.exit_code == 1:
        assert text.startswith("Error: ")
        assert "\n" not in text
    return " ".join(text.replace("│", " ").split())


@pytest.mark.parametrize(("command", "option", "values"), TYPED)
def test_wrong_options_are_named_in_a_sentence(
    here: Path, command: tuple[str, ...], option: str, values: tuple[str, ...]
) -> None:
    rest = {"--target": ("--horizon", "3"), "--inputs": ("--outputs", "y")}.get(option, ())
    before = {*here.rglob("*"), here / "runs"}
    for value in values:
        text = told(call(*command, option, value, *rest))
        assert option in text or MEANT.get(option, option) in text, text
    assert not {*here.rglob("*")} - before, "left behind"


def options() -> Iterator[tuple[str, str]]:
    """Command and option for every option that takes a value."""
    for name, command in get_command(app).commands.items():  # type: ignore[attr-defined]
        for parameter in command.params:
            if parameter.param_type_name == "option" and not parameter.is_flag:
                yield name, parameter.opts[0]


def test_every_option_is_in_the_table() -> None:
    assert {(command[0], option) for command, option, _ in TYPED} == set(options())


@pytest.mark.parametrize(
    ("typed", "says"),
    [
        ("runn", "No such command 'runn'"),
        ("run", "Missing argument 'task'"),
        (f"run {ENV} more", "unexpected extra argument"),
        (f"run {ENV} --episode 3", "No such option: --episode"),
        (f"run {ENV} --episodes", "'--episodes' requires an argument"),
        ("run Pendulm-v1", "'Pendulm-v1': there is no such environment. Did you mean Pendulum-v1?"),
        ("run vanderpol-v0", f"Did you mean {ENV}?"),
        ("run nowhere/Nothing-v0", "Gymnasium cannot make 'nowhere/Nothing-v0'"),
        ("run nowhere:Nothing-v0", "Gymnasium cannot make 'nowhere:Nothing-v0'"),
        ("run CartPole-v1", "discrete actions are not supported"),
        ("run pendulm", "Did you mean Pendulum?"),
        ("render", "Missing argument 'folder'"),
        ("render nowhere", "there is no saved run in nowhere: it has no model.npz"),
        ("render folder", "there is no saved run in folder: it has no model.npz"),
        ("render file", "there is no saved run in file"),
        ("tasks more", "unexpected extra argument"),
        ("benchmark Pendulm-v1", "there is no task 'Pendulm-v1'; there are"),
        ("benchmark Pendulm-v1", "Did you mean Pendulum-v1?"),
        ("benchmark --subjects koopmn", "Did you mean koopman?"),
        ("benchmark --conditions nominl", "Did you mean nominal?"),
        ("control", "Missing argument 'model'"),
        ("control nowhere.npz", "there is no file nowhere.npz"),
        ("control table.csv", "table.csv is no lifted-model file"),
        ("control model.npz", "settings hold no horizon"),
        ("control model.npz none.toml", "there is no file none.toml"),
        ("control model.npz file", "file cannot be read as settings; expected TOML"),
        ("export", "Missing argument 'controller'"),
        ("export nowhere.npz", "there is no file nowhere.npz"),
        ("serve", "Missing argument 'controller'"),
        ("serve nowhere.npz", "there is no file nowhere.npz"),
        ("serve model.npz", "holds 'lifted-model'; expected 'controller'"),
        ("forecast", "Missing argument 'data'"),
        ("forecast table.csv", "name a --target and a --horizon"),
        ("forecast none.csv --target T --horizon 3", "there is no file none.csv"),
        ("forecast folder --target T --horizon 3", "there is no file folder"),
        ("forecast file --target T --horizon 3", "file is of no known kind"),
        ("identify", "Missing argument 'logs'"),
        ("identify log.csv --inputs u", "name its columns with --inputs and --outputs"),
        ("identify none.csv --inputs u --outputs y", "there is no file none.csv"),
        ("identify file --inputs u --outputs y", "file is of no known kind"),
        ("identify log.csv --inputs u v --outputs y", "log.csv has no column 'v'"),
    ],
)
def test_wrong_words_are_named_in_a_sentence(here: Path, typed: str, says: str) -> None:
    assert says in told(call(*typed.split(" ")))
