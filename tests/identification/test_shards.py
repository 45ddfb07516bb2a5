"""Fits to shards: the model of all data in memory, the same bits from any number of workers."""

import functools
import os
import random
from collections.abc import Callable, Sequence
from typing import Any

import joblib
import numpy as np
import pytest
from sklearn.exceptions import NotFittedError

from koopman_control.common.arrays import Array
from koopman_control.features import SampledFeatures
from koopman_control.identification import Corrections, EDMDc, LeastSquares, snapshots
from koopman_control.identification.shards import grouped
from koopman_control.identification.workers import FAN_IN, Tree
from koopman_control.trajectories import Trajectory

LENGTHS = (150, 90, 1, 200, 40, 120, 70, 160, 30, 110)


def oscillation(n_steps: int, seed: int) -> Trajectory:
    """Simulate a driven van der Pol oscillator with steps of 0.05 s."""
    rng = np.random.default_rng(seed)
    U, X = rng.uniform(-1.0, 1.0, (n_steps, 1)), [rng.uniform(-2.0, 2.0, 2)]
    for u in U[:, 0]:
        x, v = X[-1]
        X.append(X[-1] + 0.05 * np.array([v, (1.0 - x * x) * v - x + u]))
    return Trajectory(np.array(X), U, dt=0.05)


DATA = [oscillation(n, seed) for seed, n in enumerate(LENGTHS)]
SHARDS = [DATA[:3], DATA[3:4], [], DATA[4:8], DATA[8:]]


def estimator(**settings: Any) -> EDMDc:
    usual: dict[str, Any] = {"features": SampledFeatures(20, random_state=0), "horizon": 10}
    return EDMDc(**(usual | settings))


def reader(data: Sequence[Trajectory]) -> list[Trajectory]:
    return list(data)


def readers(shards: Sequence[Sequence[Trajectory]] = SHARDS) -> list[Callable[[], Any]]:
    return [functools.partial(reader, shard) for shard in shards]


def coefficients(fit: EDMDc) -> Array:
    return np.hstack([fit.model_.A, fit.model_.B])


def same(one: EDMDc, two: EDMDc, rtol: float = 1e-8) -> None:
    size = np.abs(coefficients(one)).max()
    np.testing.assert_allclose(
        coefficients(one), coefficients(two), rtol=0.0, atol=rtol * max(size, 1.0)
    )
    assert one.choices_[0].regularization == two.choices_[0].regularization
    assert one.model_.summary["n_samples"] == two.model_.summary["n_samples"]
    for rollout, errors in two.cv_error_.items():
        np.testing.assert_allclose(one.cv_error_[rollout], errors, rtol=1e-6)


KINDS: list[dict[str, Any]] = [
    {},
    {"n_folds": 0, "regularization": 1e-8},
    {"coupling": "bilinear", "memory": 2},
    {"features": [SampledFeatures(5, random_state=0), SampledFeatures(15, random_state=0)]},
    {"input_delay": 1},
    {"input_delay": -1},
    {"rollout": "linear", "n_draws": 2},
    {"least_squares": LeastSquares(derivatives={0: 1})},
    {"regularization": "cv-per-state", "n_folds": 3},
    {"input_features": SampledFeatures(3, random_state=1)},
]


@pytest.mark.parametrize("settings", KINDS, ids=str)
@pytest.mark.parametrize("plenty", [snapshots.PLENTY, 400])
def test_shards_give_the_model_of_all_data_in_memory(
    monkeypatch: pytest.MonkeyPatch, settings: dict[str, Any], plenty: int
) -> None:
    monkeypatch.setattr(snapshots, "PLENTY", plenty)  # at 400, scales come from a sample
    same(estimator(**settings).fit_shards(readers()), estimator(**settings).fit(DATA))


def test_fewer_runs_than_folds_are_cut_as_in_memory() -> None:
    same(estimator().fit_shards(readers([DATA[:1], DATA[3:4]])), estimator().fit(DATA[:4:3]))


