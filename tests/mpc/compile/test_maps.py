"""Affine and quadratic maps of the parameters, on numbers small enough to check by hand."""

import numpy as np
import scipy.sparse as sp

from koopman_control.common.arrays import Array
from koopman_control.mpc.compile.program import AffineMap, AffineQP, QuadraticMap, Recovery

THETA = np.array([1.0, 2.0, 3.0])


def affine(constant: list[float], matrix: list[list[float]]) -> AffineMap:
    return AffineMap(np.array(constant), sp.csr_array(np.array(matrix)))


FIRST = affine([1.0, 2.0], [[1.0, 0.0, 2.0], [0.0, 3.0, 0.0]])  # 8, 8 at THETA
SECOND = affine([-1.0, 5.0], [[0.0, 1.0, 0.0], [2.0, 0.0, 1.0]])  # 1, 10 at THETA


def values(found: AffineMap) -> Array:
    assert isinstance(found.matrix, sp.csr_array)
    return found(THETA)


def test_affine_maps_are_evaluated_picked_added_multiplied_and_stacked() -> None:
    np.testing.assert_array_equal(values(FIRST), [8.0, 8.0])
    np.testing.assert_array_equal(values(SECOND[np.array([1, 0, 1])]), [10.0, 1.0, 10.0])
    np.testing.assert_array_equal(values(FIRST + SECOND), [9.0, 18.0])
    M = np.array([[1.0, 2.0], [0.0, 1.0], [3.0, -1.0]])
    np.testing.assert_array_equal(values(SECOND.times(sp.csr_array(M))), [21.0, 10.0, -7.0])
    np.testing.assert_array_equal(values(SECOND.times(M)), [21.0, 10.0, -7.0])
    np.testing.assert_array_equal(values(FIRST.stacked(SECOND)), [8.0, 8.0, 1.0, 10.0])


def test_quadratic_maps_are_evaluated() -> None:
    found = QuadraticMap(2.0, np.array([1.0, 2.0]), np.array([[1.0, 2.0], [0.0, 3.0]]))
    assert found(np.array([3.0, 4.0])) == 2.0 + 3.0 + 8.0 + 9.0 + 24.0 + 48.0


def test_stated_variables_are_recovered_from_solution_parameters_and_violations() -> None:
    columns = {"x": np.array([[0, 1]]), "s": np.array(2)}
    shift = affine([0.0, 10.0, 0.0], [[1.0, 0.0, 0.0], [0.0, 0.0, 1.0], [0.0, 0.0, 0.0]])
    matrix, excess = np.array([[2.0], [0.0], [0.0]]), np.array([[0.0, 0.0], [0.0, 0.0], [0.0, 1.0]])
    recovery = Recovery(columns, sp.csr_array(matrix), shift, sp.csr_array(excess))
    found = recovery(np.array([4.0]), THETA, np.array([5.0, 7.0]))
    np.testing.assert_array_equal(found["x"], [[9.0, 13.0]])
    np.testing.assert_array_equal(found["s"], 7.0)


def test_at_first_the_solution_holds_all_variables() -> None:
    columns = {"x": np.array([2, 0])}
    found = Recovery.of(columns, 3, 2)(np.array([4.0, 5.0, 6.0]), np.ones(2), np.zeros(0))
    np.testing.assert_array_equal(found["x"], [6.0, 4.0])


def test_variables_of_interest_are_known_by_their_columns() -> None:
    empty = affine([], [[]])
    for columns, wanted in (({"x": np.array([[3, 1]]), "y": np.array(2)}, [3, 1, 2]), ({}, [])):
        matrix = sp.csr_array((4, 4))
        qp = AffineQP(
            P=matrix,
            q=empty,
            c=QuadraticMap(0.0, np.zeros(0), np.zeros((0, 0))),
            E=matrix,
            b=empty,
            F=matrix,
            g=empty,
            columns=columns,
            names=((), ()),
            recovery=Recovery.of(columns, 4, 0),
        )
        np.testing.assert_array_equal(qp.wanted, wanted)
        assert qp.wanted.dtype == np.int64
