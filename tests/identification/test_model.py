from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from koopman_control.common import FileFormatError, load_npz, save_npz
from koopman_control.features import SampledFeatures
from koopman_control.identification import EDMDc, LiftedModel, Rollout, prediction_error
from koopman_control.identification.store import FORMAT_VERSION
from koopman_control.trajectories import Trajectory


def data() -> list[Trajectory]:
    """Make a noisy pendulum-like run: an angle, a speed that is clipped, and one input."""
    rng = np.random.default_rng(0)
    found = []
    for _ in range(6):
        theta, speed, rows, U = rng.uniform(-3, 3), 0.0, [], rng.uniform(-1, 1, (30, 1))
        for u in [*U[:, 0], 0.0]:
            rows.append([np.cos(theta), np.sin(theta), speed])
            speed = np.clip(speed + 0.3 * np.sin(theta) + 0.3 * u, -1.0, 1.0)
            theta += 0.1 * speed
        found.append(
            Trajectory(
                np.array(rows),
                U,
                dt=0.1,
                observation_bounds=np.array([[-1.0, -1.0, -1.0], [1.0, 1.0, 1.0]]),
                action_bounds=np.array([[-1.0], [1.0]]),
                observation_names=("c", "s", "speed"),
            )
        )
    return found


@pytest.fixture(scope="module", params=["linear", "bilinear"])
def model(request: pytest.FixtureRequest) -> LiftedModel:
    features = SampledFeatures(10, random_state=0)
    return EDMDc(features, coupling=request.param, angles=[(0, 1)]).fit(data()).model_


def rollouts_of(model: LiftedModel) -> tuple[Rollout, Rollout]:
    return ("linear" if model.N is None else "bilinear", "relifted")


def test_a_saved_model_predicts_the_same_bits(model: LiftedModel, tmp_path: Path) -> None:
    model.save(tmp_path / "model.npz")
    loaded = LiftedModel.load(tmp_path / "model.npz")
    U = np.random.default_rng(1).uniform(-1, 1, (8, 25, 1))
    for rollout in rollouts_of(model):
        predicted = model.predict([0.5, 0.9], U, rollout)
        np.testing.assert_array_equal(loaded.predict([0.5, 0.9], U, rollout), predicted)
    assert loaded.summary == model.summary
    assert loaded.error_level == model.error_level
    assert set(loaded.error_quantiles) == set(rollouts_of(model))
    for rollout, bounds in model.error_quantiles.items():
        np.testing.assert_array_equal(loaded.error_quantiles[rollout], bounds)
    assert (loaded.dt, loaded.state_names, loaded.coordinates) == (
        0.1,
        ("angle", "speed"),
        model.coordinates,
    )
    np.testing.assert_array_equal(loaded.action_bounds, model.action_bounds)
    np.testing.assert_array_equal(loaded.signals.saturating, [False, True])
    np.testing.assert_array_equal(loaded.limits, [[-np.inf, -1.0], [np.inf, 1.0]])


def test_what_is_unknown_comes_back_as_unknown(model: LiftedModel, tmp_path: Path) -> None:
    summary = {"condition_number": np.inf, "n": np.int64(3), "x": np.float64(0.1), "name": None}
    bare = replace(
        model, summary=summary, signals=replace(model.signals, action_bounds=None, dt=None)
    )
    bare.save(tmp_path / "model.npz")
    loaded = LiftedModel.load(tmp_path / "model.npz")
    assert loaded.action_bounds is None
    assert loaded.dt is None
    assert loaded.summary == summary


def test_files_that_hold_no_whole_model_are_refused(model: LiftedModel, tmp_path: Path) -> None:
    path = tmp_path / "model.npz"
    model.save(path)
    arrays, settings = load_npz(path, "lifted-model", FORMAT_VERSION)

    def refuse(message: str) -> None:
        with pytest.raises(FileFormatError, match=message):
            LiftedModel.load(path)

    save_npz(path, "trajectories", 2, arrays, settings)
    refuse("holds 'trajectories'; expected 'lifted-model'")
    save_npz(path, "lifted-model", 2, arrays, settings)
    refuse("format version 2")
    for name in ("B", "features/weights_"):
        save_npz(
            path,
            "lifted-model",
            FORMAT_VERSION,
            {k: a for k, a in arrays.items() if k != name},
            settings,
        )
        refuse("does not hold a whole lifted model")
    save_npz(path, "lifted-model", FORMAT_VERSION, arrays | {"B": arrays["B"][:-1]}, settings)
    refuse("B has shape")
    foreign = {"features": settings["features"] | {"class": "os.system"}}
    save_npz(path, "lifted-model", FORMAT_VERSION, arrays, settings | foreign)
    refuse("features of class 'os.system'")
    for wrong in ({"memory": -1}, {"memory": 10**9}, {"memory": 1, "n_inputs": 10**9}):
        save_npz(path, "lifted-model", FORMAT_VERSION, arrays, settings | wrong)
        refuse("does not hold a whole lifted model.*memory is")


