"""A served controller answers, keeps time, survives silence and nonsense, and logs every step."""

from __future__ import annotations

import csv
import io
import json
import os
import subprocess
import sys
import threading
import time
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from koopman_control import Bounds, Inputs, KoopmanMPC, LiftedModel, from_table
from koopman_control.common import FileNotWritableError
from koopman_control.deploy import Lines, Message, ServingReport, StepLog, serve

DT = 0.02
MODEL = LiftedModel.from_arrays(
    [[1.0, DT], [0.0, 1.0]],
    [[0.0], [DT]],
    dt=DT,
    state_names=["x", "v"],
    action_bounds=[[-1.0], [1.0]],
)


def controller(**settings: Any) -> KoopmanMPC:
    return KoopmanMPC(MODEL, 10, R=0.01, **settings)


def answered(mpc: KoopmanMPC, said: list[Any], **how: Any) -> tuple[list[Any], ServingReport]:
    """Serve lines that lie ready, and return what is written."""
    text = "".join((one if isinstance(one, str) else json.dumps(one)) + "\n" for one in said)
    written = io.BytesIO()
    report = serve(mpc, Lines(io.BytesIO(text.encode()), written), **how)
    return [json.loads(line) for line in written.getvalue().splitlines()], report


def test_every_line_is_answered_as_the_controller_would() -> None:
    seen = [[0.5, 0.0], [0.4, -0.1], [0.3, None], [0.2, -0.1]]
    answers, report = answered(controller(), [seen[0], {"y": seen[1]}, *seen[2:]])
    alone = controller()
    alone.reset()
    for y, answer in zip(seen, answers, strict=True):
        expected = alone.act(np.array(y, float))
        assert answer["u"] == expected.tolist()
    assert [answer["step"] for answer in answers] == [0, 1, 2, 3]
    assert (report.steps, report.runs) == (4, 1)


def test_what_acted_and_what_is_measured_is_passed_on() -> None:
    model = LiftedModel.from_arrays(
        [[1.0, DT], [0.0, 1.0]], [[0.0, 0.0], [DT, DT]], action_bounds=[[-1, -1], [1, 1]]
    )

    def made() -> KoopmanMPC:
        rates = Bounds(rates=0.1)
        return KoopmanMPC(model, 10, R=0.01, bounds=rates, inputs=Inputs(measured=[1]))

    answers, _ = answered(
        made(),
        [{"y": [0.5, 0.0], "disturbance": [0.2]}, {"y": [0.4, 0.0], "applied": [-0.5]}],
    )
    alone = made()
    alone.reset()
    first = alone.act([0.5, 0.0], [0.2])
    second = alone.act([0.4, 0.0], applied=[-0.5])
    assert [answer["u"] for answer in answers] == [first.tolist(), second.tolist()]
    assert second[0] <= -0.4


@pytest.mark.parametrize(
    ("line", "says"),
    [
        ("nonsense", "Expecting value"),
        ("3", "expected a list or an object"),
        ({"z": [0.0, 0.0]}, "there is no field 'z'"),
        ({"disturbanc": [0.0]}, "Did you mean disturbance?"),
        ([0.0, "a"], "y is [0.0, 'a']; expected a list of numbers"),
        ([0.0], "y has shape (1,); expected (2,)"),
        ({"y": [0.1, 0.0], "parameters": {"top": 1.0}}, "no parameter"),
        ({"y": [0.1, 0.0], "parameters": 3}, "parameters is 3; expected an object"),
        ({"y": [0.1, 0.0], "disturbance": [0.1]}, "Inputs(measured="),
        ("[" * 100_000, "recursion"),
    ],
)
def test_nonsense_is_named_and_an_action_within_bounds_is_given(line: Any, says: str) -> None:
    answers, report = answered(controller(), [[0.5, 0.0], line, [0.4, 0.0]])
    assert len(answers) == 3
    assert says in answers[1]["error"]
    assert all(abs(answer["u"][0]) <= 1.0 for answer in answers)
    assert (report.errors, "error" in answers[2]) == (1, False)
    assert "1 lines of no use" in str(report)


