"""Wrong settings of the controller are named when it is made."""

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

from koopman_control.identification import LiftedModel
from koopman_control.mpc import KoopmanMPC

Make = Callable[..., LiftedModel]


@pytest.fixture
def model(linear_model: Make) -> LiftedModel:
    return linear_model(np.eye(2), [[0.0], [1.0]], action_bounds=[[-1.0], [1.0]])


WRONG: list[tuple[dict[str, Any], type[Exception], str]] = [
    ({"horizon": 0}, ValueError, "horizon is 0; expected at least 1"),
    ({"horizon": 2.5}, TypeError, "horizon is 2.5; expected an integer"),
    ({"Q": [1.0, 2.0, 3.0]}, ValueError, r"Q has shape \(3,\); expected a number, .*\(2, 2\)"),
    ({"Q": [[1.0, 0.0], [0.0, -1.0]]}, ValueError, "Q has eigenvalue -1; expected .* semidefinite"),
    ({"Q": [1.0, np.nan]}, ValueError, "Q holds nan"),
    ({"R": -0.1}, ValueError, "R has eigenvalue -0.1"),
    ({"S": np.eye(2)}, ValueError, r"S has shape \(2, 2\)"),
    ({"terminal": [1.0]}, ValueError, r"terminal has shape \(1,\)"),
    ({"terminal": "lqr"}, ValueError, "terminal is 'lqr'; expected .* 'riccati'"),
    ({"input_bounds": (1.0, -1.0)}, ValueError, "input_bounds is .*; expected each low"),
    ({"input_bounds": [1.0, 2.0, 3.0]}, ValueError, r"input_bounds has shape \(3,\)"),
    ({"output_bounds": (np.nan, 1.0)}, ValueError, "output_bounds is"),
    ({"output_bounds": [[0.0, 1.0], [1.0, 0.0]]}, ValueError, "output_bounds is .* each low"),
    ({"rate_bounds": 0.0}, ValueError, r"rate_bounds is \[0.0\]; expected positive"),
    ({"rate_bounds": [0.1, 0.1]}, ValueError, r"rate_bounds has shape \(2,\)"),
    ({"slack_weight": 0.0}, ValueError, "slack_weight is 0.0; expected"),
    ({"slack_weight": (1.0, 0.0)}, ValueError, "slack_weight is .* quadratic one above 0"),
    ({"slack_weight": [-1.0, 1.0]}, ValueError, "slack_weight is .* at least 0"),
    ({"slack_weight": np.ones((2, 3))}, ValueError, r"slack_weight has shape \(2, 3\)"),
    ({"Q": np.ones((3, 2))}, ValueError, r"Q has shape \(3, 2\); .*each of the 4 steps"),
    ({"R": [1.0, -1.0, 1.0, 1.0]}, ValueError, "R has eigenvalue -1"),
    ({"linear_output": np.ones(3)}, ValueError, r"linear_output has shape \(3,\); .*\(4, 2\)"),
    ({"linear_input": np.nan}, ValueError, "linear_input holds nan"),
    ({"soft": 1.0}, ValueError, "soft is 1.0; expected True, False or 2 of them"),
    ({"soft": [True]}, ValueError, r"soft is \[True\]"),
    ({"polytope": (np.eye(2), [1.0])}, TypeError, "polytope is .* expected a tuple"),
    (
        {"polytope": (np.eye(3), np.ones((3, 1)), np.ones(3))},
        ValueError,
        "polytope's G_y has shape",
    ),
    ({"polytope": (np.eye(2), np.ones((2, 2)), [1, 1])}, ValueError, "polytope's G_u has shape"),
    ({"output_bounds": np.zeros((2, 3, 2))}, ValueError, r"output_bounds .* \(2, 4, 2\)"),
    ({"terminal_bounds": (1.0, -1.0)}, ValueError, "terminal_bounds is .*; expected each low"),
    (
        {"terminal_bounds": (2.0, 3.0), "output_bounds": (-1.0, 1.0)},
        ValueError,
        "terminal_bounds .* leave nothing for the last state",
    ),
    (
        {"rollout": "relifted", "input_bounds": np.arange(8.0).reshape(1, 4, 2).transpose(2, 1, 0)},
        ValueError,
        "input_bounds leave no input that is allowed at all steps",
    ),
    ({"reference": np.zeros((3, 2))}, ValueError, r"reference has shape \(3, 2\); .*\(4, 2\)"),
    ({"reference": np.zeros((9, 3))}, ValueError, r"reference has shape \(9, 3\)"),
    ({"reference": [1.0, 2.0, 3.0]}, ValueError, r"reference has shape \(3,\); .*\(4, 2\)"),
    ({"reference": np.inf}, ValueError, "reference holds inf"),
    ({"input_reference": [1.0, 2.0]}, ValueError, r"input_reference has shape \(2,\)"),
    (
        {"input_reference": lambda y: y[0], "reference": np.zeros(3)},
        ValueError,
        r"^reference has shape \(3,\)",
    ),
    ({"safe_input": [0.0, 0.0]}, ValueError, r"safe_input has shape \(2,\)"),
    ({"solver": "gurobi"}, ValueError, "solver is 'gurobi'; expected one of auto, daqp, osqp"),
    ({"rollout": "quadratic"}, ValueError, "rollout is 'quadratic'; expected one of linear"),
    ({"rollout": "bilinear"}, ValueError, "rollout is 'bilinear' but the model has no input coup"),
    ({"iterations": 0}, ValueError, "iterations is 0"),
    ({"first_iterations": 0}, ValueError, "first_iterations is 0"),
    ({"n_guesses": -1}, ValueError, "n_guesses is -1; expected at least 0"),
    ({"first_guesses": 1.5}, TypeError, "first_guesses is 1.5"),
]


