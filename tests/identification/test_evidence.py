"""Weights that make all measurements likely, and how noise is told from steps unforeseen."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from koopman_control.common.arrays import Array
from koopman_control.features import FeatureUnion, PolynomialFeatures, SampledFeatures
from koopman_control.identification import Corrections, EDMDc, prediction_error, smoothing
from koopman_control.identification.evidence import (
    FreeRows,
    Information,
    information,
    precisions,
)
from koopman_control.identification.measured import Measured
from koopman_control.identification.smoother import Smoother
from koopman_control.trajectories import Trajectory

pytest.importorskip("numba", reason="loops along the data take minutes in plain Python")

LEAST = np.array([1e-12, 1e-12])


def linear(seed: int, noise: float, unforeseen: float = 0.0, n_steps: int = 200) -> Trajectory:
    """A damped oscillator, pushed, measured with noise; `unforeseen` pushes come on top."""
    rng, x, X = np.random.default_rng(seed), np.zeros(2), [np.zeros(2)]
    U = np.repeat(rng.uniform(-1.0, 1.0, (n_steps // 4, 1)), 4, axis=0)
    for (u,) in U:
        push = unforeseen * rng.normal(size=2)
        x = np.array([0.9 * x[0] + 0.3 * x[1], 0.8 * x[1] - 0.3 * x[0] + 0.5 * u]) + push
        X.append(x)
    return Trajectory(np.array(X) + noise * rng.normal(size=(len(X), 2)), U)


def fitted(data: list[Trajectory], features: Any = None, **settings: Any) -> EDMDc:
    return EDMDc(features or PolynomialFeatures(1), n_folds=3, horizon=10, **settings).fit(data)


def test_measurement_noise_is_told_from_steps_that_nobody_foresees() -> None:
    exact = fitted([linear(s, 0.0) for s in range(3)]).model_
    for noise, unforeseen in ((0.1, 0.05), (0.1, 0.1)):
        data = [linear(s, noise, unforeseen) for s in range(10, 15)]
        smoother = Smoother(exact, Measured.of(data, exact.coordinates, doubting=False))
        R, Q = smoother.first_guess(None)
        R, Q = smoother.smooth(R, Q, 60, least=LEAST)
        np.testing.assert_allclose(np.sqrt(R), noise, rtol=0.2)
        np.testing.assert_allclose(np.sqrt(Q), unforeseen, rtol=0.2)


def test_innovations_change_with_the_weights_as_is_said() -> None:
    data = [linear(s, 0.1) for s in range(2)]
    fit = fitted(data)._fit
    rows = FreeRows(fit.regression, fit.coefficients)
    smoother = Smoother(fit.model, Measured.of(data, fit.model.coordinates, doubting=False))
    R, Q = np.array([0.01, 0.02]), np.array([0.003, 0.001])
    (found,) = information(rows, smoother, R, Q, 1)
    of_inputs = [rows.shape[1] * (i + 1) - 1 for i in range(2)]  # filters do not depend on these

    def cost(theta: Array) -> float:
        smoother.model_is(fit.regression.model(rows.coefficients(theta)))
        smoothed = smoother.passed(smoother.linearized(), R, Q)
        return sum(float((one.innovations[1:] ** 2 / one.sizes[1:]).sum()) for one in smoothed)

    slope = 2.0 * (found.H @ rows.theta - found.c)
    for i in of_inputs:
        step = np.zeros(len(slope))
        step[i] = 1e-4
        measured = (cost(rows.theta + step) - cost(rows.theta - step)) / 2e-4
        np.testing.assert_allclose(slope[i], measured, rtol=1e-5, atol=1e-4)


@pytest.mark.parametrize("memory", [0, 1])
@pytest.mark.parametrize("targets", ["increments", "states"])
def test_weights_make_the_model_they_come_from(memory: int, targets: Any) -> None:
    data = [linear(s, 0.05) for s in range(2)]
    fit = fitted(data, memory=memory, regularization=0.0, targets=targets, coupling="bilinear")._fit
    rows = FreeRows(fit.regression, fit.coefficients)
    model = fit.with_coefficients(rows.coefficients(rows.theta)).model
    x, u = np.random.default_rng(0).normal(size=(5, fit.model.n_states)), np.ones((5, 1))
    expected = fit.model.one_step.step(x, u)
    np.testing.assert_allclose(model.one_step.step(x, u), expected, atol=1e-6)


def regression(sizes: tuple[int, ...], scales: tuple[float, ...]) -> tuple[Information, Any, Any]:
    """Unit noise, weights of groups with these standard deviations."""
    rng = np.random.default_rng(3)
    groups = np.repeat(np.arange(len(sizes)), sizes)
    theta = np.repeat(scales, sizes) * rng.normal(size=len(groups))
    E = rng.normal(size=(300, len(groups)))
    b = E @ theta + rng.normal(size=300)
    return Information(E.T @ E, E.T @ b), groups, (E, b)


def test_precisions_have_the_largest_evidence() -> None:
    found, groups, (E, b) = regression((30,), (0.3,))
    best = precisions(found, groups)[0]

    def evidence(precision: float) -> float:
        covariance = np.eye(len(b)) + E @ E.T / precision
        return -0.5 * float(np.linalg.slogdet(covariance)[1] + b @ np.linalg.solve(covariance, b))

    around = [evidence(best * factor) for factor in (0.5, 1.0, 2.0)]
    assert around[1] == max(around)
    np.testing.assert_allclose(best, 1.0 / 0.3**2, rtol=0.5)


def test_weights_are_found_where_rounding_is_above_the_prior() -> None:
    rng = np.random.default_rng(0)
    E = 1e10 * rng.normal(size=(50, 2)) @ rng.normal(size=(2, 40))
    b = E @ rng.normal(size=40)
    H = E.T @ E
    H[0, 0] *= 1.0 - 1e-12  # as rounding does
    theta, variance = Information(H, E.T @ b).solved(np.full(40, 0.01))
    assert np.abs(E @ theta - b).max() < 1e-6 * np.abs(b).max()
    assert (variance > 0.0).all()
    assert (variance <= 100.0 * (1.0 + 1e-9)).all()


def test_groups_that_say_nothing_are_held_at_zero() -> None:
    found, groups, _ = regression((20, 40), (1.0, 0.0))
    precision = precisions(found, groups)
    theta, _ = found.solved(precision)
    free, _ = found.solved(np.full(60, 1e-3))
    assert precision[-1] > 100.0 * precision[0]
    assert np.abs(theta[20:]).max() < 0.2 * np.abs(free[20:]).max()


def drive(seed: int, noise: float) -> Trajectory:
    """A pendulum without gravity below, with friction that grows: two states, one input."""
    rng, x = np.random.default_rng(seed), np.array([0.0, 0.0])
    U, X = np.repeat(rng.uniform(-1.0, 1.0, (25, 1)), 4, axis=0), [x]
    for (u,) in U:
        x = x + 0.1 * np.array([x[1], 4.0 * u - 3.0 * np.sin(x[0]) - 0.3 * x[1] * abs(x[1])])
        X.append(x)
    return Trajectory(np.array(X) + noise * rng.normal(size=(len(X), 2)), U, dt=0.1)


def test_few_noisy_data_for_many_features_are_told_apart(monkeypatch: pytest.MonkeyPatch) -> None:
    features = FeatureUnion(
        [SampledFeatures(40, steepness=0.5, random_state=0), PolynomialFeatures(2)]
    )
    clean, errors = [drive(s, 0.0) for s in range(100, 110)], {}
    for name in ("refined", "not"):
        if name == "not":
            monkeypatch.setattr(smoothing, "affordable", lambda rows, smoother: False)
        each = []
        for first in (0, 10, 20):
            data = [drive(s, 0.1) for s in range(first, first + 5)]
            fit = fitted(data, features, coupling="bilinear", corrections=Corrections("smooth"))
            each.append(float(prediction_error(fit.model_, clean, 10)[-1]))
        errors[name] = float(np.mean(each))
    assert errors["refined"] < 0.8 * errors["not"]


def test_auto_leaves_data_whose_steps_nobody_foresees() -> None:
    data = [linear(s, 0.001, 0.1) for s in range(5)]
    plain, auto = fitted(data), fitted(data, corrections=Corrections(noise="auto"))
    np.testing.assert_array_equal(auto.model_.A, plain.model_.A)
    assert auto.noise_.passes == 0


def test_auto_drops_glitches_and_keeps_jumps() -> None:
    rng, exact, broken, pushed = np.random.default_rng(0), [], [], []
    for seed in range(6):
        t = linear(seed, 0.0, 1e-4)
        Y = np.array(t.observations)
        Y[rng.choice(np.arange(2, 198, 4), 2, replace=False), 0] += 3.0
        broken.append(replace(t, observations=Y))
        U = np.array(t.actions)
        U[rng.choice(len(U), 2, replace=False)] *= 20.0
        X = [np.zeros(2)]
        for (u,) in U:
            x = X[-1]
            X.append(np.array([0.9 * x[0] + 0.3 * x[1], 0.8 * x[1] - 0.3 * x[0] + 0.5 * u]))
        pushed.append(Trajectory(np.array(X), U))
        exact.append(t)
    auto = Corrections(noise="auto")
    true = fitted(exact).model_
    found = fitted(broken, corrections=auto)
    np.testing.assert_allclose(found.model_.A[1:3, 1:3], true.A[1:3, 1:3], atol=0.02)
    assert found.noise_.acting is not None
    assert fitted(pushed, corrections=auto).noise_.passes == 0
