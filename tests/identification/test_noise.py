import numpy as np
import pytest

from koopman_control.common.arrays import Array
from koopman_control.features import SampledFeatures
from koopman_control.identification import EDMDc, RFactor, prediction_error
from koopman_control.identification.noise import InstrumentFactor, correct_for_noise
from koopman_control.trajectories import Trajectory

FEW = SampledFeatures(4, steepness=0.2, random_state=0)
A = np.array([[0.9, 0.2], [-0.3, 0.8]])


def run(seed: int, n_steps: int = 40, noise: float = 0.0, bilinear: bool = False) -> Trajectory:
    rng = np.random.default_rng(seed)
    U = rng.uniform(-1.0, 1.0, (n_steps, 1))
    X = [rng.normal(size=2)]
    for u in U[:, 0]:
        X.append(A @ X[-1] + np.array([0.0, u * (1.0 + 0.3 * bilinear * X[-1][0])]))
    return Trajectory(np.array(X) + noise * rng.normal(size=(n_steps + 1, 2)), U)


def van_der_pol(seed: int, n_steps: int = 150, noise: float = 0.0) -> Trajectory:
    rng = np.random.default_rng(seed)
    U = rng.uniform(-1.0, 1.0, (n_steps, 1))
    X = [rng.uniform(-2.0, 2.0, 2)]
    for u in U[:, 0]:
        x = X[-1]
        for _ in range(5):
            x = x + 0.01 * np.array([x[1], (1.0 - x[0] ** 2) * x[1] - x[0] + u])
        X.append(x)
    return Trajectory(np.array(X) + noise * rng.normal(size=(n_steps + 1, 2)), U)


def test_instruments_remove_the_bias_of_a_noisy_regressor() -> None:
    rng = np.random.default_rng(0)
    true = rng.normal(size=(20_000, 2))
    seen, again = (true + rng.normal(size=true.shape) for _ in range(2))
    K = np.array([[2.0], [-1.0]])
    factor = InstrumentFactor.of(again, seen, true @ K)
    np.testing.assert_allclose(factor.plain().solve(0.0), K / 2.0, atol=0.05)
    np.testing.assert_allclose(factor.projected().solve(0.0), K, atol=0.05)


def test_both_solvers_equal_their_textbook_formulas() -> None:
    rng = np.random.default_rng(1)
    Z, Phi, Y = (rng.normal(size=(300, k)) for k in (6, 4, 3))
    factor = InstrumentFactor.merged(
        [
            InstrumentFactor.of(*(M[rows] for M in (Z, Phi, Y)))
            for rows in (slice(90), slice(90, 300))
        ]
    )
    plain = RFactor.of(Phi, Y).solver().solve(0.1)
    np.testing.assert_allclose(factor.plain().solve(0.1), plain, rtol=1e-9, atol=1e-12)
    projector: Array = Z @ np.linalg.pinv(Z)
    two_stage = np.linalg.lstsq(projector @ Phi, Y, rcond=None)[0]
    np.testing.assert_allclose(factor.projected().solve(0.0), two_stage, rtol=1e-9, atol=1e-12)


@pytest.mark.parametrize("coupling", ["linear", "bilinear"])
def test_a_plant_without_noise_is_recovered(coupling: str) -> None:
    data = [run(seed, bilinear=coupling == "bilinear") for seed in range(9)]
    model = EDMDc(FEW, coupling=coupling).fit(data).model_  # type: ignore[arg-type]
    corrected = correct_for_noise(model, data)
    held_out = run(99, bilinear=coupling == "bilinear")
    assert prediction_error(corrected, held_out, 20).max() < 1e-4


def test_the_dynamics_of_a_noisy_linear_plant_lose_their_bias() -> None:
    data = [run(seed, n_steps=100, noise=0.5) for seed in range(100)]
    model = EDMDc(SampledFeatures(1, steepness=1e-3, random_state=0)).fit(data).model_
    corrected = correct_for_noise(model, data)
    assert corrected.summary["noise_correction"] == "instruments"
    x, u = np.zeros((1, 2)), np.zeros((1, 1))
    biased, right = (m.one_step.jacobians(x, u)[0][0] for m in (model, corrected))
    assert np.abs(biased - A).max() > 0.05
    assert np.abs(right - A).max() < 0.02


def test_noise_on_van_der_pol_is_made_good_on_clean_held_out_data() -> None:
    noisy = [van_der_pol(seed, noise=0.05) for seed in range(40)]
    clean = [van_der_pol(seed) for seed in range(100, 120)]
    features = SampledFeatures(40, steepness=0.5, random_state=0)
    model = EDMDc(features, rollout="linear", horizon=30).fit(noisy).model_
    corrected = correct_for_noise(model, noisy)
    for rollout, factor in (("linear", 0.9), ("relifted", 0.6)):
        before, after = (
            prediction_error(m, clean, 30, rollout)  # type: ignore[arg-type]
            for m in (model, corrected)
        )
        assert np.sqrt(np.mean(after**2)) < factor * np.sqrt(np.mean(before**2))


def test_angles_and_limits_pass_through() -> None:
    U = np.random.default_rng(0).uniform(-1.0, 1.0, (400, 1))
    theta = np.concatenate([[0.0], np.cumsum(0.3 + 0.1 * U[:, 0])])
    data = Trajectory(np.stack([np.cos(theta), np.sin(theta)], axis=1), U)
    model = EDMDc(FEW, angles=[(0, 1)], regularization=0.0).fit(data).model_
    corrected = correct_for_noise(model, data)
    np.testing.assert_allclose(corrected.C @ corrected.B, [[0.1]], atol=1e-4)


def test_runs_that_are_too_short_are_refused() -> None:
    data = [run(seed, n_steps=2) for seed in range(20)]
    model = EDMDc(SampledFeatures(1, random_state=0)).fit(data).model_
    with pytest.raises(ValueError, match="more than lag=2 steps"):
        correct_for_noise(model, data, lag=2)
