import numpy as np
import pytest

from koopman_control.features import SampledFeatures
from koopman_control.features.base import ActivationName
from koopman_control.features.sampled import ACTIVATIONS


def neurons(activation: ActivationName, scale: float = 1.0) -> tuple[float, float]:
    """Return the values, at the two points of a pair, of a neuron rising from the first."""
    X = scale * np.array([[1.0, -2.0], [4.0, 2.0]])
    features = SampledFeatures(1, activation=activation, random_state=0).fit(X)
    at = features.transform(X)[:, 0]
    return (at[0], at[1]) if features.weights_[0, 0] > 0 else (at[1], at[0])


@pytest.mark.parametrize(
    ("activation", "first", "second"),
    [
        ("tanh", -0.5, 0.5),
        ("relu", 0.0, 1.0),
        ("sine", -0.5, 0.5),
        ("softplus", np.log(4 / 3), np.log(4)),
    ],
)
def test_a_neuron_takes_its_two_values_at_its_pair(
    activation: ActivationName, first: float, second: float
) -> None:
    for scale in (1.0, 1000.0):
        np.testing.assert_allclose(neurons(activation, scale), [first, second], atol=1e-12)


def test_a_softplus_has_its_corner_within_its_pair() -> None:
    softplus = ACTIVATIONS["softplus"]
    ends = np.array([-softplus.offset, softplus.steepness - softplus.offset])
    np.testing.assert_allclose(softplus.slope(ends), [0.25, 0.75])


@pytest.mark.parametrize("name", ACTIVATIONS)
def test_slopes_are_those_of_the_values(name: str) -> None:
    act, h = ACTIVATIONS[name], np.linspace(-30.0, 30.0, 600)
    measured = (act.value(h + 1e-6) - act.value(h - 1e-6)) / 2e-6
    np.testing.assert_allclose(act.slope(h), measured, atol=1e-8)


@pytest.mark.parametrize("name", ACTIVATIONS)
def test_huge_arguments_do_not_overflow(name: str) -> None:
    h = np.array([-1e5, 1e5])
    assert np.isfinite(ACTIVATIONS[name].value(h.copy())).all()
    assert np.isfinite(ACTIVATIONS[name].slope(h)).all()
