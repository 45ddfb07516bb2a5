"""Output-error fits: exact sensitivities, exact plants, and no bias from noise."""

from typing import Any

import numpy as np
import pytest

import koopman_control as kc
from koopman_control.identification import Corrections, RFactor, Structure, refine_free_runs
from koopman_control.identification.draws import Subject
from koopman_control.identification.output_error import (
    OuterWeights,
    OutputErrorFit,
    Prior,
    Windows,
)

pytest.importorskip("numba", reason="output-error fits need numba")


def motor(steps: int = 400, noise: float = 0.0, seed: int = 0) -> Any:
    """A second-order plant of which only the position is measured."""
    rng = np.random.default_rng(seed)
    u, y = rng.normal(size=steps), np.zeros(steps + 1)
    for t in range(steps):
        y[t + 1] = 1.6 * y[t] - 0.65 * (y[t - 1] if t else 0.0) + 0.3 * u[t]
    return kc.Trajectory(y + noise * rng.normal(size=steps + 1), u, dt=0.1)


def wavy(seed: int = 0, steps: int = 400) -> Any:
    rng = np.random.default_rng(seed)
    u, y = rng.normal(size=(steps, 2)), np.zeros((steps + 1, 2))
    for t in range(steps):
        y[t + 1] = 0.8 * y[t] + 0.1 * np.tanh(2.0 * y[t, ::-1]) + u[t] * [0.1, 0.2]
    return kc.Trajectory(y, u, dt=1.0)


FEATURES = [
    kc.SampledFeatures(5, random_state=0),
    kc.PolynomialFeatures(2),
    kc.FeatureUnion([kc.SampledFeatures(3, random_state=0), kc.PolynomialFeatures(2)]),
]


@pytest.mark.parametrize("coupling", ["linear", "bilinear"])
@pytest.mark.parametrize("features", FEATURES)
def test_the_loops_say_what_the_model_says_and_differentiate_it(
    coupling: Any, features: Any
) -> None:
    fit = kc.EDMDc(features, memory=2, coupling=coupling, regularization=1e-4, n_folds=0)
    model = fit.fit(wavy()).model_
    weights = OuterWeights(model)
    moved_on = weights.model(weights.theta)
    run = model.signals.runs(wavy())[0]
    said = moved_on.rolled_out(run.X[:1], run.U[None, :20], "relifted")[0, :, :2]
    Y, done = weights.simulated(weights.theta, run.X[0], run.U[:20])
    assert done == 20
    np.testing.assert_allclose(Y, said, rtol=1e-9, atol=1e-11)

    window = Windows(run.X[:1], run.U[None, :8], run.U[None, :8], run.X[None, 1:9, :2])
    _, J = weights.differentiated(weights.theta, run.X[:1], window)
    for column in (0, 5, weights.theta.size - 1):
        theta = [weights.theta.copy(), weights.theta.copy()]
        theta[0].ravel()[column] += 1e-6
        theta[1].ravel()[column] -= 1e-6
        ahead, behind = (weights.simulated(t, run.X[0], run.U[:8])[0] for t in theta)
        np.testing.assert_allclose(
            J[0, :, :, 6 + column], (ahead - behind) / 2e-6, rtol=1e-4, atol=1e-6
        )


def test_what_a_memory_holds_is_moved_on_exactly() -> None:
    model = kc.EDMDc(FEATURES[0], memory=3, regularization=1e-2, n_folds=0).fit(wavy()).model_
    weights = OuterWeights(model)
    exact = weights.model(weights.theta)
    rng = np.random.default_rng(1)
    x, u = rng.normal(size=model.n_states), rng.normal(size=2)
    after = exact.predict(x, u[None])[0]
    np.testing.assert_allclose(after[2:4], after[:2] - x[:2], atol=1e-12)  # the newest step
    np.testing.assert_allclose(after[4:8], x[2:6], atol=1e-12)  # the older ones
    np.testing.assert_allclose(after[8:10], u, atol=1e-12)
    np.testing.assert_allclose(after[10:14], x[8:12], atol=1e-12)


def poles(model: Any) -> Any:
    """Of y[t+1] = a y[t] + b (y[t] - y[t-1]) + ..., from two responses."""
    x = np.zeros((3, model.n_states))
    x[1, 0], x[2, 1] = 1.0, 1.0
    y = model.rolled_out(x, np.zeros((3, 1, 1)), "relifted")[:, 0, 0]
    a, b = y[1] - y[0], y[2] - y[0]
    return np.sort(np.roots([1.0, -(a + b), b]).real)


TRUE = np.sort(np.roots([1.0, -1.6, 0.65]).real)


