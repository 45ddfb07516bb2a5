from typing import Any

import numpy as np
import pytest

from koopman_control.evaluation.summary import (
    controller_rows,
    duration,
    error_table,
    facts,
    fallbacks,
    flatten,
    number,
    percent,
    verdict,
)


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (-1268.51, "−1,269"), (1000.0, "1,000"), (-143.13, "−143.1"), (5.094, "5.09"),
        (0.0123, "0.012"), (1e-7, "1.0e−07"), (0.0, "0"), (-0.0, "0"), (float("nan"), "–"),
        (None, "–"),
    ],
)  # fmt: skip
def test_numbers_read_well(value: float | None, text: str) -> None:
    assert number(value) == text


@pytest.mark.parametrize(
    ("micros", "text"),
    [
        (0.5, "0.5 µs"), (243.6, "244 µs"), (999.7, "1 ms"), (4690.0, "4.69 ms"),
        (12.4e6, "12.4 s"), (90e6, "1.5 min"), (None, "–"),
    ],
)  # fmt: skip
def test_durations_have_the_unit_that_suits_them(micros: float | None, text: str) -> None:
    assert duration(micros) == text


def test_a_share_that_is_not_zero_does_not_read_as_zero() -> None:
    assert [percent(x) for x in (0.0, 1e-6, 0.0123, 0.5, 1.0, 19.0)] == [
        "0 %", "under 0.01 %", "1.2 %", "50 %", "100 %", "1,900 %",
    ]  # fmt: skip


def _metrics(**more: Any) -> dict[str, Any]:
    return {
        "returns": [-1.0, -3.0], "return_mean": -2.0, "return_ci95": [-3.0, -1.0],
        "return_iqm": -2.0, "return_worst": -3.0, "fallback_share": 0.0,
        "act_us": {"p50": 100.0, "p99": 200.0, "max": 300.0}, **more,
    }  # fmt: skip


def test_fallbacks_are_told_by_rung() -> None:
    assert fallbacks(0.0, {"solved": 400}) == "0 %"
    rungs = {"solved": 9_000, "softened": 1_200, "safe": 3}
    assert fallbacks(1203 / 10203, rungs) == "12 % (safe 3, softened 1,200)"
    assert fallbacks(0.5, None) == "50 %"


def test_the_verdict_says_return_cost_comparison_and_speed() -> None:
    text = verdict(_metrics(data_steps=1600, references={"random": -9.0}, settings={"dt": 0.05}))
    assert text == (
        "Learned from 1,600 environment steps, the controller returns −2 on average over 2 "
        "evaluation episodes (95 % interval −3 to −1); the worst returns −3. For comparison: "
        "random −9. A step takes 100 µs (99 % under 200 µs), 0.2 % of the time step of 50 ms."
    )


def test_the_verdict_leaves_out_what_is_not_known() -> None:
    text = verdict(_metrics(return_ci95=[None, None]))
    assert text == (
        "The controller returns −2 on average over 2 evaluation episodes; the worst returns −3. "
        "A step takes 100 µs (99 % under 200 µs)."
    )


def test_references_with_returns_are_compared_seed_by_seed() -> None:
    metrics = _metrics(references={"random": -12.0, "optimum": -1.5})
    own, random, optimum = controller_rows(metrics, {"random": np.array([-11.0, -13.0])})
    assert own.own and own.interval == "−3 to −1"
    assert random.difference == "+10 (10 to 10)"
    assert (random.mean, random.worst) == ("−12", "−13")
    assert (optimum.mean, optimum.interval, optimum.difference) == ("−1.50", "–", "−0.5")


def test_references_on_other_seeds_are_compared_without_an_interval() -> None:
    row = controller_rows(
        _metrics(references={"optimum": -1.0}), {"optimum": np.array([-1.0] * 3)}
    )[1]
    assert row.difference == "−1"
    assert row.worst == "−1"


def test_violations_say_whether_the_environment_reports_any() -> None:
    silent = dict(facts(_metrics(violations={"steps": 0, "total": None, "episodes": 0})))
    clean = dict(facts(_metrics(violations={"steps": 0, "total": 0.0, "episodes": 0})))
    broken = dict(facts(_metrics(violations={"steps": 3, "total": 1.5, "episodes": 2})))
    assert silent["Constraint violations"] == "none reported by this environment"
    assert clean["Constraint violations"] == "none"
    assert broken["Constraint violations"] == "3 steps in 2 episodes, 1.50 in sum"


def test_prediction_errors_are_thinned_out_to_a_few_horizons() -> None:
    horizons, table = error_table({"linear": list(range(1, 31)), "relifted": [0.5]}) or ([], {})
    assert horizons == [1, 2, 5, 10, 20, 30]
    assert table["linear"] == ["1", "2", "5", "10", "20", "30"]
    assert table["relifted"] == ["0.5", "–", "–", "–", "–", "–"]
    assert error_table({}) is None


def test_nested_settings_become_dotted_names() -> None:
    assert flatten({"a": 1, "b": {"c": None, "d": [1, 2]}}) == {
        "a": "1",
        "b.c": "–",
        "b.d": "[1, 2]",
    }