def test_limits_are_censored_as_in_memory() -> None:
    bounds = np.array([[-2.0, -2.5], [2.0, 2.5]])
    data = [
        Trajectory(np.clip(t.observations, *bounds), t.actions, observation_bounds=bounds)
        for t in DATA
    ]
    shards, memory = estimator().fit_shards([data[:4], data[4:]]), estimator().fit(data)
    assert shards.model_.summary["n_censored"] == memory.model_.summary["n_censored"] > 0
    np.testing.assert_array_equal(
        shards.model_.signals.saturating, memory.model_.signals.saturating
    )
    same(shards, memory)


def test_a_rare_input_is_seen_in_a_sample(monkeypatch: pytest.MonkeyPatch) -> None:
    """It moves in one step of a thousand, which evenly spaced pairs miss."""
    monkeypatch.setattr(snapshots, "PLENTY", 50)
    rare = [
        Trajectory(t.observations, np.hstack([t.actions, 1.0 * (np.arange(len(t)) == 33)[:, None]]))
        for t in DATA[:2]
    ]
    fit = estimator(n_folds=0, regularization=1e-8).fit_shards([rare[:1], rare[1:]])
    assert np.isfinite(fit._fit.regression.design.input_scale).all()


def test_threads_give_the_same_bits() -> None:
    once = coefficients(estimator().fit_shards(readers()))
    with joblib.parallel_config("threading", n_jobs=2):
        np.testing.assert_array_equal(coefficients(estimator().fit(readers())), once)


@pytest.mark.slow
def test_processes_give_the_same_bits() -> None:
    once = coefficients(estimator().fit_shards(readers()))
    with joblib.parallel_config("multiprocessing", n_jobs=2):
        np.testing.assert_array_equal(coefficients(estimator().fit(readers())), once)
    np.testing.assert_array_equal(coefficients(estimator().fit_shards(readers(), workers=2)), once)


def test_daskgraphs_give_the_same_bits() -> None:
    dask, bag = pytest.importorskip("dask"), pytest.importorskip("dask.bag")
    once = coefficients(estimator().fit_shards(readers()))
    lazy = [dask.delayed(reader)(shard) for shard in SHARDS]
    with dask.config.set(scheduler="threads"):
        np.testing.assert_array_equal(coefficients(estimator().fit(lazy)), once)
        bags = bag.from_delayed(lazy)
        np.testing.assert_array_equal(coefficients(estimator().fit(bags)), once)


@pytest.mark.slow
def test_a_dask_cluster_gives_the_same_bits() -> None:
    distributed, dask = pytest.importorskip("distributed"), pytest.importorskip("dask")
    once = coefficients(estimator().fit_shards(readers()))
    with (
        distributed.LocalCluster(
            n_workers=2, threads_per_worker=1, dashboard_address=":0"
        ) as cluster,
        distributed.Client(cluster),
    ):
        with joblib.parallel_config("dask"):
            np.testing.assert_array_equal(coefficients(estimator().fit(readers())), once)
        lazy = dask.persist(*[dask.delayed(reader)(shard) for shard in SHARDS])
        np.testing.assert_array_equal(coefficients(estimator().fit(list(lazy))), once)


def test_a_pilot_reads_shards_once_and_its_own_rows_do_not_count() -> None:
    read = []

    def counted(i: int) -> list[Trajectory]:
        read.append(i)
        return SHARDS[i]

    fit = estimator().fit_shards(
        [functools.partial(counted, i) for i in range(len(SHARDS))], pilot=DATA
    )
    assert sorted(read) == list(range(len(SHARDS)))
    assert fit.model_.summary["n_samples"] == sum(LENGTHS)
    given = {"n_folds": 0, "regularization": 1e-8}
    same(estimator(**given).fit_shards(SHARDS, pilot=DATA), estimator(**given).fit(DATA))


def test_sums_by_hand_merge_to_the_same_bits_and_stay_as_they_are() -> None:
    at_once = estimator().fit_shards([[t] for t in DATA], pilot=DATA[:3])
    pilot = estimator().fit(DATA[:3])
    parts = [pilot.sums([t]) for t in DATA]
    for _ in range(2):
        pilot.merge(parts)
        np.testing.assert_array_equal(coefficients(pilot), coefficients(at_once))


