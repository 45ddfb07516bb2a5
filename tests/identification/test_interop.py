import importlib.util
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from scipy.signal import dlsim

from koopman_control.common import border as optional
from koopman_control.features import SampledFeatures
from koopman_control.identification import EDMDc, LiftedModel, from_control
from koopman_control.identification.interop import to_control, to_dlti, to_onnx
from koopman_control.trajectories import Trajectory

RNG = np.random.default_rng(0)
U = RNG.uniform(-1.0, 1.0, (15, 2))
X0 = np.array([0.4, -0.3])


def fitted(coupling: Any = "linear", **settings: Any) -> LiftedModel:
    rng, data = np.random.default_rng(1), []
    for _ in range(5):
        inputs, X = rng.uniform(-1.0, 1.0, (40, 2)), [rng.normal(size=2)]
        for u in inputs:
            x, v = X[-1]
            X.append(np.array([x + 0.1 * v, v - 0.1 * np.sin(x) + 0.1 * u[0] + 0.05 * x * u[1]]))
        data.append(Trajectory(np.array(X), inputs, dt=0.1, observation_names=("x", "v")))
    features = SampledFeatures(8, random_state=0)
    return EDMDc(features, coupling=coupling, **settings).fit(data).model_


def pendulum(saturating: bool = True) -> LiftedModel:
    """Fit a pendulum whose speed stops at 1."""
    rng, data = np.random.default_rng(0), []
    for _ in range(6):
        theta, speed, rows, inputs = rng.uniform(-3, 3), 0.0, [], rng.uniform(-1, 1, (40, 1))
        for u in [*inputs[:, 0], 0.0]:
            rows.append([np.cos(theta), np.sin(theta), speed])
            speed = np.clip(speed + 0.3 * np.sin(theta) + 0.3 * u, -1.0, 1.0)
            theta += 0.1 * speed
        bounds = np.array([[-1.0, -1.0, -1.0], [1.0, 1.0, 1.0]])
        data.append(Trajectory(np.array(rows), inputs, dt=0.1, observation_bounds=bounds))
    features = SampledFeatures(12, random_state=0)
    model = EDMDc(features, coupling="bilinear", angles=[(0, 1)]).fit(data).model_
    assert model.signals.saturating.any()
    return (
        model
        if saturating
        else replace(model, signals=replace(model.signals, saturating=np.zeros(2, dtype=bool)))
    )


def test_a_control_system_responds_like_the_linear_roll_out() -> None:
    control: Any = pytest.importorskip("control", reason="needs pip install control")
    model = fitted()
    system = to_control(model)
    assert (system.dt, system.output_labels) == (0.1, ["x", "v"])
    padded = np.vstack([U, np.zeros((1, 2))])  # the last input acts beyond the last output
    response = control.forced_response(system, inputs=padded.T, initial_state=model.lift(X0))
    np.testing.assert_allclose(response.outputs[:, 1:].T, model.predict(X0, U, "linear"))
    np.testing.assert_allclose(response.outputs[:, 0], X0, atol=1e-12)
    assert to_control(replace(model, signals=replace(model.signals, dt=None))).dt is True


def test_there_and_back_again_predicts_the_same() -> None:
    pytest.importorskip("control", reason="needs pip install control")
    model = fitted()
    back = from_control(to_control(model), model.lift)
    for rollout in ("linear", "relifted"):
        np.testing.assert_allclose(
            back.predict(X0, U, rollout), model.predict(X0, U, rollout), atol=1e-12
        )


def test_a_dlti_responds_like_the_linear_roll_out() -> None:
    model = fitted()
    system = to_dlti(model)
    padded = np.vstack([U, np.zeros((1, 2))])
    _, outputs, _ = dlsim(system, padded, x0=model.lift(X0))
    np.testing.assert_allclose(outputs[1:], model.predict(X0, U, "linear"))
    assert system.dt == 0.1


def test_a_bilinear_model_is_no_linear_system() -> None:
    model = fitted("bilinear")
    for convert in (to_control, to_dlti):
        with pytest.raises(ValueError, match="input couplings N"):
            convert(model)


def run_onnx(model: LiftedModel, path: Path, x: Any, u: Any) -> Any:
    pytest.importorskip("onnx", reason="needs pip install onnx")
    runtime: Any = pytest.importorskip("onnxruntime", reason="needs pip install onnxruntime")
    to_onnx(model, path)
    session = runtime.InferenceSession(path.read_bytes(), providers=["CPUExecutionProvider"])
    return session.run(None, {"x": x, "u": u})[0]


