import io
from collections.abc import Sequence

import numpy as np
import pytest
from matplotlib.figure import Figure

from koopman_control.evaluation import Episode, plots

rng = np.random.default_rng(0)


def _episode(seed: int, steps: int, p: int = 2, m: int = 1) -> Episode:
    return Episode(
        seed=seed,
        episode_return=-float(seed),
        terminated=False,
        observations=rng.normal(size=(steps + 1, p)),
        actions=rng.normal(size=(steps, m)),
        rewards=np.full(steps, -seed / steps),
        act_seconds=np.full(steps, 1e-4),
        fallbacks=np.zeros(steps, dtype=np.bool_),
    )


def _drawn(figure: Figure) -> str:
    """Draw for real (warnings are errors) and return the title on one line."""
    figure.savefig(io.BytesIO(), format="png", dpi=40)
    assert any(axes.get_xlabel() for axes in figure.axes)
    return " ".join(figure.get_suptitle().split())


def test_the_learning_curve_tells_how_far_the_return_rose() -> None:
    figure = plots.learning_curve(
        [200, 400],
        [[-1200.0, -1000.0], [-150.0]],
        {"linear": [0.5, 0.4], "relifted": [0.1, 0.02]},
        {"optimum": -143.0},
    )
    assert _drawn(figure) == "Mean return goes from −1,100 to −150 after 400 environment steps"
    assert figure.axes[1].get_title(loc="left") == "Held-out error of relifted 0.02 σ"


def test_rounds_without_an_episode_are_gaps_in_the_learning_curve() -> None:
    title = _drawn(plots.learning_curve([10, 20, 30], [[], [-5.0], [-4.0]]))
    assert title == "Mean return goes from −5 to −4 after 30 environment steps"


def test_a_learning_curve_may_hold_errors_alone() -> None:
    figure = plots.learning_curve([10, 20], errors={"linear": [0.5, 0.4]})
    assert _drawn(figure) == "Held-out error of linear 0.4 σ after 20 environment steps"
    assert len(figure.axes) == 1


def test_a_learning_curve_of_nothing_is_refused() -> None:
    with pytest.raises(ValueError, match="neither returns nor errors"):
        plots.learning_curve([1])


def test_the_prediction_fan_ranks_the_rollouts() -> None:
    truth = rng.normal(size=(4, 11, 3))
    sigma = truth.std(axis=(0, 1))
    figure = plots.prediction_fan(truth, {"linear": truth + sigma, "relifted": truth + 0.1 * sigma})
    assert _drawn(figure) == "Median error after 10 steps: relifted 0.1 σ, linear 1 σ"
    assert len(figure.axes) == 3 * 4


def test_a_diverging_prediction_is_said_to_diverge() -> None:
    truth = rng.normal(size=(2, 6, 1))
    wild = truth.copy()
    wild[:, 3] = np.inf
    wild[:, 4:] = np.nan
    title = _drawn(plots.prediction_fan(truth, {"linear": wild}, dt=0.1, names=["x"]))
    assert title == "Median error after 5 steps: linear diverges"


def test_predictions_of_another_shape_are_refused() -> None:
    with pytest.raises(ValueError, match=r"'linear' have shape \(2, 5, 1\)"):
        plots.prediction_fan(np.zeros((2, 6, 1)), {"linear": np.zeros((2, 5, 1))})


@pytest.mark.parametrize(
    ("values", "title"),
    [
        ([0.5, 1.0 + 1e-12], "None of the 2 eigenvalues lies outside the unit circle"),
        ([0.5, 1.1j, -1.1j], "2 of 3 eigenvalues lie outside the unit circle"),
        ([0.5, 2.0], "1 of 2 eigenvalues lies outside the unit circle"),
    ],
)
def test_eigenvalues_outside_the_unit_circle_are_counted(
    values: Sequence[complex], title: str
) -> None:
    assert _drawn(plots.eigenvalues(values)).startswith(title)


def test_the_closed_loop_names_its_worst_episode() -> None:
    figure = plots.closed_loop(
        [_episode(3, 20), _episode(7, 5)], dt=0.1, action_bounds=[[-1.0], [1.0]]
    )
    assert _drawn(figure) == "Closed loop from 2 starts; the worst of all (seed 7) returns −7"
    assert [axes.get_ylabel() for axes in figure.axes] == [
        "observation 1",
        "observation 2",
        "action",
    ]


def test_of_many_signals_all_actions_are_shown_and_the_first_observations() -> None:
    figure = plots.closed_loop([_episode(1, 5, p=20, m=2)], action_names=["hip", "knee"])
    assert _drawn(figure) == "Closed loop from seed 1: return −1; 10 of 20 observations shown"
    labels = {axes.get_ylabel() for axes in figure.axes}
    assert {"observation 1", "observation 10", "hip", "knee"} <= labels


def test_an_odd_number_of_signals_leaves_no_empty_panel() -> None:
    figure = plots.closed_loop([_episode(1, 5, p=4, m=1)])
    assert _drawn(figure) == "Closed loop from seed 1: return −1"
    visible = [axes for axes in figure.axes if axes.get_visible()]
    assert len(visible) == 5
    assert all(axes.get_ylabel() for axes in visible)


def test_equal_returns_are_drawn_without_an_empty_distribution() -> None:
    figure = plots.return_distribution(np.full(10, 1000.0), {"random": [5.0] * 10, "LQR": 1000.0})
    assert _drawn(figure) == "All 10 episodes return 1,000"
    assert len(figure.axes) == 1


def test_the_return_distribution_states_mean_interval_and_worst() -> None:
    returns = np.concatenate([np.full(50, -100.0), np.full(50, -300.0)])
    title = _drawn(plots.return_distribution(returns, {"optimum": -150.0}))
    assert title.startswith("Mean return −200 (95 % interval −2")
    assert title.endswith("worst of 100 −300")
    assert _drawn(plots.return_distribution([3.0])) == "The only episode returns 3"


def test_step_times_are_measured_against_the_time_step() -> None:
    seconds = np.full(200, 250e-6)
    assert _drawn(plots.step_time_histogram(seconds, dt=0.05)) == (
        "Half the steps take under 250 µs, 99 % under 250 µs (0.5 % of the time step)"
    )
    assert _drawn(plots.step_time_histogram(np.append(seconds, 3.0))).endswith("99 % under 250 µs")


def test_eigenvalues_that_the_data_confirm_are_counted() -> None:
    title = _drawn(plots.eigenvalue_residuals([1.0, 0.5j, -0.5j, 0.3], [0.0, 0.01, 0.01, 0.8]))
    assert title == "The data confirm 3 of 4 eigenvalues to 10 %"
    assert "confirm 0 of 1 eigenvalues" in _drawn(plots.eigenvalue_residuals([2.0], [np.inf]))


def test_the_pseudospectrum_names_where_the_residual_is_smallest() -> None:
    x, y = np.linspace(-1.0, 1.0, 5), np.linspace(-1.0, 1.0, 3)
    residuals = np.abs(x + 1j * y[:, None] - 0.5) + 0.02
    assert (
        _drawn(plots.pseudospectrum(x, y, residuals, [0.5]))
        == "Smallest residual on the grid: 0.02, at 0.5 ± 0i"
    )
    with pytest.raises(ValueError, match=r"residuals have shape \(5, 3\); expected \(3, 5\)"):
        plots.pseudospectrum(x, y, residuals.T)