def test_before_the_first_observation_and_after_a_wrong_one_the_safe_input_acts() -> None:
    answers, _ = answered(controller(inputs=Inputs(safe=0.25)), [[0.5], {}, [0.5, 0.0]])
    assert [answer["rung"] for answer in answers] == ["safe", "safe", "solved"]
    assert [answer["u"] for answer in answers[:2]] == [[0.25], [0.25]]


def test_a_reset_begins_a_new_run_under_the_input_sent_last() -> None:
    said = [[0.5, 0.0], {"y": [0.5, 0.0], "reset": True}]
    answers, report = answered(controller(bounds=Bounds(rates=0.1)), said)
    assert report.runs == 2
    assert answers[1]["u"][0] == pytest.approx(answers[0]["u"][0] - 0.1, abs=1e-6)


def test_parameters_are_set() -> None:
    mpc = controller().constrain(lambda y, u, p: u <= p.top, top=1.0)
    answers, _ = answered(mpc, [[-0.5, 0.0], {"y": [-0.5, 0.0], "parameters": {"top": 0.2}}])
    assert answers[0]["u"][0] > 0.4
    assert answers[1]["u"][0] <= 0.2 + 1e-7


class Pipe:
    """A plant at the other end of two pipes."""

    def __init__(self) -> None:
        inward, self._out = os.pipe()
        self._in, outward = os.pipe()
        self.reader, self.writer = os.fdopen(inward, "rb"), os.fdopen(outward, "wb")
        self._answers = os.fdopen(self._in, "rb")

    def say(self, *y: float) -> None:
        os.write(self._out, json.dumps(y).encode() + b"\n")

    def close(self) -> None:
        os.close(self._out)

    def answers(self) -> list[Any]:
        self.writer.close()
        with self._answers, self.reader:
            return [json.loads(line) for line in self._answers]


def test_with_a_rate_silence_is_held_through_and_then_led_to_safety() -> None:
    pipe, acted = Pipe(), threading.Event()

    def plant() -> None:
        pipe.say(-0.5, 0.0)
        acted.wait(30.0)  # of the time that a start takes nothing is asked here
        for _ in range(10):
            pipe.say(-0.5, 0.0)
            time.sleep(DT)
        time.sleep(12 * DT)
        pipe.close()

    thread = threading.Thread(target=plant)
    thread.start()
    mpc = controller(bounds=Bounds(rates=0.2), inputs=Inputs(safe=0.0))
    report = serve(
        mpc,
        Lines(pipe.reader, pipe.writer),
        rate=1.0 / DT,
        patience=2,
        on_step=lambda *_: acted.set(),
    )
    thread.join()
    answers = pipe.answers()
    missed = [k for k in range(1, len(answers)) if answers[k]["rung"] == "held"]
    assert missed, [answer["rung"] for answer in answers]
    for k in missed:
        assert answers[k]["u"] == answers[k - 1]["u"]
    inputs = [answer["u"][0] for answer in answers]
    assert max(np.abs(np.diff([0.0, *inputs]))) <= 0.2 + 1e-9
    assert answers[-1]["rung"] == "safe"
    assert inputs[-1] < max(inputs)
    assert report.missed >= 4
    assert mpc.search.deadline is None, "left as it was"


def test_an_input_that_was_held_is_taken_to_have_acted(monkeypatch: pytest.MonkeyPatch) -> None:
    mpc, told = controller(), []
    act = KoopmanMPC.act

    def noted(self: KoopmanMPC, y: Any, disturbance: Any = None, *, applied: Any = None) -> Any:
        told.append(applied)
        return act(self, y, disturbance, applied=applied)

    monkeypatch.setattr(KoopmanMPC, "act", noted)
    answers, _ = answered(mpc, [[-0.5, 0.0], {}, [-0.4, 0.0]])
    held = answers[1]["u"]
    assert answers[1]["rung"] == "held"
    assert told[-1].tolist() == held == answers[0]["u"]