@pytest.mark.parametrize("coupling", ["linear", "bilinear"])
def test_the_onnx_graph_steps_like_the_model(coupling: str, tmp_path: Path) -> None:
    model = fitted(coupling)
    x, u = RNG.normal(size=(30, 2)), RNG.uniform(-1.0, 1.0, (30, 2))
    stepped = run_onnx(model, tmp_path / "step.onnx", x, u)
    np.testing.assert_allclose(stepped, model.one_step.step(x, u), rtol=1e-12, atol=1e-12)


@pytest.mark.parametrize("saturating", [True, False])
def test_the_onnx_graph_knows_angles_and_stops(saturating: bool, tmp_path: Path) -> None:
    model = pendulum(saturating)
    x = np.stack([RNG.uniform(-7.0, 7.0, 200), RNG.uniform(-1.0, 1.0, 200)], axis=1)
    u = RNG.uniform(-1.0, 1.0, (200, 1))
    expected = model.one_step.step(x, u)
    assert (np.abs(expected[:, 1]) == 1.0).sum() > 10
    stepped = run_onnx(model, tmp_path / "step.onnx", x, u)
    np.testing.assert_allclose(stepped, expected, rtol=1e-12, atol=1e-12)


def test_one_stop_under_several_inputs_is_exported_and_several_are_refused(tmp_path: Path) -> None:
    limits = np.array([[-0.5, -0.4], [0.5, 0.4]])
    model = fitted("bilinear")
    signals = replace(model.signals, limits=limits, saturating=np.array([False, True]))
    model = replace(model, signals=signals)
    x, u = RNG.uniform(-0.5, 0.5, (100, 2)), RNG.uniform(-3.0, 3.0, (100, 2))
    stepped = run_onnx(model, tmp_path / "step.onnx", x, u)
    np.testing.assert_allclose(stepped, model.one_step.step(x, u), rtol=1e-11, atol=1e-11)
    both = replace(signals, saturating=np.array([True, True]))
    with pytest.raises(ValueError, match="several states stop"):
        to_onnx(replace(model, signals=both), tmp_path / "other.onnx")
    assert not (tmp_path / "other.onnx").exists()


def test_the_onnx_file_says_what_it_is(tmp_path: Path) -> None:
    onnx: Any = pytest.importorskip("onnx", reason="needs pip install onnx")
    to_onnx(fitted(), tmp_path / "step.onnx")
    facts = {p.key: p.value for p in onnx.load(tmp_path / "step.onnx").metadata_props}
    assert facts == {"dt": "0.1", "state_names": "x,v"}


def test_other_features_are_not_exported(tmp_path: Path) -> None:
    pytest.importorskip("onnx", reason="needs pip install onnx")
    foreign = LiftedModel.from_arrays(np.eye(2), np.eye(2))
    with pytest.raises(TypeError, match="only one layer of tanh features"):
        to_onnx(foreign, tmp_path / "step.onnx")
    waves = SampledFeatures(8, activation="sine", random_state=0).fit(np.eye(5, 2))
    with pytest.raises(TypeError, match="only one layer of tanh features"):
        to_onnx(replace(fitted(), features=waves), tmp_path / "step.onnx")


@pytest.mark.parametrize("package", ["control", "onnx"])
def test_a_missing_package_is_named_with_its_remedy(
    package: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def missing(name: str) -> Any:
        raise ModuleNotFoundError(f"No module named {name!r}")

    monkeypatch.setattr(optional, "import_module", missing)
    with pytest.raises(ImportError, match=rf"{package}.*pip install 'koopman-control\[interop\]'"):
        if package == "control":
            to_control(fitted())
        else:
            to_onnx(fitted(), tmp_path / "step.onnx")


def test_a_model_fitted_by_pykoop_becomes_one_of_ours() -> None:
    pytest.importorskip("pykoop", reason="needs pip install pykoop")
    path = Path(__file__).parents[2] / "examples" / "pykoop_model.py"
    spec = importlib.util.spec_from_file_location("pykoop_model", path)
    assert spec is not None and spec.loader is not None
    example = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(example)
    model, theirs, X, inputs = example.fitted_elsewhere()
    assert model.n_lifted == 1 + model.n_states + theirs.n_states_out_
    one_step = model.predict(X[0], inputs[:1])
    both = np.hstack([[[0.0]], X[:1], inputs[:1]])  # pykoop counts the episode as a column
    np.testing.assert_allclose(one_step, theirs.predict(both)[:, 1:], atol=1e-10)
    whole = theirs.predict_trajectory(
        X[:1], inputs, episode_feature=False, relift_state=False, return_input=False
    )
    np.testing.assert_allclose(model.predict(X[0], inputs[:-1], "linear"), whole[1:], atol=1e-8)
