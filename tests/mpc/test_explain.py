"""`explain` names what is active, what is broken, and what the problem became."""

from collections.abc import Callable
from typing import Any

import cvxpy as cp
import numpy as np
import pytest

from koopman_control.identification import LiftedModel
from koopman_control.mpc import Bounds, KoopmanMPC

atoms: Any = cp  # CVXPY's atoms carry no type information
Make = Callable[..., LiftedModel]
N = 10


@pytest.fixture
def model(linear_model: Make) -> LiftedModel:
    """A point that goes one metre further per step at unit input."""
    return linear_model([[1.0]], [[1.0]], action_bounds=[[-1.0], [1.0]])


def test_before_the_first_step_it_tells_the_sizes(model: LiftedModel) -> None:
    mpc = KoopmanMPC(model, N, 1.0, 0.5, output_bounds=(-3.0, 3.0), bounds=Bounds(rates=0.5))
    told = mpc.explain()
    assert told.variables == {"u": N, "y": N, "others": N}
    program = told.program
    assert program is not None
    assert (program.variables, program.bounds) == (N, N)
    assert (program.hard_rows, program.soft_rows) == (N, N)
    Gamma = np.tril(np.ones((N, N)))  # a sum
    assert program.condition == pytest.approx(np.linalg.cond(Gamma.T @ Gamma + 0.5 * np.eye(N)))
    assert (told.active, told.broken, told.rungs) == ((), (), {})


def test_active_bounds_are_told_by_name_and_step(model: LiftedModel) -> None:
    mpc = KoopmanMPC(model, N, reference=5.0, output_bounds=(-np.inf, 3.5))
    mpc.act([0.0])
    # Full speed for three steps, half a step more, then at rest at the wall.
    assert mpc.explain().active == (
        "high bound of input 0, steps 0-2",
        "high bound of output 0, steps 4-10",
    )
    mpc.act([3.5])
    told = mpc.explain()
    assert told.active == ("high bound of output 0, steps 1-10",)
    assert told.rungs == {"solved": 2}


def test_rate_bounds_count_from_the_input_applied_before(model: LiftedModel) -> None:
    mpc = KoopmanMPC(model, N, R=1e-3, reference=50.0, bounds=Bounds(rates=0.375))
    mpc.act([0.0])
    assert mpc.explain().active[1] == "high rate bound of input 0, steps 0-1"
    mpc.act([0.375])
    assert mpc.explain().active[1] == "high rate bound of input 0, step 0"


def test_broken_bounds_are_told_and_the_softened_step_counted(model: LiftedModel) -> None:
    mpc = KoopmanMPC(model, N, output_bounds=(-np.inf, 3.5), bounds=Bounds(soft=False))
    mpc.act([6.0])
    told = mpc.explain()
    assert told.broken == ("high bound of output 0, steps 1-2",)
    assert told.rungs == {"softened": 1}
    mpc.reset()
    assert mpc.explain().rungs == {}


def test_constraints_of_the_users_own_are_told_by_what_they_say(model: LiftedModel) -> None:
    mpc = KoopmanMPC(model, N, reference=5.0).constrain(
        lambda y, u, p: [atoms.sum(u) <= p.budget, u[2:, 0] >= 0.25], budget=3.0
    )
    mpc.act([0.0])
    active = mpc.explain().active
    assert active[0] == "high bound of input 0, step 0"
    assert active[1].endswith("<= budget, row 0")
    assert active[2].startswith("0.25 <= u[2:10, 0], rows ")


def test_it_prints_one_line_for_each_entry(model: LiftedModel) -> None:
    mpc = KoopmanMPC(model, N, reference=5.0, output_bounds=(-np.inf, 3.5), solver="daqp")
    mpc.act([0.0])
    lines = str(mpc.explain()).splitlines()
    assert lines[0] == f"model   {len(model.A)} lifted states, linear roll-out, N = 10"
    assert lines[1] == "stated  30 variables: 10 in u, 10 in y, 10 in others"
    assert lines[2].startswith("solved  10 variables (10 bounded), 0 hard and 10 soft rows, cond")
    assert lines[2].endswith("by daqp")
    assert lines[3:5] == ["inputs  every step is free", "steps   1 solved"]
    assert lines[5].startswith("active  high bound of input 0, steps 0-2; high bound of output 0")
    assert lines[6] == "broken  none"


def test_of_a_nonlinear_roll_out_the_program_at_the_target_is_told(model: LiftedModel) -> None:
    settings: dict[str, Any] = {"Q": 1.0, "R": 0.5}
    linear = KoopmanMPC(model, N, **settings).explain().program
    told = KoopmanMPC(model, N, rollout="relifted", **settings).explain()
    assert "relifted roll-out" in told.model
    assert told.program is not None and linear is not None
    assert told.program.condition == pytest.approx(linear.condition, rel=1e-9)


def test_a_step_tells_its_iterations_and_where_its_time_went(model: LiftedModel) -> None:
    mpc = KoopmanMPC(model, N, reference=5.0, output_bounds=(-np.inf, 3.5))
    mpc.act([0.0])
    step = mpc.last
    assert step is not None
    assert step.iterations > 0
    assert min(step.times) >= 0.0
    assert 0.0 < sum(step.times) <= step.seconds


def test_it_works_through_cvxpy_too(model: LiftedModel) -> None:
    with pytest.warns(UserWarning, match="through CVXPY itself"):
        mpc = KoopmanMPC(model, N, reference=5.0, solver="cvxpy")
    mpc.act([0.0])
    told = mpc.explain()
    assert told.program is None
    assert "the problem itself, by CVXPY" in str(told)