def test_the_log_is_read_again(tmp_path: Path) -> None:
    path = tmp_path / "motion.csv"
    log = StepLog(path, MODEL, 1)
    said = [[0.5, 0.0], {"y": [0.4, 0.1], "applied": [0.125]}, {"y": [0.3, None]}, [0.2, 0.3]]
    answers, _ = answered(controller(), said, log=log)
    with path.open(encoding="utf-8", newline="") as file:
        rows = list(csv.DictReader(file))
    assert [row["x"] for row in rows] == ["0.5", "0.4", "0.3", "0.2"]
    assert [row["v"] for row in rows] == ["0.0", "0.1", "", "0.3"]
    assert float(rows[0]["u0"]) == 0.125, "what acted, not what was sent"
    assert float(rows[1]["u0"]) == answers[1]["u"][0]
    assert [row["rung"] for row in rows] == [answer["rung"] for answer in answers]
    table = {name: [float(row[name] or "nan") for row in rows] for name in ("x", "v", "u0")}
    table["t"] = [DT * k for k in range(4)]
    how: dict[str, Any] = {"time": "t", "missing": ["none"], "dt": DT, "max_gap": 1.5 * DT}
    runs, _ = from_table(table, ["x", "v"], ["u0"], **how)
    np.testing.assert_array_equal(runs[0].observations[:, 0], [0.5, 0.4])
    with pytest.raises(FileNotWritableError, match=r"there is a file .* already"):
        StepLog(path, MODEL, 1)


def test_a_log_that_cannot_be_written_ends_the_log_and_not_the_loop(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    log = StepLog(tmp_path / "motion.csv", MODEL, 1)

    def full(self: StepLog) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(StepLog, "_open", full)
    answers, _ = answered(controller(), [[0.5, 0.0], [0.4, 0.0]], log=log)
    assert [answer["rung"] for answer in answers] == ["solved", "solved"]
    assert "No space left on device" in log.error
    with pytest.raises(FileNotWritableError, match="no such folder"):
        StepLog(tmp_path / "nowhere" / "motion.csv", MODEL, 1)


@pytest.mark.parametrize(
    ("how", "message"),
    [
        ({"rate": 0.0}, "rate is 0.0"),
        ({"patience": -1}, "patience is -1"),
        ({"deadline": -1.0}, "deadline is -1.0"),
        ({"n_steps": 0}, "n_steps is 0"),
    ],
)
def test_numbers_out_of_range_are_refused(how: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        answered(controller(), [[0.0, 0.0]], **how)


def test_a_solver_without_a_clock_takes_no_deadline() -> None:
    with pytest.raises(ValueError, match="'piqp' knows no time limit"):
        answered(controller(solver="piqp"), [[0.0, 0.0]], deadline=100.0)


def test_messages_put_together_keep_all_that_was_said() -> None:
    lines = Lines(
        io.BytesIO(b'{"y": [1], "parameters": {"a": 1}}\n[2]\n{"reset": true}\n'), io.BytesIO()
    )
    time.sleep(0.05)
    message, came = lines.newest(0.0)
    assert message is not None and came == 3
    assert message.y is not None and message.y.tolist() == [2.0]
    assert (message.reset, message.parameters) == (True, {"a": 1})
    assert lines.ended


def test_a_line_too_long_is_no_message() -> None:
    assert "expected at most" in Message.parsed(b"[" + b"0," * (1 << 20) + b"0]").error


def test_the_command_serves_a_saved_controller_and_ends_by_ctrl_c_with_the_safe_input(
    tmp_path: Path,
) -> None:
    controller(inputs=Inputs(safe=0.125)).save(tmp_path / "controller.npz")
    command = [sys.executable, "-m", "koopman_control.cli", "serve", "controller.npz"]
    code = "from koopman_control.cli import app; app()"
    command[1:3] = ["-c", code]
    with subprocess.Popen(
        [*command, "--rate", "50", "--log", "motion.csv"],
        cwd=tmp_path,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
    ) as served:
        assert served.stdin is not None and served.stdout is not None
        served.stdin.write(b"[0.5, 0.0]\n")
        served.stdin.flush()
        first = json.loads(served.stdout.readline())
        served.send_signal(2)
        out, err = served.communicate(timeout=30)
    last = json.loads(out.splitlines()[-1])
    assert first["rung"] in ("safe", "solved")
    assert (last["u"], last["last"]) == ([0.125], True)
    assert b"Log: motion.csv" in err
    assert (tmp_path / "motion.csv").read_text().startswith("time,run,x,v,u0,rung")
