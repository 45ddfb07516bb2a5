"""Functions learned by one least-squares solve."""

import numpy as np
import pytest

from koopman_control.autopilot.surface import constant_surface, fitted_sum, fitted_surface
from koopman_control.features import SampledFeatures
from tests.autopilot.plants import some_surface

RNG = np.random.default_rng(0)
Z = RNG.normal(size=(300, 3)) * np.array([1.0, 100.0, 1e-3])


def test_a_quadratic_is_recovered_exactly_in_any_units() -> None:
    P = np.array([[1.0, 0.02, 0.0], [0.0, 1e-4, 3.0], [0.0, 0.0, 1e6]])
    y = 2.0 - Z @ np.array([1.0, 0.1, 10.0]) - np.einsum("ti,ij,tj->t", Z, P, Z)
    f = fitted_surface(Z, y[:, None], [None])
    size = np.outer(Z.std(axis=0), Z.std(axis=0))
    np.testing.assert_allclose(f.quadratic[0] * size, -P * size, rtol=1e-6, atol=1e-8)
    np.testing.assert_allclose(f.constant, [2.0], rtol=1e-6)
    assert f.r2[0] > 1.0 - 1e-12


def test_what_is_no_function_of_the_inputs_has_no_left_out_r2() -> None:
    noise = np.random.default_rng(1).normal(size=(300, 1))
    f = fitted_surface(Z, noise, [None, SampledFeatures(20, random_state=0)])
    assert f.r2[0] < 0.1


def test_derivatives_are_those_of_finite_differences() -> None:
    f, z = some_surface(3, 2, seed=1), np.array([[0.3, -0.2, 0.5]])
    h = 1e-5
    steps = h * np.eye(3)
    slope = np.stack([(f(z + e) - f(z - e))[0] / (2.0 * h) for e in steps], axis=-1)
    np.testing.assert_allclose(f.gradient(z)[0], slope, rtol=1e-7, atol=1e-8)
    bend = np.stack([(f.gradient(z + e) - f.gradient(z - e))[0] / (2.0 * h) for e in steps], -1)
    np.testing.assert_allclose(f.curvature(z)[0], bend, rtol=1e-6, atol=1e-7)


def test_surfaces_beside_each_other_are_what_they_were() -> None:
    one, two = some_surface(3, 2, seed=2), some_surface(3, 1, seed=3, neurons=4)
    both = one.beside(two)
    z = RNG.normal(size=(5, 3))
    np.testing.assert_allclose(both(z), np.hstack([one(z), two(z)]), rtol=1e-12)
    np.testing.assert_allclose(
        constant_surface(3, [1.0, -2.0])(z), np.tile([1.0, -2.0], (5, 1)), rtol=0.0
    )


def test_a_sum_of_functions_of_two_places_is_parted() -> None:
    E = RNG.normal(size=(300, 2))
    y = (Z[:, 0] * Z[:, 2] * 1e3 + 3.0 * E[:, 0] - E[:, 1] ** 2)[:, None]
    f = fitted_sum(Z, E, y, [None, SampledFeatures(20, random_state=0)])
    assert f is not None
    assert f.r2.min() > 1.0 - 1e-12
    elsewhere = np.hstack([E, 7.0 * Z[:, 2:]])  # of which the second function does not see the last
    np.testing.assert_allclose(f(Z)[:, :1] + f(elsewhere)[:, 1:], y, atol=1e-8)
    mixed = f.joined(0.5)(Z)
    np.testing.assert_allclose(mixed[:, 1], f(Z)[:, 0], rtol=1e-10)
    assert fitted_sum(Z[:10], E[:10], y[:10], [None]) is None, "too few points"


def test_values_stay_within_those_of_the_data() -> None:
    y = np.sin(Z[:, :1])
    f = fitted_surface(Z, y, [SampledFeatures(30, steepness=0.5, random_state=0)])
    far = f(1e3 * Z)
    assert far.min() >= y.min() and far.max() <= y.max()


@pytest.mark.parametrize("constant", [0.0, 3.5])
def test_a_constant_is_a_constant(constant: float) -> None:
    f = fitted_surface(Z, np.full((300, 1), constant), [None])
    np.testing.assert_allclose(f(Z), constant, atol=1e-9)
