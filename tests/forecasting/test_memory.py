import numpy as np
import pytest

from koopman_control.common import Array
from koopman_control.forecasting.memory import DelayMemory, Memory, RecurrentMemory, memory_of


def history(T: int = 40) -> tuple[Array, Array]:
    rng = np.random.default_rng(0)
    return rng.normal(size=(T + 1, 2)), rng.normal(size=(T, 1))


def test_a_delay_state_is_the_newest_row_the_steps_before_it_and_the_inputs() -> None:
    Y, U = np.array([[1.0], [2.0], [4.0], [8.0]]), np.array([[10.0], [20.0], [30.0]])
    states = DelayMemory(2, 1, 1).along(Y, U)
    np.testing.assert_array_equal(states, [[4, 2, 1, 20, 10], [8, 4, 2, 30, 20]])


def test_without_a_memory_the_state_is_the_row() -> None:
    Y, U = history()
    np.testing.assert_array_equal(DelayMemory(0, 2, 1).along(Y, U), Y)


@pytest.mark.parametrize("n_recurrent", [0, 7])
def test_advancing_a_state_step_by_step_walks_along_the_series(n_recurrent: int) -> None:
    Y, U = history()
    memory = memory_of(5, n_recurrent, 2, 1, seed=1)
    states = memory.along(Y, U)
    x = states[:1]
    for k in range(1, len(states)):
        x = memory.advanced(x, U[None, 5 + k - 1], Y[None, 5 + k])
        np.testing.assert_allclose(x[0], states[k], atol=1e-14)


def test_a_recurrent_state_is_its_recursion_from_rest() -> None:
    Y, U = history(3)
    layer = memory_of(2, 4, 2, 1, seed=1)
    assert isinstance(layer, RecurrentMemory)
    h = np.zeros(4)
    for t in range(4):
        u = U[t - 1] if t else np.zeros(1)
        drive = layer.V @ h + layer.W @ Y[t] + layer.B @ u
        h = (1 - layer.leak) * h + layer.leak * np.tanh(drive)
    np.testing.assert_allclose(layer.along(Y, U)[-1], [*Y[-1], *h], atol=1e-14)


def difference_of_starts(memory: Memory, length: int) -> float:
    Y, U = history(200)
    other = np.vstack([Y[: 200 - length] + 3.0, Y[200 - length :]])
    return float(np.abs(memory.along(Y, U)[-1] - memory.along(other, U)[-1]).max())


def test_a_recurrent_layer_forgets_its_start_within_its_memory() -> None:
    assert difference_of_starts(memory_of(60, 30, 2, 1, seed=0), 60) < 1e-3
    assert difference_of_starts(memory_of(60, 30, 2, 1, seed=0), 5) > 1e-2
