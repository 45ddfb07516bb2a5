"""Bounds that are kept in spite of noise, because predictions leave room for it."""

from collections.abc import Callable
from dataclasses import replace
from typing import Any, Literal

import numpy as np
import pytest
from scipy.stats import norm

from koopman_control.common.arrays import Array
from koopman_control.identification import LiftedModel, error_quantiles
from koopman_control.mpc import Bounds, Cost, Inputs, KoopmanMPC, Tube, tube_margins
from koopman_control.mpc.terminal import riccati
from koopman_control.trajectories import Trajectory

Make = Callable[..., LiftedModel]
F, G = np.array([[1.0, 0.1], [0.0, 0.9]]), np.array([[0.0], [0.5]])
CHOICES: list[Literal["auto", False]] = ["auto", False]
CEILING = [[-np.inf, -np.inf], [1.0, np.inf]]
SIGMA = np.array([0.02, 0.02])


def with_quantiles(model: LiftedModel, quantiles: Array) -> LiftedModel:
    return replace(model, error_quantiles={"linear": quantiles})


def noise_spread(n: int) -> Array:
    """Standard deviation of the states 1 ... n steps ahead, shape (n, 2)."""
    P, out = np.zeros((2, 2)), []
    for _ in range(n):
        P = F @ P @ F.T + np.diag(SIGMA**2)
        out.append(np.sqrt(np.diag(P)))
    return np.array(out)


def noisy_loop(mpc: KoopmanMPC, n: int, draw: Callable[[], Array]) -> Array:
    x, X = np.zeros(2), []
    for _ in range(n):
        x = F @ x + G @ mpc.act(x) + draw()
        X.append(x)
    return np.array(X)


@pytest.mark.slow
def test_a_chance_constraint_is_kept_as_often_as_promised(linear_model: Make) -> None:
    """The target lies beyond the bound; quantiles of 80 % leave 10 % above it at most."""
    model, N = linear_model(F, G), 10
    quantiles = norm.ppf(0.9) * noise_spread(N)
    settings: dict[str, Any] = {"reference": [1.5, 0.0], "output_bounds": CEILING}
    rates = []
    for tighten in CHOICES:
        mpc = KoopmanMPC(
            with_quantiles(model, quantiles),
            N,
            [1, 0],
            bounds=Bounds(soft=False, tighten=tighten),
            **settings,
        )
        rng = np.random.default_rng(0)
        X = noisy_loop(mpc, 1500, lambda rng=rng: SIGMA * rng.normal(size=2))[50:]  # type: ignore[misc]
        rates.append((X[:, 0] > 1.0).mean())
    assert rates[0] <= 0.1
    assert rates[1] > 0.3


def test_quantiles_estimated_from_data_do_as_well(linear_model: Make) -> None:
    rng, runs, N = np.random.default_rng(1), [], 8
    for _ in range(20):
        x, X, U = rng.normal(size=2), [], rng.uniform(-1, 1, (60, 1))
        for u in U:
            X.append(x)
            x = F @ x + G @ u + SIGMA * rng.normal(size=2)
        runs.append(Trajectory(np.array([*X, x]), U))
    model = linear_model(F, G)
    quantiles = error_quantiles(model, runs, N, [0.8], rollout="linear")[0]
    mpc = KoopmanMPC(
        with_quantiles(model, quantiles),
        N,
        [1, 0],
        reference=[1.5, 0.0],
        output_bounds=CEILING,
        bounds=Bounds(soft=False),
    )
    visited = noisy_loop(mpc, 1000, lambda: SIGMA * rng.normal(size=2))[50:]
    assert (visited[:, 0] > 1.0).mean() <= 0.13


def test_only_hard_bounds_are_tightened_unless_told(linear_model: Make) -> None:
    quantiles = np.tile([0.1, 0.2], (4, 1))
    model = with_quantiles(linear_model(F, G), quantiles)

    def highs(**settings: Any) -> Array:
        mpc = KoopmanMPC(model, 4, output_bounds=(-1, 1), **settings)
        return np.asarray(mpc._weights.output_bounds[1, 0])

    np.testing.assert_array_equal(highs(), [1.0, 1.0])
    np.testing.assert_array_equal(highs(bounds=Bounds(soft=[False, True])), [0.9, 1.0])
    np.testing.assert_array_equal(highs(bounds=Bounds(soft=False)), [0.9, 0.8])
    np.testing.assert_array_equal(highs(bounds=Bounds(soft=False, tighten=False)), [1.0, 1.0])
    np.testing.assert_array_equal(highs(bounds=Bounds(tighten=[0.3, 0.0])), [0.7, 1.0])


