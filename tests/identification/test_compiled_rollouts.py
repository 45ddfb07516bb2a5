"""The compiled roll-out against the arrays it stands in for."""

import sys
from copy import deepcopy
from importlib import import_module
from typing import Any

import numpy as np
import pytest

import koopman_control.identification as room
from koopman_control.common.arrays import Array
from koopman_control.features import (
    FeatureUnion,
    FourierFeatures,
    PolynomialFeatures,
    RadialFeatures,
    SampledFeatures,
)
from koopman_control.identification import EDMDc, LiftedModel
from koopman_control.identification.compiled_rollouts import (
    CompiledRollOut,
    Feedback,
    compiled_roll_out,
)
from koopman_control.identification.rollouts import (
    LiftedInputMap,
    OneStepMap,
    StepMap,
    folded,
    relifted,
    relifted_sensitivity,
)
from koopman_control.trajectories import Trajectory

numba = pytest.importorskip("numba", reason="compiled roll-outs need the extra 'fast'")

S, H = 5, 25


def model(
    n_inputs: int = 1,
    activation: Any = "tanh",
    bounds: Array | None = None,
    angles: Any = (),
    features: Any = None,
    input_features: Any = None,
) -> LiftedModel:
    """Fit a bilinear model of an oscillator whose input gain varies with the position."""
    rng = np.random.default_rng(0)
    features = (
        SampledFeatures(9, activation=activation, random_state=0) if not features else features
    )
    data = []
    for _ in range(6):
        X, U = [rng.uniform(-1.0, 1.0, 3)], rng.uniform(-1.0, 1.0, (60, n_inputs))
        for u in U:
            q, v, w = X[-1]
            push = (1.5 + np.sin(q)) * u[0] + 0.5 * u[-1]
            push += 0.0 if input_features is None else 0.4 * (u[0] ** 2 + u[0] * u[-1] ** 2)
            v_next = v + 0.1 * (push - np.sin(q) - 0.3 * v)
            if bounds is not None:
                v_next = np.clip(v_next, *bounds[:, 1])
            X.append(np.array([q + 0.1 * v_next, v_next, 0.9 * w + 0.2 * np.cos(q) * u[-1]]))
        data.append(Trajectory(np.array(X), U, observation_bounds=bounds))
    settings = {"coupling": "bilinear", "angles": angles, "input_features": input_features}
    return EDMDc(features, regularization=1e-6, **settings).fit(data).model_


LIMITED = np.array([[-np.inf, -0.4, -np.inf], [np.inf, 0.5, np.inf]])
CLIPPED = np.array([[-1.0, -np.inf, -np.inf], [1.2, np.inf, np.inf]])
UNION = FeatureUnion(
    [
        PolynomialFeatures(3),
        SampledFeatures(7, ignored=[0, 2], random_state=0),
        FeatureUnion(
            [FourierFeatures(5, random_state=1), SampledFeatures(4, activation="softplus")]
        ),
    ]
).set_params(**{"2__1__random_state": 3})
CASES: dict[str, dict[str, Any]] = {
    "tanh": {},
    "relu": {"activation": "relu"},
    "sine": {"activation": "sine"},
    "softplus": {"activation": "softplus"},
    "angle": {"angles": [0]},
    "stop": {"bounds": LIMITED},
    "stop and angle": {"bounds": LIMITED, "angles": [0]},
    "three inputs": {"n_inputs": 3},
    "three inputs and stop": {"n_inputs": 3, "bounds": LIMITED},
    "waves": {"features": FourierFeatures(7, random_state=0)},
    "polynomial": {"features": PolynomialFeatures(3)},
    "union and angle": {"features": UNION, "angles": [0]},
    "union and stop": {"features": UNION, "bounds": LIMITED},
    "features of the input": {"input_features": PolynomialFeatures(3)},
    "many features of inputs": {
        "features": UNION,
        "n_inputs": 2,
        "input_features": FeatureUnion([SampledFeatures(3, random_state=0), PolynomialFeatures(2)]),
    },
}


def compiled(step_map: StepMap) -> CompiledRollOut:
    found = compiled_roll_out(step_map)
    assert found is not None
    return found