def test_lifting_and_reading_out_are_inverse(model: LiftedModel) -> None:
    x = np.array([[0.5, 0.9], [7.0, -0.3]])
    z = model.lift(x)
    assert z.shape == (2, model.n_lifted)
    np.testing.assert_allclose(z @ model.C.T, x, atol=1e-12)


def test_both_ways_to_predict_one_step_agree(model: LiftedModel) -> None:
    x, u = [0.5, 0.2], [[0.1]]  # away from limits, which only the re-lifted roll-out knows
    one, other = (model.predict(x, u, rollout) for rollout in rollouts_of(model))
    np.testing.assert_allclose(one, other, atol=1e-12)


def test_eigenvalues_fall_and_hold_the_constant(model: LiftedModel) -> None:
    values = model.eigenvalues
    assert values.dtype == np.complex128
    assert (np.diff(np.abs(values)) <= 0).all()
    assert np.abs(values - 1.0).min() < 1e-9


def test_the_state_is_read_from_observations(model: LiftedModel) -> None:
    np.testing.assert_allclose(model.state([0.0, 1.0, 0.5]), [np.pi / 2, 0.5])
    with pytest.raises(ValueError, match=r"observation has shape \(2,\); expected 3 entries"):
        model.state([0.0, 1.0])


def test_roll_outs_that_do_not_suit_the_model_are_refused(model: LiftedModel) -> None:
    unfit: Rollout = "bilinear" if model.N is None else "linear"
    with pytest.raises(ValueError, match=f"rollout is '{unfit}'"):
        model.predict([0.0, 0.0], [[0.0]], unfit)
    with pytest.raises(ValueError, match="expected one of linear, bilinear, relifted"):
        prediction_error(model, data(), 5, "euler")  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("x0", "U", "message"),
    [
        ([0.0], [[0.0]], "x0 has shape"),
        (0.0, [[0.0]], "x0 has shape"),
        (np.zeros((3, 2)), np.zeros((4, 5, 1)), "x0 has shape"),
        (np.zeros((3, 2)), np.zeros((5, 1)), "x0 has shape"),
        ([0.0, 0.0], [0.0], "U has shape"),
        ([0.0, 0.0], np.zeros((5, 2)), "U has shape"),
        ([0.0, np.nan], [[0.0]], "x0 holds nan"),
        ([0.0, 0.0], [[np.inf]], "U holds inf"),
    ],
)
def test_arguments_that_do_not_fit_are_named(
    model: LiftedModel, x0: Any, U: Any, message: str
) -> None:
    with pytest.raises(ValueError, match=message):
        model.predict(x0, U)


@pytest.mark.parametrize(
    ("field", "value", "message"),
    [
        ("A", np.eye(3), "A has 3 rows; expected 15"),
        ("B", np.zeros((4, 1)), "B has shape"),
        ("C", np.zeros((3, 15)), "C has shape"),
        ("C", np.full((2, 15), np.nan), "C holds nan"),
        ("action_bounds", np.zeros((2, 3)), "action_bounds has shape"),
        ("limits", np.zeros((2, 3)), "limits has shape"),
        ("center", np.zeros(4), "center has shape"),
        ("ground", np.zeros((2, 3)), "ground has shape"),
        ("input_delay", -2, "input_delay is -2"),
    ],
)
def test_parts_that_do_not_fit_together_are_named(
    model: LiftedModel, field: str, value: Any, message: str
) -> None:
    with pytest.raises(ValueError, match=message):
        if hasattr(model.signals, field):
            replace(model, signals=replace(model.signals, **{field: value}))
        else:
            replace(model, **{field: value})


def test_saturating_states_are_marked_by_booleans(model: LiftedModel) -> None:
    numbers: Any = np.zeros(2)
    with pytest.raises(TypeError, match="saturating is"):
        replace(model, signals=replace(model.signals, saturating=numbers))