def test_polytopes_move_inwards_by_what_margins_make_of_their_rows(linear_model: Make) -> None:
    rows = ([[1.0, -2.0], [0.0, 0.0]], [[0.5], [1.0]], [3.0, 1.0])
    margin = np.array([[0.1, 0.2], [0.3, 0.1], [0.0, 0.5]])
    model = linear_model(F, G)
    moved = KoopmanMPC(model, 3, bounds=Bounds(polytope=rows, tighten=margin))._weights.polytope[2]
    np.testing.assert_allclose(moved, [[2.5, 1.0], [2.5, 1.0], [2.0, 1.0]], rtol=1e-14)
    known = with_quantiles(model, np.tile([0.1, 0.2], (3, 1)))
    for soft, side in ((True, 3.0), (False, 2.5)):  # unless told, only hard rows
        kept = KoopmanMPC(known, 3, bounds=Bounds(polytope=rows, soft=soft))._weights.polytope[2]
        np.testing.assert_allclose(kept, np.tile([side, 1.0], (3, 1)), rtol=1e-14)


def test_behind_a_delay_the_quantiles_of_later_steps_count(linear_model: Make) -> None:
    quantiles = np.arange(1.0, 7.0)[:, None] * [0.1, 0.0]
    model = with_quantiles(linear_model(F, G), quantiles)
    mpc = KoopmanMPC(
        model, 4, output_bounds=CEILING, bounds=Bounds(soft=False), inputs=Inputs(delay=2)
    )
    np.testing.assert_allclose(mpc._weights.output_bounds[1, :, 0], [0.7, 0.6, 0.5, 0.4])


def test_bounds_never_cross_and_that_is_said(linear_model: Make) -> None:
    with pytest.warns(UserWarning, match=r"state 0 may be off by 3 after step 1.* -1 and 1;"):
        mpc = KoopmanMPC(
            linear_model(F, G), 3, output_bounds=(-1, 1), bounds=Bounds(tighten=[3.0, 0.1])
        )
    low, high = mpc._weights.output_bounds
    np.testing.assert_allclose(low[:, 0], -0.1)
    np.testing.assert_allclose(high[:, 0], 0.1)


def test_short_quantiles_are_held_and_that_is_said(linear_model: Make) -> None:
    model = with_quantiles(linear_model(F, G), np.array([[0.1, 0.1], [0.2, 0.1], [np.inf, 0.1]]))
    with pytest.warns(UserWarning, match="reach 2 steps, the plan 4"):
        mpc = KoopmanMPC(model, 4, output_bounds=CEILING, bounds=Bounds(soft=False))
    np.testing.assert_allclose(mpc._weights.output_bounds[1, :, 0], [0.9, 0.8, 0.8, 0.8])


def test_in_a_tube_hard_bounds_hold_at_every_step(linear_model: Make) -> None:
    model, N, w = linear_model(F, G), 12, np.array([0.02, 0.03])
    rng, sides = np.random.default_rng(0), []
    mpc = KoopmanMPC(
        model,
        N,
        [1, 0],
        1e-3,
        reference=[1.5, 0.0],
        output_bounds=CEILING,
        input_bounds=(-2, 2),
        bounds=Bounds(soft=False, tighten=tube_margins(model, N, w, Q=[1, 0], R=0.1)),
    )
    x, highest = np.zeros(2), -np.inf
    for _ in range(1000):
        sides.append(rng.choice([-1.0, 1.0], 2))  # noise at its worst
        x = F @ x + G @ mpc.act(x) + w * sides[-1]
        highest = max(highest, x[0])
        assert mpc.last is not None
        assert mpc.last.rung == "solved"
    assert highest <= 1.0 + 1e-8
    assert highest > 0.9