def inputs(model: LiftedModel, seed: int = 1) -> Array:
    rng = np.random.default_rng(seed)
    return np.repeat(rng.uniform(-1.0, 1.0, (S, H // 5, model.n_inputs)), 5, axis=1)


@pytest.fixture(params=["compiled", "plain Python"])
def loops(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    """Run a test twice: compiled loops would read beside their arrays without a word."""
    if request.param == "compiled":
        return
    loaded = import_module(f"{room.__name__}.kernels")  # first, so that it is put back
    monkeypatch.delitem(sys.modules, loaded.__name__)
    monkeypatch.delattr(room, "kernels")
    monkeypatch.setattr(numba.config, "DISABLE_JIT", True)


@pytest.mark.usefixtures("loops")
@pytest.mark.parametrize("case", CASES)
def test_predictions_and_sensitivities_are_those_of_the_arrays(case: str) -> None:
    plant = model(**CASES[case])
    x0, U, fast = np.array([0.3, -0.2, 0.1]), inputs(plant), compiled(plant.one_step)
    X = relifted(plant.one_step, x0, U)
    np.testing.assert_allclose(fast.predicted(x0, U), X, rtol=0.0, atol=1e-12)
    Gamma = relifted_sensitivity(plant.one_step, x0, X, U)
    np.testing.assert_allclose(fast.sensitivity(x0, X, U), Gamma, rtol=0.0, atol=1e-12)
    if "stop" in case:
        assert plant.saturating.tolist() == [False, True, False]
        assert (X[..., 1] == LIMITED[1, 1]).any()
        assert (X[..., 1] == LIMITED[0, 1]).any()


@pytest.mark.usefixtures("loops")
def test_states_that_are_clipped_but_do_not_stop_agree_too() -> None:
    step_map = folded(model())
    limited = OneStepMap(**{**vars_of(step_map), "limits": CLIPPED})
    x0, U = np.array([0.9, 0.8, 0.1]), inputs(model())
    X = relifted(limited, x0, U)
    assert (X[..., 0] == 1.2).any()
    fast = compiled(limited)
    np.testing.assert_allclose(fast.predicted(x0, U), X, rtol=0.0, atol=1e-12)
    Gamma = relifted_sensitivity(limited, x0, X, U)
    np.testing.assert_allclose(fast.sensitivity(x0, X, U), Gamma, rtol=0.0, atol=1e-12)


def vars_of(step_map: OneStepMap) -> dict[str, Any]:
    return {name: getattr(step_map, name) for name in OneStepMap.__dataclass_fields__}


@pytest.mark.usefixtures("loops")
def test_a_regulator_takes_plans_over_inside_the_box() -> None:
    plant = model(n_inputs=2, angles=[0])
    x0, U, heads = np.array([2.5, -0.2, 0.1]), inputs(plant), np.array([0, 3, 10, H - 1, H])
    K, box = np.array([[1.0, 0.4, 0.0], [0.2, 0.0, 0.3]]), np.array([[-0.5, -0.2], [0.6, 0.3]])
    target, rest = np.array([-3.0, 0.1, 0.0]), np.array([0.1, 0.0])
    plans = U.copy()
    X = compiled(folded(plant)).finished(x0, plans, heads, Feedback(target, rest, K, box))
    np.testing.assert_allclose(relifted(plant.one_step, x0, plans), X, rtol=0.0, atol=1e-12)
    before = np.concatenate([np.broadcast_to(x0, (S, 1, 3)), X[:, :-1]], axis=1)
    deviation = plant.coordinates.wrap(before - target)
    wanted = np.clip(rest - deviation @ K.T, box[0], box[1])
    taken = np.arange(H) >= heads[:, None]
    np.testing.assert_allclose(plans, np.where(taken[..., None], wanted, U), atol=1e-12)


@pytest.mark.usefixtures("loops")
@pytest.mark.parametrize("n_inputs", [1, 2])
@pytest.mark.parametrize("stopping", [False, True])
def test_predictions_that_explode_are_not_finite_in_either(n_inputs: int, stopping: bool) -> None:
    step_map = folded(model(n_inputs, bounds=LIMITED if stopping else None))
    growing = OneStepMap(**{**vars_of(step_map), "linear": 1e60 * step_map.linear})
    x0, U = np.ones(3), np.ones((1, 40, n_inputs))
    with np.errstate(all="ignore"):
        X, expected = compiled(growing).predicted(x0, U), relifted(growing, x0, U)
    assert not np.isfinite(X[0, -1]).any()
    assert not np.isfinite(expected[0, -1]).any()


@pytest.mark.usefixtures("loops")
def test_hyperbolic_tangents_are_exact_to_the_last_bits() -> None:
    from koopman_control.identification.kernels import tanh_in_place

    x = np.concatenate([np.linspace(-30.0, 30.0, 20001), np.logspace(-12, 1, 500), [np.inf]])
    y = x.copy()
    tanh_in_place(y)
    np.testing.assert_allclose(y, np.tanh(x), rtol=1e-15, atol=0.0)
    missing = np.array([np.nan])
    tanh_in_place(missing)
    assert np.isnan(missing).all()


@pytest.mark.usefixtures("loops")
@pytest.mark.parametrize("n_inputs", [1, 2, 3])
def test_several_states_stop_at_once_whatever_the_number_of_inputs(n_inputs: int) -> None:
    step_map = folded(model(n_inputs=n_inputs))
    limits, all_stop = np.array([[-0.1] * 3, [0.35, 0.3, 0.4]]), np.ones(3, dtype=bool)
    stopping = OneStepMap(**{**vars_of(step_map), "limits": limits, "saturating": all_stop})
    x0, U, fast = np.array([0.3, -0.05, 0.1]), inputs(model(n_inputs=n_inputs)), compiled(stopping)
    X = relifted(stopping, x0, U)
    assert (((X == limits[0]) | (X == limits[1])).sum(axis=2) >= 2).any()
    np.testing.assert_allclose(fast.predicted(x0, U), X, rtol=0.0, atol=1e-12)
    Gamma = relifted_sensitivity(stopping, x0, X, U)
    np.testing.assert_allclose(fast.sensitivity(x0, X, U), Gamma, rtol=0.0, atol=1e-12)


def test_one_plan_alone_is_predicted_as_among_many() -> None:
    plant = model(features=UNION, input_features=PolynomialFeatures(2))
    x0, U, fast = np.array([0.3, -0.2, 0.1]), inputs(plant), compiled(plant.one_step)
    X = fast.predicted(x0, U)
    Gamma = fast.sensitivity(x0, X, U)
    np.testing.assert_array_equal(fast.predicted(x0, U[2:3]), X[2:3])
    np.testing.assert_array_equal(fast.sensitivity(x0, X[2:3], U[2:3]), Gamma[2:3])


def test_a_copy_predicts_the_same() -> None:
    plant = model(features=UNION, input_features=PolynomialFeatures(2))
    x0, U, fast = np.array([0.3, -0.2, 0.1]), inputs(plant), compiled(plant.one_step)
    np.testing.assert_array_equal(deepcopy(fast).predicted(x0, U), fast.predicted(x0, U))


def test_without_the_compiler_everything_is_left_to_the_arrays(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    step_map = model().one_step
    monkeypatch.setattr(
        "koopman_control.identification.compiled_rollouts.find_spec", lambda _: None
    )
    assert compiled_roll_out(step_map) is None


def test_maps_that_the_loops_do_not_cover_are_left_to_the_arrays() -> None:
    deep = SampledFeatures(5, n_layers=2, random_state=0)
    two_polynomials = FeatureUnion([PolynomialFeatures(2), PolynomialFeatures(2)])
    for features in (deep, RadialFeatures(5, random_state=0), two_polynomials):
        assert compiled_roll_out(model(features=features).one_step) is None
    lifted = model(input_features=RadialFeatures(3, random_state=0)).one_step
    assert compiled_roll_out(lifted) is None
    lifted = model(input_features=PolynomialFeatures(2)).one_step
    assert isinstance(lifted, LiftedInputMap)
    stopping = {**vars_of(lifted.inner), "saturating": np.array([False, True, False])}
    assert compiled_roll_out(LiftedInputMap(OneStepMap(**stopping), lifted.lift)) is None
