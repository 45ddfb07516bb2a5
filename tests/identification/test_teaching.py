"""What many fits agree on, and one-step least squares beside them."""

from dataclasses import replace

import numpy as np
import pytest

import koopman_control as kc
from koopman_control.features import PolynomialFeatures, SampledFeatures
from koopman_control.identification import Structure, identify
from koopman_control.identification.draws import Subject, members_along
from koopman_control.identification.one_step_search import fitted_one_step, judged_one_step
from koopman_control.identification.teaching import Teacher, agreed, imagined, reordered

pytest.importorskip("numba", reason="output-error fits need numba")


def bent(steps: int = 400, seed: int = 0) -> kc.Trajectory:
    rng = np.random.default_rng(seed)
    u, y = rng.uniform(-1.0, 1.0, steps), np.zeros(steps + 1)
    for t in range(steps):
        y[t + 1] = 0.8 * y[t] - 0.3 * np.tanh(2.0 * y[t]) + 0.5 * u[t]
    return kc.Trajectory(y, u, dt=0.1)


def subject(memory: int = 0, coupling: str = "linear") -> Subject:
    structure = Structure(memory, coupling=coupling)  # type: ignore[arg-type]
    return Subject([bent()], structure, (), 5_000, np.inf)


def teachers() -> list[Teacher]:
    found = []
    for memory in (0, 2):
        seen = subject(memory)
        features = SampledFeatures(12, random_state=memory)
        found += [Teacher(seen, m) for m in members_along(seen, features, [1.0, 0.1], np.inf)]
    return found


def test_every_strength_asked_for_is_a_fit_to_all_data() -> None:
    found = members_along(subject(), SampledFeatures(12, random_state=0), [1.0, 0.1], np.inf)
    assert [m.strength for m in found] == [1.0, 0.1]
    assert found[1].error <= found[0].error, "less pulled, closer to the data"


def test_structures_of_any_memory_simulate_from_the_same_rows_and_the_median_is_kept() -> None:
    data, all_of_them = bent(100, seed=3), teachers()
    Y = agreed(all_of_them, data.observations[:3], data.actions[:2], data.actions[2:])
    assert Y is not None
    each = [
        t.subject.simulated(t.member, data.observations[:3], data.actions[:2], data.actions[2:])
        for t in all_of_them
    ]
    np.testing.assert_array_equal(Y, np.median(each, axis=0))
    assert np.sqrt(np.mean((Y - data.observations[3:]) ** 2)) < 0.05 * data.observations.std()


def test_most_lost_is_no_agreement() -> None:
    first = teachers()[0]
    wild = replace(first.member, theta=1e3 * np.ones_like(first.member.theta))
    lost = Teacher(first.subject, wild)
    data = bent(50)
    rows = data.observations[:1], data.actions[:0], data.actions
    assert agreed([lost, lost, first], *rows) is None
    assert agreed([lost, first, first], *rows) is not None


def test_imagined_runs_obey_the_teachers_and_the_logged_inputs() -> None:
    seen = subject(2)
    runs = imagined(teachers(), seen, 900, np.random.default_rng(0))
    assert sum(len(run.U) for run in runs) >= 900
    assert np.isin(np.concatenate([run.U for run in runs]), bent().actions).all()
    for run in runs:  # the memory of a state holds the steps before
        np.testing.assert_allclose(run.X[3:, 1], np.diff(run.X[2:, 0]), atol=1e-12)
    pieces = reordered(bent(), 200, np.random.default_rng(1))
    assert pieces.shape == (200, 1)


@pytest.mark.filterwarnings("ignore:.*is saturated")
def test_one_step_fits_are_judged_by_free_runs() -> None:
    seen = subject()
    bad = judged_one_step(seen, PolynomialFeatures(1))
    good = judged_one_step(seen, SampledFeatures(20, steepness=0.5, random_state=0))
    assert good.error < 0.5 * bad.error
    model = fitted_one_step(seen, good)
    test = bent(200, seed=5)
    Y = model.simulate(test.actions, test.observations[:1]).outputs
    assert np.sqrt(np.mean((Y - test.observations[: len(Y)]) ** 2)) < 0.02


def test_identify_says_how_it_fitted_and_where_the_outputs_were() -> None:
    data = bent()
    summary = identify(data, n_features=10, n_draws=2, seconds=4.0).model.summary
    assert summary["fitted_by"] == "output error of free runs"
    low, high = summary["output_range"]
    assert (low[0], high[0]) == (data.observations.min(), data.observations.max())


@pytest.mark.slow
def test_one_step_fits_are_taken_where_they_are_clearly_better() -> None:
    rng = np.random.default_rng(0)
    u, y = rng.normal(size=6_000), np.zeros(6_001)
    for t in range(9, 6_000):  # an echo of ten steps ago, which short memories do not know
        y[t + 1] = 0.5 * y[t] + 0.4 * np.tanh(y[t - 9]) + u[t]
    found = identify(kc.Trajectory(y, u), n_features=8, n_draws=2, seconds=10.0)
    assert found.model.summary["fitted_by"] == "one-step least squares"
    assert found.structure.memory >= 9
    assert any(sentence.startswith("One-step least squares") for sentence in found.findings)