def test_the_tube_holds_every_deviation_under_feedback(linear_model: Make) -> None:
    """Against extreme noise sequences, simulated; the widest comes close to the bound."""
    model, w = linear_model(F, G), np.array([0.02, 0.03])
    tube = tube_margins(model, 15, w)
    K, _ = riccati(model, np.zeros(2), np.zeros(1), np.eye(2), np.eye(1))
    closed = F - G @ K
    for i in range(2):
        e = strayed(closed, w, np.eye(2)[i], 15)
        assert e[i] == pytest.approx(tube.outputs[-1, i], rel=1e-12)
    assert tube.inputs[0] == 0.0
    for k in range(1, 15):
        taken = K @ strayed(closed, w, K[0], k)
        assert taken == pytest.approx(tube.inputs[k], rel=1e-12)


def strayed(closed: Array, w: Array, row: Array, n: int) -> Array:
    """Deviation after n steps of the noise that drives row e furthest."""
    e = np.zeros(2)
    for j in range(n):
        e = closed @ e + w * np.sign(row @ np.linalg.matrix_power(closed, n - 1 - j))
    return e


def test_input_bounds_leave_the_feedback_room(linear_model: Make) -> None:
    """From the furthest starts that have a plan, noise drives the plant further out."""
    w = np.array([0.05, 0.02])
    model = linear_model([[1.2, 0.1], [0.0, 0.8]], [[1.0], [0.3]], action_bounds=[[-1.0], [1.0]])
    tube = tube_margins(model, 25, w)
    bounds, cost = Bounds(soft=False, terminal_set="invariant"), Cost(terminal="riccati")

    def rungs(tighten: Any, direction: Array) -> set[str]:
        mpc = KoopmanMPC(model, 25, 1.0, 1.0, cost=cost, bounds=replace(bounds, tighten=tighten))
        near, far, used = 0.0, 30.0, set[str]()
        while far - near > 1e-6:
            middle = 0.5 * (near + far)
            mpc.reset()
            mpc.act(middle * direction)
            assert mpc.last is not None
            near, far = (middle, far) if mpc.last.rung == "solved" else (near, middle)
        mpc.reset()
        x = near * direction
        for _ in range(12):
            u = mpc.act(x)
            assert mpc.last is not None
            used.add(mpc.last.rung)
            x = model.predict(x, u[None], "linear")[0] + w * np.sign(direction)
        return used

    for direction in np.array([[1.0, 0.1], [-1.0, -0.3], [1.0, 0.5]]):
        assert rungs(tube, direction) == {"solved"}
        assert "softened" in rungs(tube.outputs, direction)


def test_polytopes_of_inputs_and_states_leave_room_for_both(linear_model: Make) -> None:
    tube = Tube(np.array([[0.1, 0.2], [0.3, 0.1]]), np.array([[0.0], [0.4]]))
    rows = ([[1.0, -2.0]], [[-0.5]], [3.0])
    mpc = KoopmanMPC(
        linear_model(F, G), 2, input_bounds=(-1, 2), bounds=Bounds(polytope=rows, tighten=tube)
    )
    np.testing.assert_allclose(mpc._weights.polytope[2], [[2.5], [2.3]], rtol=1e-14)
    np.testing.assert_allclose(mpc._weights.input_bounds[:, :, 0], [[-1.0, -0.6], [2.0, 1.6]])


def test_a_tube_of_another_horizon_is_refused(linear_model: Make) -> None:
    with pytest.raises(ValueError, match="tighten's input margins has shape"):
        KoopmanMPC(
            linear_model(F, G), 4, bounds=Bounds(tighten=tube_margins(linear_model(F, G), 5, 0.1))
        )


@pytest.mark.parametrize(
    ("tighten", "message"),
    [
        (-0.1, "smallest entry -0.1; expected margins of at least 0"),
        ([0.1, 0.1, 0.1], r"shape \(3,\)"),
        ("yes", "tighten is 'yes'; expected"),
        (True, "tighten is True; expected"),
    ],
)
def test_margins_that_are_none_are_refused(linear_model: Make, tighten: Any, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        KoopmanMPC(linear_model(F, G), 4, output_bounds=(-1, 1), bounds=Bounds(tighten=tighten))


def test_a_plant_that_cannot_be_stabilised_has_no_tube(linear_model: Make) -> None:
    with pytest.raises(ValueError, match="does not stabilise"):
        tube_margins(linear_model([[1.1]], [[0.0]]), 5, 0.1)
