"""Identification with nothing to choose: on plants whose structure is known."""

import importlib
from dataclasses import replace
from typing import Any

import numpy as np
import pytest

import koopman_control as kc
from koopman_control.common.cluster import cluster
from koopman_control.identification import Structure, identify
from koopman_control.identification.draws import compile_loops
from koopman_control.identification.log_facts import (
    lost_by_thinning,
    row_timing,
    shifted,
    thinned,
    with_found_limits,
    with_input_range,
)

pytest.importorskip("numba", reason="output-error fits need numba")


def bent(steps: int = 600, seed: int = 0, through: bool = False) -> Any:
    """y[t+1] = 0.8 y[t] + 0.3 sin(2 y[t]) / 2 + u; the input of a row acts in the same row."""
    rng = np.random.default_rng(seed)
    u, y = rng.uniform(-1.0, 1.0, steps + 1), np.zeros(steps + 1)
    for t in range(steps):
        y[t + 1] = 0.8 * y[t] - 0.3 * np.tanh(2.0 * y[t]) + 0.5 * u[t + 1 if through else t]
    return kc.Trajectory(y, u[:-1], dt=0.1)


def free_run_error(model: Any, data: Any) -> Any:
    found = model.simulate(data.actions, data.observations[:3])
    measured = data.observations[: len(found.outputs)]
    return np.sqrt(np.mean((found.outputs - measured) ** 2)) / measured.std()


def bounds_of(run: kc.Trajectory) -> Any:
    return run.observation_bounds


FEW: dict[str, Any] = {"n_features": 20, "n_draws": 3, "seconds": 30.0}


def test_feedthrough_is_found_and_simulated() -> None:
    found = identify(bent(through=True), **FEW)
    assert found.structure.feedthrough
    assert found.model.input_delay == -1
    assert any(sentence.startswith("Feed-through") for sentence in found.findings)
    assert free_run_error(found.model, bent(seed=1, through=True)) < 0.01


def test_a_controller_of_a_feedthrough_model_meets_its_reference() -> None:
    model = identify(bent(through=True), structure=Structure(1, feedthrough=True), **FEW).model
    controller = kc.KoopmanMPC(model, 8, Q=[1.0], R=1e-4, reference=[0.3], rollout="relifted")
    y = 0.0
    for _ in range(15):  # what is given after a row's measurement is the next row's input
        u = float(controller.act([y])[0])
        y = 0.8 * y - 0.3 * np.tanh(2.0 * y) + 0.5 * u
    assert abs(y - 0.3) < 0.02


def test_an_input_that_never_moves_is_survived() -> None:
    data = bent(300)
    still = replace(data, actions=np.hstack([data.actions, np.full((300, 1), 2.0)]))
    with pytest.warns(UserWarning, match="never moves"):
        kc.EDMDc(kc.PolynomialFeatures(1)).fit(still)
    found = identify(still, structure=Structure(0), n_features=8, n_draws=2)
    outputs = found.model.simulate(still.actions, still.observations[:1]).outputs
    assert np.abs(outputs - still.observations).max() < 0.1


def test_a_plant_without_feedthrough_gets_none_and_beats_the_linear_model() -> None:
    found = identify(bent(), **FEW)
    assert not found.structure.feedthrough
    assert found.error < 0.2 * found.linear_error
    assert free_run_error(found.model, bent(seed=1)) < 0.01


def test_the_same_seed_gives_the_same_bits() -> None:
    structure = Structure(1)
    one, other = (
        identify(bent(300), structure=structure, n_features=8, n_draws=2).model for _ in range(2)
    )
    np.testing.assert_array_equal(one.A, other.A)


def test_nothing_is_left_to_compile_when_the_clock_starts() -> None:
    kernels: Any = importlib.import_module("koopman_control.identification.output_error_kernels")
    loops = kernels.free_run, kernels.free_runs, kernels.sensitive_runs
    compile_loops()
    before = [len(loop.signatures) for loop in loops]
    assert min(before) == 1
    for structure in (Structure(2, coupling="bilinear"), Structure(0, feedthrough=True)):
        identify(bent(300), structure=structure, n_features=8, n_draws=2)
    assert [len(loop.signatures) for loop in loops] == before


def test_processes_that_fit_draws_change_no_bit() -> None:
    settings = FEW | {"structure": Structure(1), "seconds": 300.0}
    alone, together = (identify(bent(300), jobs=jobs, **settings) for jobs in (1, 2))
    assert np.array_equal(alone.model.A, together.model.A)
    assert np.array_equal(alone.model.B, together.model.B)
    assert alone.error == together.error


