"""The same seed gives the same bits, whatever the number of processes, threads and chunks.

Where sums are taken in another order, rounding differs; the tolerance is then stated.
"""

import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from koopman_control import (
    EDMDc,
    KoopmanMPC,
    LiftedModel,
    SampledFeatures,
    Trajectory,
    collect,
    evaluate,
)
from koopman_control.identification import regression

ENV = "koopman_envs/VanDerPol-v0"


@pytest.fixture(scope="module")
def data() -> list[Trajectory]:
    return collect(ENV, n_steps=600, seed=1)


def fitted(data: list[Trajectory]) -> LiftedModel:
    features = SampledFeatures(20, random_state=0)
    return EDMDc(features, states=[0, 1], coupling="bilinear", horizon=10).fit(data).model_


def test_an_evaluation_does_not_depend_on_the_number_of_processes(data: list[Trajectory]) -> None:
    controller = KoopmanMPC(fitted(data), 10, Q=[1.0, 0.1], R=0.01, rollout="relifted")
    results = [evaluate(controller, ENV, range(1000, 1007), workers=w) for w in (1, 2, 3)]
    for other in results[1:]:
        np.testing.assert_array_equal(other.returns, results[0].returns)
        for a, b in zip(other.episodes, results[0].episodes, strict=True):
            np.testing.assert_array_equal(a.actions, b.actions)
            np.testing.assert_array_equal(a.observations, b.observations)


def test_a_fit_in_other_chunks_agrees_to_rounding(
    data: list[Trajectory], monkeypatch: pytest.MonkeyPatch
) -> None:
    # Chunks are a constant of the package; were they others, sums would only round differently.
    whole = fitted(data)
    starts, inputs = np.array([[0.5, 0.2], [-1.0, 0.3]]), np.zeros((2, 10, 1))
    for size in (50, 97, 300):
        monkeypatch.setattr(regression, "CHUNK", size)
        model = fitted(data)
        assert model.summary["regularization"] == whole.summary["regularization"]
        np.testing.assert_allclose(
            model.predict(starts, inputs, "relifted"),
            whole.predict(starts, inputs, "relifted"),
            rtol=1e-8,
        )


def test_a_large_fit_on_more_threads_agrees_to_rounding(
    data: list[Trajectory], monkeypatch: pytest.MonkeyPatch
) -> None:
    # Every thread adds up chunks of its own; how many there are orders the sums.
    monkeypatch.setattr(regression, "CHUNK", 50)
    starts, inputs = np.array([[0.5, 0.2], [-1.0, 0.3]]), np.zeros((2, 10, 1))
    whole = fitted(data).predict(starts, inputs, "relifted")
    for threads in (2, 3):
        monkeypatch.setattr(regression, "n_workers", lambda work, n=threads: n)
        first, second = fitted(data), fitted(data)
        np.testing.assert_array_equal(first.A, second.A)
        predicted = first.predict(starts, inputs, "relifted")
        np.testing.assert_allclose(predicted, whole, rtol=1e-8)


def test_predictions_one_by_one_agree_with_many_at_once_to_rounding(
    data: list[Trajectory],
) -> None:
    model = fitted(data)
    rng = np.random.default_rng(0)
    starts, inputs = rng.uniform(-1, 1, (20, 2)), rng.uniform(-1, 1, (20, 15, 1))
    together = model.predict(starts, inputs, "relifted")
    for x0, U, expected in zip(starts, inputs, together, strict=True):
        np.testing.assert_allclose(model.predict(x0, U, "relifted"), expected, rtol=0, atol=1e-12)


SCRIPT = """
import sys
from koopman_control import EDMDc, SampledFeatures, collect
data = collect("koopman_envs/VanDerPol-v0", n_steps=600, seed=1)
features = [SampledFeatures(n, random_state=0) for n in (10, 40)]
EDMDc(features, states=[0, 1], coupling="bilinear", horizon=10).fit(data).model_.save(sys.argv[1])
"""


def test_a_fit_in_another_process_gives_the_same_file(tmp_path: Path) -> None:
    for name, threads in (("one", 1), ("two", 2)):
        environment = os.environ | {"PYTHONHASHSEED": str(threads)}
        environment |= {"OMP_NUM_THREADS": str(threads), "OPENBLAS_NUM_THREADS": str(threads)}
        command = [sys.executable, "-c", SCRIPT, str(tmp_path / name)]
        subprocess.run(command, env=environment, check=True)
    assert (tmp_path / "one").read_bytes() == (tmp_path / "two").read_bytes()
