"""Wrong settings of the controller are named when it is made."""

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

from koopman_control.identification import LiftedModel
from koopman_control.mpc import Bounds, Cost, Inputs, KoopmanMPC, Search

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
    ({"cost": (Cost, {"S": np.eye(2)})}, ValueError, r"S has shape \(2, 2\)"),
    ({"cost": (Cost, {"terminal": [1.0]})}, ValueError, r"terminal has shape \(1,\)"),
    ({"cost": (Cost, {"terminal": "lqr"})}, ValueError, "terminal is 'lqr'; expected .* 'riccati'"),
    ({"input_bounds": (1.0, -1.0)}, ValueError, "input_bounds is .*; expected each low"),
    ({"input_bounds": [1.0, 2.0, 3.0]}, ValueError, r"input_bounds has shape \(3,\)"),
    ({"output_bounds": (np.nan, 1.0)}, ValueError, "output_bounds is"),
    ({"output_bounds": [[0.0, 1.0], [1.0, 0.0]]}, ValueError, "output_bounds is .* each low"),
    ({"bounds": (Bounds, {"rates": 0.0})}, ValueError, r"rates is \[0.0\]; expected positive"),
    ({"bounds": (Bounds, {"rates": [0.1, 0.1]})}, ValueError, r"rates has shape \(2,\)"),
    ({"bounds": (Bounds, {"slack_weight": 0.0})}, ValueError, "slack_weight is 0.0; expected"),
    (
        {"bounds": (Bounds, {"slack_weight": (1.0, 0.0)})},
        ValueError,
        "slack_weight is .* quadratic one above 0",
    ),
    (
        {"bounds": (Bounds, {"slack_weight": [-1.0, 1.0]})},
        ValueError,
        "slack_weight is .* at least 0",
    ),
    (
        {"bounds": (Bounds, {"slack_weight": np.ones((2, 3))})},
        ValueError,
        r"slack_weight has shape \(2, 3\)",
    ),
    ({"Q": np.ones((3, 2))}, ValueError, r"Q has shape \(3, 2\); .*each of the 4 steps"),
    ({"R": [1.0, -1.0, 1.0, 1.0]}, ValueError, "R has eigenvalue -1"),
    (
        {"cost": (Cost, {"linear_output": np.ones(3)})},
        ValueError,
        r"linear_output has shape \(3,\); .*\(4, 2\)",
    ),
    ({"cost": (Cost, {"linear_input": np.nan})}, ValueError, "linear_input holds nan"),
    (
        {"bounds": (Bounds, {"soft": 1.0})},
        ValueError,
        "soft is 1.0; expected True, False or 2 of them",
    ),
    ({"bounds": (Bounds, {"soft": [True]})}, ValueError, r"soft is \[True\]"),
    (
        {"bounds": (Bounds, {"polytope": (np.eye(2), [1.0])})},
        TypeError,
        "polytope is .* expected a tuple",
    ),
    (
        {"bounds": (Bounds, {"polytope": (np.eye(3), np.ones((3, 1)), np.ones(3))})},
        ValueError,
        "polytope's G_y has shape",
    ),
    (
        {"bounds": (Bounds, {"polytope": (np.eye(2), np.ones((2, 2)), [1, 1])})},
        ValueError,
        "polytope's G_u has shape",
    ),
    ({"output_bounds": np.zeros((2, 3, 2))}, ValueError, r"output_bounds .* \(2, 4, 2\)"),
    (
        {"bounds": (Bounds, {"terminal": (1.0, -1.0)})},
        ValueError,
        "terminal is .*; expected each low",
    ),
    (
        {"bounds": (Bounds, {"terminal": (2.0, 3.0)}), "output_bounds": (-1.0, 1.0)},
        ValueError,
        "terminal .* leave nothing for the last state",
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
    (
        {"cost": (Cost, {"input_reference": [1.0, 2.0]})},
        ValueError,
        r"input_reference has shape \(2,\)",
    ),
    (
        {"cost": (Cost, {"input_reference": lambda y: y[0]}), "reference": np.zeros(3)},
        ValueError,
        r"^reference has shape \(3,\)",
    ),
    ({"inputs": (Inputs, {"safe": [0.0, 0.0]})}, ValueError, r"safe has shape \(2,\)"),
    ({"solver": "gurobi"}, ValueError, "solver is 'gurobi'; expected one of auto, daqp, osqp"),
    ({"rollout": "quadratic"}, ValueError, "rollout is 'quadratic'; expected one of linear"),
    ({"rollout": "bilinear"}, ValueError, "rollout is 'bilinear' but the model has no input coup"),
    ({"search": (Search, {"iterations": 0})}, ValueError, "iterations is 0"),
    ({"search": (Search, {"first_iterations": 0})}, ValueError, "first_iterations is 0"),
    ({"search": (Search, {"guesses": -1})}, ValueError, "guesses is -1; expected at least 0"),
    ({"search": (Search, {"first_guesses": 1.5})}, TypeError, "first_guesses is 1.5"),
]


@pytest.mark.parametrize(("settings", "error", "message"), WRONG)
def test_a_wrong_setting_is_named(
    model: LiftedModel, settings: dict[str, Any], error: type[Exception], message: str
) -> None:
    def made(given: Any) -> Any:
        """Make a group, given as a class and its fields."""
        group = isinstance(given, tuple) and isinstance(given[0], type)
        return given[0](**given[1]) if group else given

    with pytest.raises(error, match=message):
        KoopmanMPC(
            model, **{"horizon": 4} | {name: made(value) for name, value in settings.items()}
        )


@pytest.mark.parametrize(
    ("settings", "name"),
    [
        ({"Q": 1.0, "cost": Cost(Q=1.0)}, "Q"),
        ({"R": 0.1, "cost": Cost(R=0.2)}, "R"),
        ({"input_bounds": (-1, 1), "bounds": Bounds(inputs=(-1, 1))}, "input_bounds"),
        ({"output_bounds": (-1, 1), "bounds": Bounds(outputs=(-1, 1))}, "output_bounds"),
    ],
)
def test_what_is_given_twice_is_refused(
    model: LiftedModel, settings: dict[str, Any], name: str
) -> None:
    with pytest.raises(
        ValueError, match=f"^{name} is given twice, as {name}= and in .*give it once"
    ):
        KoopmanMPC(model, 4, **settings)


def test_groups_and_their_shortcuts_mean_the_same(model: LiftedModel) -> None:
    short = KoopmanMPC(
        model, 4, 2.0, 0.3, input_bounds=(-0.2, 0.2), output_bounds=(-1, 1), cost=Cost(S=0.1)
    )
    grouped = KoopmanMPC(
        model,
        4,
        cost=Cost(Q=2.0, R=0.3, S=0.1),
        bounds=Bounds(inputs=(-0.2, 0.2), outputs=(-1, 1)),
    )
    for x in ([0.3, -0.2], [0.9, 0.5]):
        np.testing.assert_array_equal(short.act(x), grouped.act(x))
    assert short.cost == grouped.cost
    assert short.bounds == grouped.bounds


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
        KoopmanMPC(model, 6, Q, R, cost=Cost(S=S)).act(x)
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

    mpc = KoopmanMPC(
        model, 4, reference=[0.0, 0.0], cost=Cost(input_reference=target, terminal="riccati")
    )
    mpc.act([0.1, 0.2])
    assert mpc.last is not None
    assert mpc.last.rung == "solved"
