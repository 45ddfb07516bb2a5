from typing import Any

import numpy as np
import pytest

from koopman_control.trajectories import Coverage, Multisine, Trajectory, coverage
from koopman_control.trajectories.coverage import excitation_order

RNG = np.random.default_rng(0)
STEPS = np.arange(200)


def run(u: Any, x: Any = None, **known: Any) -> Trajectory:
    U = np.asarray(u, dtype=float).reshape(len(u), -1)
    X = RNG.uniform(-1.0, 1.0, (len(U) + 1, 2)) if x is None else np.asarray(x, dtype=float)
    return Trajectory(X, U, **known)


@pytest.mark.parametrize(
    ("signal", "order"),
    [
        (np.zeros(200), 0),
        (np.full(200, 3.0), 1),
        (np.sin(0.3 * STEPS), 2),
        (0.5 + np.sin(0.3 * STEPS), 3),
        (np.sin(0.3 * STEPS) + np.sin(0.9 * STEPS) + np.sin(1.7 * STEPS), 6),
        (np.where(STEPS % 2, -1.0, 1.0), 1),
        (RNG.uniform(-1.0, 1.0, 200), 12),
    ],
)
def test_the_order_of_excitation_is_that_of_the_textbook(signal: Any, order: int) -> None:
    assert excitation_order([signal[:, None]], 12) == order
    rounded = signal.astype(np.float32).astype(np.float64)
    assert excitation_order([rounded[:, None]], 12) == order


def test_a_multisine_has_twice_its_harmonics() -> None:
    signal = Multisine(4, 12).sample(300, [-1.0], [1.0], RNG)
    assert excitation_order([signal], 20) == 8


def test_windows_do_not_cross_from_one_run_to_the_next() -> None:
    pieces = [np.full((10, 1), level) for level in (1.0, 2.0, 3.0)]
    assert excitation_order(pieces, 5) == 1
    assert excitation_order([np.concatenate(pieces)], 5) > 1


def test_the_order_cannot_exceed_what_the_length_of_the_data_shows() -> None:
    assert excitation_order([RNG.normal(size=(9, 1))], 20) == 5


def test_inputs_that_move_together_are_found() -> None:
    u = RNG.uniform(-1.0, 1.0, 200)
    report = coverage(run(np.stack([u, -2.0 * u], axis=1)))
    assert [item.order for item in report.inputs] == [20, 20]
    assert report.joint_order == 0
    assert "the inputs move together" in report.findings[0]


def test_the_range_used_is_compared_with_the_box() -> None:
    u = np.clip(RNG.normal(size=200), -0.5, 1.0)
    u[:2] = -0.5, 1.0
    item = coverage(run(u, action_bounds=[[-2.0], [2.0]])).inputs[0]
    assert (item.low, item.high, item.share_of_box) == (-0.5, 1.0, 0.375)
    assert coverage(run(u)).inputs[0].share_of_box is None


def test_an_input_that_never_moves_is_named() -> None:
    u = np.stack([np.full(50, 0.3), RNG.normal(size=50)], axis=1)
    report = coverage(run(u, action_names=("valve", "pump")))
    assert [item.constant for item in report.inputs] == [True, False]
    assert report.findings[0].startswith("valve never moves (always 0.3)")


def test_holds_are_measured_within_runs() -> None:
    u = np.repeat(RNG.normal(size=20), 5)
    assert coverage([run(u), run(u)]).inputs[0].hold == 5.0


def test_feedback_shows_as_correlation_with_a_state() -> None:
    X = RNG.normal(size=(101, 2))
    report = coverage(run(-0.7 * X[:-1, 1], X, observation_names=("position", "speed")))
    assert report.inputs[0].followed == "speed"
    assert report.inputs[0].correlation == pytest.approx(-1.0)
    assert any("nearly a function of speed" in finding for finding in report.findings)


def test_regions_without_samples_are_listed() -> None:
    x = np.concatenate([np.linspace(0.0, 2.0, 100), np.linspace(6.0, 8.0, 101)])
    bounds = [[0.0], [10.0]]
    report = coverage(run(RNG.normal(size=200), x[:, None], observation_bounds=bounds))
    np.testing.assert_allclose(report.states[0].empty, [(3.0, 6.0), (9.0, 10.0)])
    assert any("never been in 3 ... 6, though on both sides" in f for f in report.findings)


def test_the_share_of_samples_on_a_limit_is_exact() -> None:
    x = np.clip(np.linspace(-2.0, 2.0, 201), -1.0, 1.0)
    bounds = [[-1.0], [np.inf]]
    report = coverage(run(RNG.normal(size=200), x[:, None], observation_bounds=bounds))
    assert report.states[0].at_limits == 51 / 201
    assert any("sits on a known limit in 25%" in finding for finding in report.findings)
    unknown = coverage(run(RNG.normal(size=200), x[:, None]))
    assert unknown.states[0].at_limits == 0.0


def test_steps_that_are_in_the_data_twice_are_counted() -> None:
    once = run(RNG.normal(size=40))
    report = coverage([once, run(RNG.normal(size=30)), once])
    assert report.duplicates == 40
    assert any(finding.startswith("40 of 110 steps repeat") for finding in report.findings)


def test_a_state_that_never_moves_and_single_steps_are_named() -> None:
    X = np.stack([RNG.normal(size=31), np.full(31, 2.0)], axis=1)
    report = coverage([run(RNG.normal(size=30), X), run([0.5], X[:2])])
    assert any("y1 never moves (always 2)" in finding for finding in report.findings)
    assert any("one step long" in finding for finding in report.findings)
    assert report.shortest == 1


def test_good_data_get_a_clean_report_that_prints() -> None:
    report = coverage(run(RNG.uniform(-1.0, 1.0, 200), action_bounds=[[-1.0], [1.0]]))
    assert report.findings == ()
    text = str(report)
    assert text.startswith("1 trajectories, 200 steps (shortest 200)")
    assert "20+" in text
    assert text.endswith("- nothing unusual: every input is excited, every state moves")


def test_a_report_is_a_value() -> None:
    once = run(RNG.normal(size=40))
    assert isinstance(coverage(once), Coverage)
    assert coverage(once) == coverage(once)
    with pytest.raises(ValueError, match="order is 0"):
        coverage(once, order=0)
