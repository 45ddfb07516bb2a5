"""A fitted model in the terms of other packages: python-control, scipy.signal, ONNX."""

from __future__ import annotations

from typing import Any

import numpy as np
from scipy.signal import dlti

from koopman_control.common.arrays import Array
from koopman_control.common.border import checked, optional_package
from koopman_control.common.files import PathLike, write_bytes_atomically
from koopman_control.features import FeatureMap, Neurons
from koopman_control.identification.model import LiftedModel

OPSET = 17
IR_VERSION = 9  # what run-times of 2023 and later read


@checked
def to_onnx(model: LiftedModel, path: PathLike) -> None:
    """Write the re-lifted one-step map to an ONNX file, replacing what was there.

    Args:
        model: A model with one layer of tanh features.
        path: The file.

    Raises:
        ImportError: The package onnx is not installed.
        TypeError: The features are of another kind.
        ValueError: Several states stop at limits and there are several inputs, which takes a
            pseudo-inverse that ONNX lacks.

    Example:
        >>> to_onnx(model, "step.onnx")  # doctest: +SKIP
        >>> session = onnxruntime.InferenceSession("step.onnx")  # doctest: +SKIP
        >>> session.run(None, {"x": x, "u": u})[0]  # doctest: +SKIP
    """
    model.require_plain_inputs("ONNX export knows plain inputs only")
    onnx = optional_package("onnx", "interop")
    graph = _Graph(onnx)
    _one_step(graph, model)
    d, m = model.n_states, model.n_inputs
    double, value = onnx.TensorProto.DOUBLE, onnx.helper.make_tensor_value_info
    proto = onnx.helper.make_model(
        onnx.helper.make_graph(
            graph.nodes,
            "one_step",
            [value("x", double, ["S", d]), value("u", double, ["S", m])],
            [value("x_next", double, ["S", d])],
            graph.constants,
        ),
        producer_name="koopman-control",
        opset_imports=[onnx.helper.make_opsetid("", OPSET)],
        ir_version=IR_VERSION,
    )
    facts = {"dt": str(model.dt), "state_names": ",".join(model.state_names)}
    onnx.helper.set_model_props(proto, facts)
    onnx.checker.check_model(proto)
    write_bytes_atomically(path, proto.SerializeToString())


class _Graph:
    """Nodes and constants in the making; every method returns the name of a new value."""

    def __init__(self, onnx: Any) -> None:
        self._onnx = onnx
        self.nodes: list[Any] = []
        self.constants: list[Any] = []

    def constant(self, value: Any) -> str:
        name = f"c{len(self.constants)}"
        self.constants.append(self._onnx.numpy_helper.from_array(np.asarray(value), name))
        return name

    def add(self, operator: str, *inputs: str, output: str | None = None, **attributes: Any) -> str:
        name = output or f"v{len(self.nodes)}"
        node = self._onnx.helper.make_node(operator, list(inputs), [name], **attributes)
        self.nodes.append(node)
        return name


def _one_step(graph: _Graph, model: LiftedModel) -> None:
    """Add x+ = x + drift + u gain, stopped at limits; the mirror image of `OneStepMap.step`."""
    W, b = _tanh_layer(model.features)
    step, (d, m) = model.affine_step, (model.n_states, model.n_inputs)
    e = _embedded(graph, model)
    hidden = graph.add("MatMul", e, graph.constant(W.T.copy()))
    hidden = graph.add("Tanh", graph.add("Add", hidden, graph.constant(b)))
    rates = graph.add(
        "Add",
        graph.add("MatMul", e, graph.constant(step.linear)),
        graph.add("MatMul", hidden, graph.constant(step.nonlinear)),
    )
    rates = graph.add("Reshape", rates, graph.constant(np.array([-1, 1 + m, d])))
    rates = graph.add("Add", rates, graph.constant(step.constant))
    drift = graph.add("Gather", rates, graph.constant(np.array(0)), axis=1)
    gain = graph.add("Gather", rates, graph.constant(np.arange(1, 1 + m)), axis=1)  # (S, m, d)
    x_next = graph.add("Add", graph.add("Add", "x", drift), _moved(graph, "u", gain))
    if step.saturating.any():
        x_next = _stopped(graph, x_next, gain, model)
    low, high = (graph.constant(limit.copy()) for limit in step.limits)
    graph.add("Min", graph.add("Max", x_next, low), high, output="x_next")


def _embedded(graph: _Graph, model: LiftedModel) -> str:
    """Replace angles by cosines and sines."""
    angles = np.flatnonzero(model.coordinates.is_angle)
    if not len(angles):
        return "x"
    plain = graph.constant(np.flatnonzero(~model.coordinates.is_angle))
    turned = graph.add("Gather", "x", graph.constant(angles), axis=1)
    quarter = graph.add("Add", turned, graph.constant(np.array([np.pi / 2.0])))
    cos, sin = graph.add("Sin", quarter), graph.add("Sin", turned)  # Cos is often single only
    return graph.add("Concat", graph.add("Gather", "x", plain, axis=1), cos, sin, axis=1)


