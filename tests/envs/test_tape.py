from typing import Any

import numpy as np
import pytest

from koopman_envs.integration import Components
from koopman_envs.tape import Tape


def formula(x: Components, u: Components) -> Components:
    a = 2.0 * x[0] - x[1] / (1.0 + x[0] * x[0])
    b = np.sin(x[1]) * np.exp(-a) + np.float64(0.3) * u[0]
    return [a * b - np.sqrt(2.0 + np.cos(b)), np.maximum(a, b), a]


def test_a_replay_equals_the_formula_to_the_last_bit() -> None:
    rng = np.random.default_rng(0)
    x, u = np.empty((2, 1001)), np.empty((1, 1001))
    tape = Tape(formula, x, u)
    for _ in range(3):
        x[:], u[:] = rng.normal(size=x.shape), rng.normal(size=u.shape)
        before = x.copy()
        for got, expected in zip(tape(), formula(x, u), strict=True):
            np.testing.assert_array_equal(got, expected)
        np.testing.assert_array_equal(x, before)


def test_numbers_and_inputs_may_be_results_themselves() -> None:
    x = np.arange(3.0).reshape(1, 3)
    tape = Tape(lambda z: [z[0], 1.5, z[0] + 1.0], x)
    first, second, third = tape()
    np.testing.assert_array_equal(first, x[0])
    assert float(second) == 1.5
    np.testing.assert_array_equal(third, x[0] + 1.0)


def test_a_repeated_expression_is_computed_once() -> None:
    calls = []

    def squares(z: Components) -> Components:
        calls.append(z)
        return [np.exp(z[0] * z[0]), np.exp(z[0] * z[0]) * 1.0]

    tape = Tape(squares, np.ones((1, 4)))
    first, second = tape()
    np.testing.assert_array_equal(first, second)
    tape()
    assert (len(calls), len(tape)) == (1, 3)


@pytest.mark.parametrize(
    "impossible", [lambda z: [np.add.reduce(z[0])], lambda z: [np.add(z[0], 1.0, where=False)]]
)
def test_what_is_not_elementwise_arithmetic_is_refused(impossible: Any) -> None:
    with pytest.raises(TypeError):
        Tape(impossible, np.ones((1, 4)))
