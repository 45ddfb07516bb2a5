"""Settings as a TOML file holds them make the controller that code would make."""

import tomllib
from typing import Any

import numpy as np
import pytest

from koopman_control import Bounds, Cost, Inputs, KalmanObserver, KoopmanMPC, OffsetFree, Search
from koopman_control.mpc import (
    Blocks,
    Knots,
    MovingHorizonEstimator,
    Observed,
    SolverSettings,
    controller_from,
)
from tests.mpc.conftest import exact_model

MODEL = exact_model([[1.0, 0.1], [-0.1, 0.95]], [[0.0], [0.1]], action_bounds=[[-1.0], [1.0]])
WHOLE = """
horizon = 8
rollout = "relifted"
solver = { name = "daqp", options = { iter_limit = 500 } }
reference = { columns = [1, "none"], offset = [0.0, 0.1] }
[cost]
Q = [1.0, 0.1]
R = 0.01
terminal = "riccati"
[bounds]
rates = 0.3
outputs = [[-1.0, -inf], [1.0, inf]]
polytope = { G_y = [[1.0, 1.0]], G_u = [[0.5]], g = [2.0] }
terminal_set = { H = [[1.0, 1.0]], h = [1.5] }
[search]
iterations = 2
[inputs]
knots = [0, 2, 5]
delay = 1
safe = 0.1
[estimator]
kind = "kalman"
measurement_noise = [0.05, 0.1]
"""


def test_a_file_of_settings_makes_the_controller_that_code_makes() -> None:
    by_file = controller_from(MODEL, tomllib.loads(WHOLE))
    by_code = KoopmanMPC(
        MODEL,
        8,
        cost=Cost(Q=[1.0, 0.1], R=0.01, terminal="riccati"),
        bounds=Bounds(
            rates=0.3,
            outputs=([-1.0, -np.inf], [1.0, np.inf]),
            polytope=([[1.0, 1.0]], [[0.5]], [2.0]),
            terminal_set=([[1.0, 1.0]], [1.5]),
        ),
        reference=Observed([1, None], offset=[0.0, 0.1]),
        rollout="relifted",
        search=Search(iterations=2),
        inputs=Inputs(Knots([0, 2, 5]), delay=1, safe=0.1),
        estimator=KalmanObserver([0.05, 0.1]),
        solver=SolverSettings("daqp", {"iter_limit": 500}),
    )
    for y in ([0.5, 0.1], [0.4, 0.0], [0.2, -0.1]):
        np.testing.assert_array_equal(by_file.act(y), by_code.act(y))


@pytest.mark.parametrize(
    ("estimator", "kind"),
    [
        ({"kind": "offset-free", "offset_noise": 0.2}, OffsetFree),
        ({"kind": "moving-horizon", "window": 3}, MovingHorizonEstimator),
    ],
)
def test_estimators_go_by_their_kind(estimator: dict[str, Any], kind: type[Any]) -> None:
    asked = {"horizon": 3, "estimator": estimator | {"measurement_noise": 0.1}}
    if kind is OffsetFree:
        asked["rollout"] = "relifted"
    assert isinstance(controller_from(MODEL, asked).estimator, kind)


def test_blocks_are_another_parametrization() -> None:
    made = controller_from(MODEL, {"horizon": 6, "inputs": {"blocks": 3}})
    assert made.inputs.parametrization == Blocks(3)


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({}, "settings hold no horizon"),
        ({"horizon": 3, "referenc": 1.0}, "Did you mean reference?"),
        ({"horizon": 3, "cost": {"q": 1.0}}, "Did you mean Q?"),
        ({"horizon": 3, "cost": 1.0}, "cost is 1.0; expected a table"),
        ({"horizon": "3"}, "horizon is '3'"),
        ({"horizon": 3, "Q": "much"}, "Q is 'much'"),
        ({"horizon": 3, "bounds": {"polytope": {"g": [1.0]}}}, "bounds.polytope lacks G_y, G_u"),
        ({"horizon": 3, "inputs": {"knots": 2, "blocks": 2}}, "both knots and blocks"),
        ({"horizon": 3, "estimator": {"kind": "calman"}}, "estimator's kind is 'calman'"),
        ({"horizon": 3, "estimator": "kalman"}, "estimator's kind is 'kalman'"),
        ({"horizon": 3, "estimator": {"kind": "kalman"}}, "lacks measurement_noise"),
        ({"horizon": 3, "reference": {"offset": 1.0}}, "reference lacks columns"),
        ({"horizon": 3, "reference": {"columns": ["x"]}}, "columns is"),
        ({"horizon": 3, "solver": "gurobi"}, "solver is 'gurobi'"),
    ],
)
def test_what_is_wrong_is_named(settings: dict[str, Any], message: str) -> None:
    with pytest.raises((TypeError, ValueError), match=message.replace("?", r"\?")):
        controller_from(MODEL, settings)


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"columns": []}, "columns is"),
        ({"columns": [-1]}, "expected a column of the observation, from 0"),
        ({"columns": [0, None], "offset": [1.0]}, "offset has shape"),
        ({"columns": [0, None], "gain": [1.0, 2.0, 3.0]}, "gain has shape"),
    ],
)
def test_targets_that_cannot_be_read_are_refused(settings: Any, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        Observed(**settings)


def test_an_observed_target_is_offset_plus_gain_times_column() -> None:
    target = Observed([2, None, 0], offset=[0.0, 1.0, 2.0], gain=[1.0, 5.0, 10.0])
    np.testing.assert_array_equal(target(np.array([0.5, np.nan, 0.25])), [0.25, 1.0, 7.0])
    with pytest.raises(ValueError, match="has 1 entries; a target is to be read off column 2"):
        target(np.zeros(1))