def _moved(graph: _Graph, u: str, gain: str) -> str:
    """Multiply inputs (S, m) with the input matrix (S, m, d), to (S, d)."""
    row = graph.add("Unsqueeze", u, graph.constant(np.array([1])))
    return graph.add("Squeeze", graph.add("MatMul", row, gain), graph.constant(np.array([1])))


def _stopped(graph: _Graph, x_next: str, gain: str, model: LiftedModel) -> str:
    """Apply the smallest effective input that brings stopping states back onto their limits."""
    if model.signals.saturating.sum() > 1 and model.n_inputs > 1:
        raise ValueError(
            "several states stop at limits and there are several inputs, which ONNX cannot "
            "express; set signals=replace(model.signals, saturating=np.zeros(d, dtype=bool)) in a "
            "copy of the model, which is then clipped at its limits only"
        )
    low, high = (graph.constant(limit.copy()) for limit in model.limits)
    clipped = graph.add("Min", graph.add("Max", x_next, low), high)
    stops = graph.constant(model.signals.saturating.astype(np.float64))
    excess = graph.add("Mul", graph.add("Sub", clipped, x_next), stops)
    one = graph.constant(np.array([1]))
    held = graph.add("Unsqueeze", graph.add("Abs", graph.add("Sign", excess)), one)
    states, inputs = model.affine_step.sizes
    limited = graph.add("Mul", gain, held)  # rank one, so its pseudo-inverse is v^T / |v|^2
    limited = graph.add("Mul", limited, graph.constant(inputs[:, None] / states))
    size = graph.add("Mul", limited, limited)
    size = graph.add("ReduceSum", size, graph.constant(np.array([1, 2])), keepdims=0)
    size = graph.add("Unsqueeze", size, one)
    unit = graph.constant(np.array([1.0]))
    size = graph.add("Add", size, graph.add("Sub", unit, graph.add("Sign", size)))
    column = graph.add("Div", excess, graph.constant(states.copy()))
    column = graph.add("Unsqueeze", column, graph.constant(np.array([2])))
    wanted = graph.add(
        "Squeeze", graph.add("MatMul", limited, column), graph.constant(np.array([2]))
    )
    correction = graph.add("Mul", graph.add("Div", wanted, size), graph.constant(inputs.copy()))
    return graph.add("Add", x_next, _moved(graph, correction, gain))


def _tanh_layer(features: FeatureMap) -> tuple[Array, Array]:
    """Return W (h, e) and b (h,) of features that are tanh(W e + b)."""
    form = features.compiled_form() or []
    if len(form) == 1 and isinstance(form[0], Neurons) and form[0].activation == "tanh":
        return form[0].weights, form[0].biases
    raise TypeError(
        f"the features are {features!r}; only one layer of tanh features can be exported: "
        "SampledFeatures"
    )


@checked
def to_control(model: LiftedModel) -> Any:
    """Return the linear roll-out as a discrete-time `control.StateSpace`.

    Its n states are the lifted ones ("z0" is the constant 1), its outputs the model's states by
    name, its inputs "u0", "u1", ...; a model without sampling time gets dt=True.

    Raises:
        ImportError: python-control is not installed.
        ValueError: The model is bilinear, which no StateSpace can hold.

    Example:
        >>> system = to_control(model)  # doctest: +SKIP
        >>> control.forced_response(system, inputs=U.T, initial_state=model.lift(x0))
        ...  # doctest: +SKIP
    """
    _require_linear(model)
    control = optional_package("control", "interop")
    return control.ss(
        model.A,
        model.B,
        model.C,
        np.zeros((model.n_states, model.n_inputs)),
        True if model.dt is None else model.dt,
        states=[f"z{i}" for i in range(model.n_lifted)],
        inputs=[f"u{i}" for i in range(model.n_inputs)],
        outputs=list(model.state_names) or model.n_states,
        name="lifted_model",
    )


@checked
def to_dlti(model: LiftedModel) -> Any:
    """Return the linear roll-out as a `scipy.signal.dlti` with the lifted state as its state.

    Raises:
        ValueError: The model is bilinear.
    """
    _require_linear(model)
    D = np.zeros((model.n_states, model.n_inputs))
    make: Any = dlti  # calling it makes a discrete StateSpace, which its stubs do not know
    return make(model.A, model.B, model.C, D, dt=True if model.dt is None else model.dt)


def _require_linear(model: LiftedModel) -> None:
    model.require_plain_inputs("no linear state space can hold it")
    if model.N is not None:
        raise ValueError(
            "the model has input couplings N, which a linear state space cannot hold; fit with "
            'coupling="linear"'
        )