@pytest.mark.parametrize(("settings", "error", "message"), WRONG)
def test_a_wrong_setting_is_named(
    model: LiftedModel, settings: dict[str, Any], error: type[Exception], message: str
) -> None:
    with pytest.raises(error, match=message):
        KoopmanMPC(model, **{"horizon": 4, **settings})


def test_a_linear_roll_out_refuses_a_bilinear_model(nonlinear_model: Make) -> None:
    with pytest.raises(ValueError, match=r"rollout is 'linear' but the model has input couplings"):
        KoopmanMPC(nonlinear_model(bilinear=True), 4)


def test_the_input_bounds_default_to_those_of_the_model(model: LiftedModel) -> None:
    default = KoopmanMPC(model, 4, reference=100.0)
    np.testing.assert_allclose(default.act([0.0, 0.0]), [1.0])
    given = KoopmanMPC(model, 4, reference=100.0, input_bounds=(-0.5, 0.5))
    np.testing.assert_allclose(given.act([0.0, 0.0]), [0.5])


def test_weights_as_number_diagonal_and_matrix_mean_the_same(model: LiftedModel) -> None:
    x = [0.3, -0.2]
    actions = [
        KoopmanMPC(model, 6, Q, R, S).act(x)
        for Q, R, S in ((2.0, 0.1, 0.3), ([2.0, 2.0], [0.1], [0.3]), (2 * np.eye(2), [[0.1]], 0.3))
    ]
    np.testing.assert_allclose(actions[1:], actions[:1] * 2, rtol=1e-12)


def test_targets_as_number_vector_rows_and_function_mean_the_same(model: LiftedModel) -> None:
    targets: list[Any] = [
        0.5,
        [0.5, 0.5],
        np.full((6, 2), 0.5),
        lambda y: 0.5,
        lambda y: np.full(2, 0.5),
    ]
    actions = [KoopmanMPC(model, 6, reference=target).act([0.3, -0.2]) for target in targets]
    np.testing.assert_allclose(actions[1:], actions[:1] * 4, rtol=1e-12)


def test_a_function_of_the_observation_is_not_called_at_construction(model: LiftedModel) -> None:
    def target(y: Any) -> float:
        assert y.shape == (2,)
        return float(y[1])

    mpc = KoopmanMPC(model, 4, reference=[0.0, 0.0], input_reference=target, terminal="riccati")
    mpc.act([0.1, 0.2])
    assert mpc.last is not None
    assert mpc.last.rung == "solved"