def linear_fit(data: Any) -> Any:
    return Subject([data], Structure(1), (), 20_000, np.inf).linear(None)


def test_a_linear_plant_is_recovered_to_ten_digits() -> None:
    model, _, error = linear_fit(motor())
    np.testing.assert_allclose(poles(model), TRUE, atol=1e-8)
    assert error < 1e-8


def test_noise_that_ruins_least_squares_leaves_output_error_unbiased() -> None:
    data = motor(4_000, noise=0.2)
    plain = kc.EDMDc(kc.PolynomialFeatures(1), memory=1, regularization=0.0, n_folds=0)
    biased = poles(plain.fit(data).model_)
    fitted = poles(linear_fit(data)[0])
    assert np.abs(biased - TRUE).max() > 0.3
    assert np.abs(fitted - TRUE).max() < 0.02


def test_starts_are_estimated_beside_the_weights() -> None:
    data = motor(600, noise=0.0)
    model, theta, _ = linear_fit(data)
    weights = OuterWeights(model)
    run = model.signals.runs(data)[0]
    wrong = type(run)(run.X.copy(), run.U)
    wrong.X[0, 0] += 1.0  # one bad reading at the start of the only window
    sizes = weights.regressors([run])
    errors = []
    for noise in (None, np.array([1e3])):
        fit = OutputErrorFit(weights, [wrong], sizes, np.ones(1), noise=noise)
        pull = Prior(theta, np.full(theta.shape[1], 1e-12))
        found, _ = fit.fit(theta, pull, len(run.U), 20)
        errors.append(np.abs(poles(weights.model(found)) - TRUE).max())
    assert errors[1] < 1e-2 * errors[0]


def test_a_divergent_start_is_reported_and_left_as_it_was() -> None:
    model, theta, _ = linear_fit(motor())
    weights = OuterWeights(model)
    runs = model.signals.runs(motor())
    fit = OutputErrorFit(weights, runs, weights.regressors(runs), np.ones(1))
    wild = theta.copy()
    wild[0, 1] += 5.0
    pull = Prior(wild, np.ones(theta.shape[1]))
    found, error = fit.fit(wild, pull, fit.longest)
    assert error == np.inf
    np.testing.assert_array_equal(found, wild)


def test_reduced_models_are_refused_with_what_is_needed() -> None:
    from koopman_control.identification import reduced

    data = wavy()
    model = kc.EDMDc(kc.SampledFeatures(20, random_state=0), n_folds=0, regularization=1e-6)
    small = reduced(model.fit(data).model_, 8).model
    with pytest.raises(ValueError, match="need plain models"):
        OuterWeights(small)


def test_the_gram_matrix_gives_the_step_of_an_orthogonal_solve() -> None:
    data = motor(300, noise=0.1)
    model, theta, _ = linear_fit(data)
    weights = OuterWeights(model)
    runs = model.signals.runs(data)
    fit = OutputErrorFit(weights, runs, weights.regressors(runs), np.ones(1))
    batches = weights.windows(runs, 100, 10_000)
    pull = Prior(theta, np.zeros(theta.shape[1]))
    G, g, _ = fit._normal(theta * 1.001, batches, [np.zeros((len(b.X0), 0)) for b in batches], pull)
    rows, errors = [], []
    for batch in batches:
        Y, J = weights.differentiated(theta * 1.001, batch.X0, batch)
        rows.append(J[..., 2:].reshape(-1, theta.size) * fit._unit.ravel())
        errors.append((batch.Y - Y).ravel())
    exact = RFactor.of(np.concatenate(rows), np.concatenate(errors)[:, None]).solver().solve(0.0)
    np.testing.assert_allclose(np.linalg.solve(G, g), exact[:, 0], rtol=1e-6)


def test_refining_the_relifted_roll_out_undoes_the_bias_of_noise() -> None:
    data = motor(3_000, noise=0.2)
    settings: dict[str, Any] = {"memory": 1, "regularization": 0.0, "n_folds": 0, "horizon": 200}
    corrections = Corrections(refine_horizon=True)
    fit = kc.EDMDc(kc.PolynomialFeatures(1), corrections=corrections, **settings).fit(data)
    assert np.abs(poles(fit.model_) - TRUE).max() < 0.02
    facts = fit.model_.summary
    assert facts["horizon_error"] < 0.7 * facts["horizon_error_start"]


def test_an_exact_model_is_left_as_it_is() -> None:
    data = motor(300)
    fit = kc.EDMDc(kc.PolynomialFeatures(1), memory=1, regularization=0.0, n_folds=0)
    model = fit.fit(data).model_
    refined = refine_free_runs(model, data, 100)
    np.testing.assert_allclose(refined.A, model.A, atol=1e-6)
