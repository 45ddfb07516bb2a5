import numpy as np
import pytest

from koopman_control.common.arrays import Array
from koopman_control.identification import rollouts


def system(n: int = 12, m: int = 2, d: int = 2) -> tuple[Array, Array, Array, Array]:
    rng = np.random.default_rng(0)
    A = 0.9 * np.linalg.qr(rng.standard_normal((n, n)))[0]
    N = 0.1 * rng.standard_normal((m, n, n))
    return A, rng.standard_normal((n, m)), rng.standard_normal((d, n)), N


def step_by_step(A: Array, B: Array, N: Array | None, z0: Array, U: Array) -> Array:
    Z = []
    for z, plan in zip(z0, U, strict=True):
        for u in plan:
            matrix = A if N is None else A + np.einsum("m,mij->ij", u, N)
            z = matrix @ z + B @ u
            Z.append(z)
    return np.array(Z).reshape(len(U), U.shape[1], len(A))


@pytest.mark.parametrize("n_sequences", [1, 3, 9])
@pytest.mark.parametrize("horizon", [1, 4, 30])
def test_the_linear_roll_out_is_the_recursion_whichever_way_it_is_computed(
    n_sequences: int, horizon: int
) -> None:
    A, B, C, _ = system()
    rng = np.random.default_rng(1)
    z0, U = rng.standard_normal((n_sequences, 12)), rng.standard_normal((n_sequences, horizon, 2))
    expected = step_by_step(A, B, None, z0, U) @ C.T
    np.testing.assert_allclose(rollouts.linear(A, B, C, z0, U), expected, rtol=0, atol=1e-12)


def test_one_first_state_serves_all_sequences() -> None:
    A, B, C, _ = system()
    rng = np.random.default_rng(1)
    z0, U = rng.standard_normal(12), rng.standard_normal((9, 4, 2))
    expected = step_by_step(A, B, None, np.tile(z0, (9, 1)), U) @ C.T
    np.testing.assert_allclose(rollouts.linear(A, B, C, z0, U), expected, rtol=0, atol=1e-12)


def test_the_bilinear_roll_out_is_the_recursion() -> None:
    A, B, _, N = system()
    rng = np.random.default_rng(1)
    z0, U = rng.standard_normal((5, 12)), rng.uniform(-1, 1, (5, 6, 2))
    expected = step_by_step(A, B, N, z0, U)
    np.testing.assert_allclose(rollouts.lifted(A, B, N, z0, U), expected, rtol=0, atol=1e-12)