def test_windows_of_merged_parts_do_not_depend_on_their_order() -> None:
    pilot = estimator(n_folds=2, horizon=2).fit(DATA)
    parts = [pilot.sums([t]) for t in DATA]
    score = pilot.merge(parts).choices_[0].score
    assert len(pilot._fit.selection.trial.folds.windows[0].x0) == 64
    assert pilot.merge(parts[::-1]).choices_[0].score == pytest.approx(score, rel=1e-6)


def test_more_rows_may_follow_a_fit_to_shards() -> None:
    fit, given = DATA[:6], {"n_folds": 0, "regularization": 1e-8}
    more = estimator(**given).fit_shards([fit]).partial_fit(DATA[6:])
    same(more, estimator(**given).fit(fit).partial_fit(DATA[6:]))


@pytest.mark.parametrize("n", [1, 2, FAN_IN, FAN_IN + 1, 5 * FAN_IN**2 // 2])
def test_a_tree_adds_in_one_order_whatever_comes_first(n: int) -> None:
    numbers = np.random.default_rng(0).normal(size=n) * 10.0 ** np.arange(n).clip(max=12)
    totals = set()
    for seed in range(5):
        tree: Tree[float] = Tree(n, lambda a, b: a + b)
        order = list(range(n))
        random.Random(seed).shuffle(order)
        for i in order:
            tree.put(i, float(numbers[i]))
        totals.add(tree.total())
    assert len(totals) == 1
    assert totals.pop() == pytest.approx(numbers.sum(), rel=1e-9)


def test_neighbouring_small_shards_share_a_task() -> None:
    assert grouped([60_000, 30_000, 20_000, 200_000, 0, 1]) == [[0, 1], [2], [3], [4, 5]]


def killed_once(folder: str, data: Sequence[Trajectory]) -> list[Trajectory]:
    """Die as a process that is out of memory does, the first time."""
    try:
        os.mkdir(f"{folder}/died")
    except FileExistsError:
        return list(data)
    os.kill(os.getpid(), 9)
    return []


def out_of_memory() -> list[Trajectory]:
    raise MemoryError


def dying() -> list[Trajectory]:
    os.kill(os.getpid(), 9)
    return []


@pytest.mark.slow
def test_what_died_with_a_worker_is_done_again(tmp_path: Any) -> None:
    dying_once = functools.partial(killed_once, str(tmp_path), DATA[3:])
    fit = estimator().fit_shards([functools.partial(reader, DATA[:3]), dying_once], workers=2)
    np.testing.assert_array_equal(
        coefficients(fit), coefficients(estimator().fit_shards([DATA[:3], DATA[3:]]))
    )


@pytest.mark.slow
def test_workers_that_die_again_and_again_leave_the_estimator_as_it_was() -> None:
    fit = estimator().fit(DATA)
    before = coefficients(fit)
    with pytest.raises(MemoryError, match=r"workers died 3 times.*use fewer workers, smaller"):
        fit.fit_shards([readers()[0], dying], pilot=DATA, workers=2)
    np.testing.assert_array_equal(coefficients(fit), before)


@pytest.mark.slow
def test_workers_of_a_cluster_that_die_are_told_in_a_sentence() -> None:
    distributed, dask = pytest.importorskip("distributed"), pytest.importorskip("dask")
    with (
        dask.config.set({"distributed.scheduler.allowed-failures": 0}),
        distributed.LocalCluster(n_workers=2, threads_per_worker=1, dashboard_address=":0") as two,
        distributed.Client(two),
    ):
        lazy = [dask.delayed(reader)(DATA), dask.delayed(dying)()]
        with pytest.raises(MemoryError, match="workers died again and again, most likely for want"):
            estimator().fit(lazy)
        with joblib.parallel_config("dask"):
            with pytest.raises(MemoryError, match="workers died again and again"):
                estimator().fit_shards([dying], pilot=DATA)


def test_a_worker_without_memory_is_named() -> None:
    with pytest.raises(MemoryError, match="shard 1: a worker is out of memory; use smaller"):
        estimator().fit_shards([readers()[0], out_of_memory])


def test_a_full_disk_is_told_as_it_is() -> None:
    def full() -> list[Trajectory]:
        raise OSError(28, "No space left on device", "/scratch/part")

    with pytest.raises(OSError, match="shard 0: No space left on device: '/scratch/part'"):
        estimator().fit_shards([full])


def test_shards_of_other_systems_are_refused_by_name() -> None:
    wide = Trajectory(np.ones((5, 3)), np.ones((4, 1)), dt=0.05)
    with pytest.raises(ValueError, match=r"shard 1: data\[0\] has 3 as its observation columns, "):
        estimator().fit_shards([DATA[:3], [wide]])
    slow = Trajectory(np.ones((5, 2)), np.ones((4, 1)), dt=0.1)
    with pytest.raises(ValueError, match=r"shard 1: data\[0\] has 0.1 as its dt, the first shard"):
        estimator().fit_shards([DATA[:3], [slow]])
    gaps = Trajectory(np.full((5, 2), np.nan), np.ones((4, 1)), dt=0.05, missing=True)
    with pytest.raises(ValueError, match=r"shard 1: data\[0\] lacks 10 entries"):
        estimator().fit_shards([DATA[:3], [gaps]])
    with pytest.raises(TypeError, match=r"shard 0: data\[0\] is a ndarray; expected a Trajectory"):
        estimator().fit_shards([lambda: [np.ones(3)]])


def test_nothing_to_fit_to_is_refused() -> None:
    with pytest.raises(ValueError, match="readers is empty; expected at least one shard"):
        estimator().fit_shards([])
    with pytest.raises(ValueError, match="none of 2 shards holds a trajectory"):
        estimator().fit_shards([[], []])
    with pytest.raises(ValueError, match="no trajectory in 1 shards is longer than 2 steps"):
        estimator(memory=2).fit_shards([DATA[2:3]])
    with pytest.raises(ValueError, match="data holds a single step"):
        estimator().fit_shards([DATA[2:3]])
    with pytest.raises(ValueError, match="data holds 31 usable samples, but there are 46 unknown"):
        estimator(coupling="bilinear").fit_shards([DATA[2:3], DATA[8:9]])


@pytest.mark.parametrize(
    ("corrections", "named"),
    [
        (Corrections(noise="smooth"), "noise is 'smooth'"),
        (Corrections(trim=0.9), "trim is 0.9"),
        (Corrections(refine_horizon=True), "refine_horizon is True"),
    ],
)
def test_what_needs_all_data_at_once_is_refused_by_name(
    corrections: Corrections, named: str
) -> None:
    with pytest.raises(ValueError, match=f"{named}, which needs all data at once, unlike a fit to"):
        estimator(corrections=corrections).fit(readers())
    with pytest.raises(ValueError, match=named):
        estimator(corrections=corrections).sums(DATA)


def test_weights_of_shards_are_refused() -> None:
    with pytest.raises(ValueError, match="sample_weight is given with shards of data"):
        estimator().fit(readers(), sample_weight=[1.0] * 10)


def test_sums_need_a_pilot_and_merge_sums_of_that_pilot() -> None:
    with pytest.raises(NotFittedError, match="sums needs a pilot: first fit this EDMDc to data"):
        estimator().sums(DATA)
    with pytest.raises(NotFittedError, match="merge needs a pilot"):
        estimator().merge([])
    one, two = estimator().fit(DATA[:4]), estimator().fit(DATA[4:])
    with pytest.raises(ValueError, match="parts is empty; expected at least one result of sums"):
        one.merge([])
    with pytest.raises(ValueError, match=r"parts\[1\] was summed with the scales .* another pilot"):
        one.merge([one.sums(DATA), two.sums(DATA)])


def test_a_shard_that_changes_while_it_is_read_is_refused() -> None:
    lengths = iter([3, 3, 4])

    def growing() -> list[Trajectory]:
        return DATA[: next(lengths)]

    with pytest.raises(ValueError, match="shard 0: holds 4 runs of 441 steps and held 3 of 241"):
        estimator().fit_shards([growing])
