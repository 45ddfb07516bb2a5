"""The picture of a plan, saved and live."""

import io

import numpy as np
import pytest
from matplotlib.figure import Figure

from koopman_control.evaluation import plots
from koopman_control.identification import LiftedModel
from koopman_control.mpc import Bounds, KoopmanMPC


@pytest.fixture
def mpc() -> KoopmanMPC:
    F, G = np.array([[1.0, 0.1], [0.0, 1.0]]), np.array([[0.005], [0.1]])
    model = LiftedModel.from_arrays(F, G, np.eye(2), action_bounds=[[-1.0], [1.0]])
    bounds = [[-np.inf, -0.5], [1.0, 0.5]]
    return KoopmanMPC(
        model, 20, 1.0, 0.1, reference=[2.0, 0.0], output_bounds=bounds, bounds=Bounds(soft=False)
    )


def drawn(figure: Figure) -> str:
    """Draw for real (warnings are errors) and return the title on one line."""
    figure.savefig(io.BytesIO(), format="png", dpi=40)
    return " ".join(figure.get_suptitle().split())


def test_a_plan_within_its_bounds_says_so(mpc: KoopmanMPC) -> None:
    mpc.act([0.0, 0.0])
    assert mpc.last is not None
    figure = plots.plan(mpc.last, np.zeros((3, 2)), np.zeros((3, 1)), dt=0.1, state_names="xv")
    assert drawn(figure).endswith("every bound kept")
    assert [axes.get_ylabel() for axes in figure.axes] == ["x", "v", "input"]
    assert [text.get_text() for text in figure.legends[0].get_texts()] == [
        "so far",
        "planned",
        "target",
        "bound",
    ]
    np.testing.assert_allclose(
        np.asarray(figure.axes[0].lines[0].get_xdata(), dtype=float), [-0.3, -0.2, -0.1, 0.0]
    )


def test_a_plan_that_breaks_bounds_says_by_how_much(mpc: KoopmanMPC) -> None:
    mpc.act([0.0, 1.0])
    assert mpc.last is not None
    title = drawn(plots.plan(mpc.last))
    assert "softened to have one: bounds broken by up to 0.4" in title


def test_a_step_without_a_plan_can_be_drawn_too(mpc: KoopmanMPC) -> None:
    mpc.act([np.nan, 0.0])
    assert mpc.last is not None
    assert (
        drawn(plots.plan(mpc.last)) == "No plan in this step (observation not finite); safe instead"
    )


def test_a_past_of_another_width_is_refused(mpc: KoopmanMPC) -> None:
    mpc.act([0.0, 0.0])
    assert mpc.last is not None
    with pytest.raises(ValueError, match=r"the past has shape \(4,\); expected \(k, 2\)"):
        plots.plan(mpc.last, np.zeros(4))


def test_a_live_plot_follows_the_controller(mpc: KoopmanMPC) -> None:
    live = plots.LivePlot(shown=2)
    with pytest.raises(ValueError, match="took no step yet"):
        live.update(mpc)
    for x in (0.0, 0.1, 0.2, 0.3):
        mpc.act([x, 0.0])
        live.update(mpc)
    past = live.figure.axes[0].lines[0]
    drawn_points = np.asarray(past.get_xydata(), dtype=float)
    np.testing.assert_allclose(drawn_points, np.array([[-2.0, 0.1], [-1.0, 0.2], [0.0, 0.3]]))
    drawn(live.figure)
    live.close()