@pytest.mark.slow
def test_workers_of_a_cluster_change_no_bit() -> None:
    pytest.importorskip("distributed")
    settings = FEW | {"structure": Structure(1), "seconds": 300.0}
    alone = identify(bent(300), **settings)
    with cluster("local", 2) as workers:
        together = identify(bent(300), jobs=workers, **settings)
    assert np.array_equal(alone.model.A, together.model.A)
    assert alone.error == together.error


def test_units_do_not_matter() -> None:
    data = bent(300)
    metres = replace(data, observations=1e-3 * data.observations, actions=1e4 * data.actions)
    structure = Structure(1)
    one = identify(data, structure=structure, n_features=8, n_draws=2).model
    other = identify(metres, structure=structure, n_features=8, n_draws=2).model
    test = bent(100, seed=2)
    y = one.simulate(test.actions, test.observations[:2]).outputs
    z = other.simulate(1e4 * test.actions, 1e-3 * test.observations[:2]).outputs
    np.testing.assert_allclose(1e3 * z, y, rtol=1e-5, atol=1e-6)


def test_a_linear_plant_keeps_the_linear_model() -> None:
    rng = np.random.default_rng(0)
    u, y = rng.normal(size=400), np.zeros(401)
    for t in range(400):
        y[t + 1] = 0.9 * y[t] + 0.2 * u[t]
    found = identify(kc.Trajectory(y, u), structure=Structure(0), n_features=8, n_draws=2)
    assert free_run_error(found.model, kc.Trajectory(y, u)) < 1e-6


def test_a_signal_that_is_cut_off_shows_its_limit() -> None:
    rng = np.random.default_rng(0)
    y = np.minimum(np.cumsum(rng.normal(size=500)) * 0.2, 2.0)
    y[100:130] = 2.0
    data, said = with_found_limits([kc.Trajectory(y, np.zeros(500)[:-1])])
    assert bounds_of(data[0])[1, 0] == 2.0
    assert bounds_of(data[0])[0, 0] == -np.inf
    assert "exactly 2" in said[0]
    free = [kc.Trajectory(rng.normal(size=500), np.zeros(499))]
    assert with_found_limits(free)[1] == []


def test_the_range_of_logged_inputs_becomes_their_bounds() -> None:
    data, said = with_input_range([bent(100)])
    np.testing.assert_array_equal(
        np.asarray(data[0].action_bounds)[:, 0], [bent(100).actions.min(), bent(100).actions.max()]
    )
    assert "log's range" in said[0]


def test_thinning_keeps_every_kth_output_and_the_mean_input() -> None:
    data = kc.Trajectory(np.arange(8.0), np.arange(7.0), dt=0.5)
    thin = thinned([data], 3)[0]
    np.testing.assert_array_equal(thin.observations[:, 0], [0.0, 3.0, 6.0])
    np.testing.assert_array_equal(thin.actions[:, 0], [1.0, 4.0])
    assert thin.dt == 1.5
    assert lost_by_thinning([data], 3) < 1e-12  # straight lines lose nothing


def test_feedthrough_pairs_rows_with_their_own_inputs() -> None:
    data = kc.Trajectory(np.array([0.0, 1.0, 2.0, 3.0]), np.array([10.0, 11.0, 12.0]))
    moved = shifted([data], True)[0]
    np.testing.assert_array_equal(moved.observations[:, 0], [0.0, 1.0, 2.0])
    np.testing.assert_array_equal(moved.actions[:, 0], [11.0, 12.0])


def test_edmdc_with_feedthrough_is_exact() -> None:
    rng = np.random.default_rng(0)
    u, y = rng.normal(size=301), np.zeros(301)
    for t in range(300):
        y[t + 1] = 0.7 * y[t] + 0.4 * u[t + 1]
    data = kc.Trajectory(y, u[:-1])
    fit = kc.EDMDc(kc.PolynomialFeatures(1), regularization=0.0, n_folds=0, input_delay=-1)
    model = fit.fit(data).model_
    np.testing.assert_allclose(model.predict([1.0], [[1.0]]), [[1.1]], atol=1e-10)
    assert kc.prediction_error(model, data, 5).max() < 1e-10


def test_rows_tell_feedthrough_and_feedback() -> None:
    rng = np.random.default_rng(0)
    assert row_timing([bent(through=True)]).through
    assert not row_timing([bent()]).through
    u, y = np.zeros(2_000), np.zeros(2_001)
    for t in range(2_000):
        u[t] = -0.8 * y[t] + 0.3 * rng.normal()
        y[t + 1] = 0.9 * y[t] + 0.2 * u[t] + 0.1 * rng.normal()
    assert row_timing([kc.Trajectory(y, u)]).feedback
    assert not row_timing([bent()]).feedback


def test_too_few_rows_are_refused_in_words() -> None:
    with pytest.raises(ValueError, match="samples"):
        identify(
            kc.Trajectory(np.array([0.0, 1.0, 2.0]), np.array([1.0, 0.0])), structure=Structure(1)
        )
