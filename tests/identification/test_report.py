from collections.abc import Callable
from dataclasses import replace

import numpy as np
import pytest

from koopman_control.features import SampledFeatures
from koopman_control.identification import EDMDc, LiftedModel, prediction_error
from koopman_control.identification.report import Coverage, report, verdict
from koopman_control.trajectories import Trajectory, coverage

MakeModel = Callable[..., LiftedModel]
MakeRuns = Callable[..., list[Trajectory]]

F = np.array([[0.9, 0.2], [-0.3, 0.8]])
B = np.array([[0.5], [1.0]])


def whole(corner: float = 0.5) -> tuple[np.ndarray, np.ndarray]:
    core = np.zeros((3, 3))
    core[:2, :2], core[2, 2] = F, corner
    return core, np.vstack([B, [[0.0]]])


def test_a_perfect_model_is_useful_to_the_end(model_of: MakeModel, runs_of_map: MakeRuns) -> None:
    model = model_of(*whole(), dt=0.1, state_names=("a", "b"))
    result = model.report(runs_of_map(F, B), horizon=20)
    assert dict(result.useful_steps) == {"linear": 20, "relifted": 20}
    assert max(e.max() for e in result.errors.values()) < 1e-12
    assert result.spectral_radius == pytest.approx(np.abs(np.linalg.eigvals(F)).max())
    assert result.verdict[0].startswith("The linear roll-out is useful to 20 steps (2 s) and more")
    text = str(result)
    assert "judged on 240 steps in 8 runs: a " in text
    assert "condition number unknown" in text


def test_errors_are_those_of_prediction_error(model_of: MakeModel, runs_of_map: MakeRuns) -> None:
    core, inputs = whole()
    core[0, 1] += 0.05
    model, data = model_of(core, inputs), runs_of_map(F, B)
    result = report(model, data, 15)
    for kind in ("linear", "relifted"):
        expected = prediction_error(model, data, 15, kind)
        np.testing.assert_allclose(result.mean_errors[kind], expected)
        assert result.errors[kind].shape == (15, 2)
        np.testing.assert_allclose(
            np.sqrt(np.mean(result.errors[kind] ** 2, axis=1)), expected, rtol=1e-12
        )


def test_the_useful_steps_end_where_the_error_passes_a_quarter(
    model_of: MakeModel, runs_of_map: MakeRuns
) -> None:
    core, inputs = whole()
    core[0, 0] += 0.08
    result = report(model_of(core, inputs), runs_of_map(F, B), 20)
    error, steps = result.mean_errors["linear"], result.useful_steps["linear"]
    assert 0 < steps < 20
    assert (error[:steps] <= 0.25).all()
    assert error[steps] > 0.25


def test_a_roll_out_that_explodes_is_named_with_the_remedy(
    model_of: MakeModel, runs_of_map: MakeRuns
) -> None:
    core, inputs = whole(corner=9.0)
    core[0, 2] = 1e-6
    result = report(model_of(core, inputs), runs_of_map(F, B), 20)
    text = " ".join(result.verdict)
    assert "The linear roll-out diverges within 20 steps." in text
    assert "Beyond" in text
    assert "use the relifted roll-out" in text
    assert "see `stabilized`" in text
    assert result.spectral_radius == pytest.approx(9.0)


def advice(model: LiftedModel, own: list[float], relifted: list[float], **facts: float) -> str:
    """Say what errors per step mean."""
    mean = {"linear": np.array(own), "relifted": np.array(relifted)}
    useful = {kind: int((error < 0.25).sum()) for kind, error in mean.items()}
    covered = Coverage(1, 9, np.zeros((2, 2)), np.zeros((2, 1)), None, 0.0, 0.0)
    known = {"rho": 1.0, "condition": None} | facts
    return " ".join(verdict(model, mean, useful, coverage=covered, **known))  # type: ignore[arg-type]


def test_the_better_roll_out_is_recommended(model_of: MakeModel) -> None:
    model = model_of(*whole())
    assert "Use the linear roll-out: lifting again" in advice(model, [0.1, 0.2], [0.1, 0.6])
    text = advice(model, [0.1, 0.2], [0.01, 0.02])
    assert "After 2 steps the relifted one is off by 0.02, the linear one by 0.2." in text
    assert "roll-out:" not in advice(model, [0.1, 0.2], [0.1, 0.2])


def test_a_badly_conditioned_regression_is_named_where_nothing_regularises_it(
    model_of: MakeModel,
) -> None:
    model = model_of(*whole())
    says = "The regression is badly conditioned (3e+12)"
    assert says in advice(model, [0.1], [0.1], condition=3e12)
    regularized = replace(model, summary={"regularization": 1e-6})
    assert says not in advice(regularized, [0.1], [0.1], condition=3e12)


def test_gaps_in_the_data_are_named(model_of: MakeModel, runs_of_map: MakeRuns) -> None:
    box = np.array([[-4.0], [4.0]])
    model = model_of(*whole())
    signals = replace(model.signals, action_bounds=box, center=np.array([9.0, 0.0]))
    model = replace(model, signals=signals)
    result = report(model, runs_of_map(F, B), 5)
    assert result.coverage.input_share == pytest.approx(0.25, abs=0.01)
    assert result.coverage.unusual > 0.9
    text = " ".join(result.verdict)
    assert "Input 0 spans only 25 % of its bounds" in text
    assert "the model extrapolates" in text


def test_bilinear_models_and_short_runs_are_reported_too() -> None:
    rng = np.random.default_rng(0)
    data = [Trajectory(rng.normal(size=(8, 2)), rng.normal(size=(7, 1))) for _ in range(9)]
    features = SampledFeatures(3, random_state=0)
    model = EDMDc(features, coupling="bilinear", regularization=0.0).fit(data).model_
    result = model.report(data, horizon=30)
    assert set(result.errors) == {"bilinear", "relifted"}
    assert len(result.mean_errors["bilinear"]) == 7
    assert "is not useful" in result.verdict[0]
    assert result.condition_number == model.summary["condition_number"]
    assert str(result)


def test_data_of_another_kind_and_no_horizon_are_refused(model_of: MakeModel) -> None:
    with pytest.raises(ValueError, match="horizon is 0"):
        report(model_of(*whole()), [Trajectory(np.zeros((3, 2)), np.zeros((2, 1)))], 0)


def test_the_report_shows_how_regularisations_compared(runs_of_map: MakeRuns) -> None:
    data = runs_of_map(F, B)
    fit = EDMDc([SampledFeatures(3, random_state=seed) for seed in (0, 1)]).fit(data[:6])
    result = fit.model_.report(data[6:], 10)
    best = fit.choices_[0]
    alike = [c for c in fit.choices_ if c.features is best.features]
    assert result.path == tuple(sorted((c.regularization, c.score) for c in alike))
    assert len(result.path) == 13
    assert "left-out error by regularization: 1e-14 " in str(result)
    assert len(fit.model_.summary["cv_scores"]) == 26
    alone = EDMDc(SampledFeatures(3, random_state=0), regularization=1e-9, n_folds=0).fit(data)
    assert alone.model_.report(data, 10).path == ()


def test_the_report_repeats_what_the_data_lack(runs_of_map: MakeRuns) -> None:
    data = runs_of_map(F, B)
    twice = [*data, data[0]]
    result = EDMDc(SampledFeatures(3, random_state=0)).fit(data).model_.report(twice, 10)
    assert result.findings == coverage(twice).findings
    assert any("repeat" in finding for finding in result.findings)
    assert all(finding in str(result) for finding in result.findings)
