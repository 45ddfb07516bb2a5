"""Random controllers agree with a second statement of their problems, solved by Clarabel."""

from pathlib import Path
from typing import Any

import pytest
import typer
from hypothesis import given, settings
from hypothesis import strategies as st

from examples.campaigns import programs, qp
from examples.campaigns.judge import AGREED, FINE, NONE_FOR_BOTH
from examples.campaigns.kinds import PLANS, Kind
from examples.campaigns.problems import Subject

not_warned = pytest.mark.filterwarnings("ignore")  # of models that grow, and of inaccurate judges
KINDS = st.builds(
    lambda n_more, later, **sizes: Kind(
        n=sizes["d"] + n_more,
        cuts=(0, *sorted({1 + k % sizes["N"] for k in later} - {sizes["N"]})),
        **sizes,
    ),
    later=st.lists(st.integers(0, 30), max_size=4),
    n_more=st.integers(0, 4),
    seed=st.integers(0, 2**32 - 1),
    d=st.integers(1, 3),
    m=st.integers(1, 3),
    N=st.integers(1, 12),
    soft=st.sampled_from([None, False, True]),
    rated=st.booleans(),
    weighed=st.booleans(),
    wide=st.floats(-1.0, 1.0),
    growing=st.sampled_from([1.0, 1.5]),
    n_models=st.integers(1, 2),
    n_measured=st.integers(0, 1),
    delay=st.integers(0, 3),
    plan=st.sampled_from(PLANS),
    final=st.booleans(),
    n_mixed=st.integers(0, 2),
)


@not_warned
@settings(max_examples=30, deadline=None, derandomize=True)
@given(KINDS)
def test_three_hundred_problems_agree_or_are_infeasible_for_both(kind: Kind) -> None:
    assert set(Subject(kind).verdicts(10)) <= set(FINE), kind


@not_warned
def test_a_program_that_two_solvers_give_up_is_left_to_the_third() -> None:
    # Costless inputs, rows that cannot be kept: DAQP cycles, PIQP stalls short of its tolerance.
    wide = -0.8264976395300445
    kind = Kind(seed=98, d=2, n=7, m=3, N=18, soft=False, weighed=False, wide=wide)
    assert set(Subject(kind).verdicts(30)) == {"both infeasible"}


@not_warned
def test_what_daqp_calls_infeasible_is_asked_again_where_the_cost_is_nearly_flat() -> None:
    wide = 0.6018324169149436
    kind = Kind(seed=1_001_591, d=2, n=7, m=2, N=13, soft=True, rated=True, wide=wide)
    assert set(Subject(kind).verdicts(8)) == {"agreed"}


@not_warned
def test_boxes_that_cost_next_to_nothing_to_cross_are_no_measure_of_the_others() -> None:
    cuts = (0, 1, 2, 3, 5, 6, 7, 8, 9, 10, 11, 12, 13)  # only the last output costs anything
    kind = Kind(
        2_147_483_712, d=1, n=6, m=1, N=16, soft=None, rated=True, weighed=False,
        wide=0.7117070596519708, n_measured=1, plan="knots", cuts=cuts,
    )  # fmt: skip
    found = Subject(kind).verdicts(45)
    assert set(found) <= {"agreed", "undecided"}  # cheaper than the judge, slightly
    assert found.count("agreed") > 40


@not_warned
def test_prices_of_bounds_alone_are_weighed_as_exactly_as_costs() -> None:
    cuts = (0, 2, 3, 4, 5, 7, 8, 9, 12, 13, 14, 15, 16, 17)
    kind = Kind(
        5_000_480, d=2, n=4, m=1, N=19, soft=True, weighed=False, wide=0.5158063061320965,
        growing=1.5, n_measured=1, plan="knots", cuts=cuts,
    )  # fmt: skip
    assert set(Subject(kind).verdicts(21)) == {"agreed"}


@not_warned
@pytest.mark.parametrize("first_seed", range(0, 100, 20))
def test_random_programs_agree_or_have_no_solution_for_both(first_seed: int) -> None:
    for seed in range(first_seed, first_seed + 20):
        assert set(programs.verdicts(seed, 3)) <= set(FINE), seed


@pytest.mark.slow
def test_ten_thousand_problems_agree_or_are_infeasible_for_both(tmp_path: Path) -> None:
    figures = qp.campaign("controllers", 10_000, 2**31, tmp_path / "figures.json")
    assert figures["differences"] == []
    assert figures["verdicts"].get("undecided", 0) < 100


def test_an_interrupted_campaign_goes_on_to_the_same_figures(tmp_path: Path) -> None:
    def told(file: str, *counts: int) -> dict[str, Any]:
        for n in counts:
            figures = qp.campaign("programs", n, 7, tmp_path / file)
        return figures | {"seconds": 0.0}

    assert told("interrupted", 20, 60) == told("whole", 60)
    with pytest.raises(typer.BadParameter, match="began with programs and seed 7"):
        qp.campaign("programs", 60, 8, tmp_path / "whole")


def test_differences_are_told_and_kept(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(Subject, "verdicts", lambda self, n: ["agreed", "cost 2 instead of 1"])
    with pytest.raises(typer.Exit) as ended:
        qp.main("controllers", 2, 0, tmp_path / "figures.json")
    assert ended.value.exit_code == 1
    assert "seed 0, step 1: cost 2 instead of 1" in capsys.readouterr().out


@not_warned
@pytest.mark.parametrize("seed", [3221227453, 3221228247])
def test_no_program_whose_cost_falls_for_ever_is_called_solved(seed: int) -> None:
    """DAQP and Clarabel gave points at 1e10 and 7e17 for solutions of the last or but last."""
    assert set(programs.verdicts(seed, 10)) <= {AGREED, NONE_FOR_BOTH}


@not_warned
@pytest.mark.parametrize("seed", [3221227520, 3221227537])
def test_highs_decides_where_clarabel_nearly_thinks_that_nothing_keeps_the_bounds(
    seed: int,
) -> None:
    assert programs.verdicts(seed, 2) == [NONE_FOR_BOTH] * 2
