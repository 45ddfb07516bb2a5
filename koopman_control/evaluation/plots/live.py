"""A window that follows a controller while it runs."""

from collections.abc import Sequence

import numpy as np

from koopman_control.common.arrays import Array
from koopman_control.evaluation.plots.plan import draw_plan
from koopman_control.mpc import KoopmanMPC


class LivePlot:
    """Shows the latest plan after each step, with what happened before.

    Drawing takes tens of milliseconds a step: for looking at, not for real time.

    Args:
        shown: How many past steps are shown.
        dt: Time step in seconds; the axis counts steps if None.
        state_names: Names of the d states.
        input_names: Names of the m inputs.

    Attributes:
        figure: The figure in the window.

    Example:
        >>> live = LivePlot()  # doctest: +SKIP
        >>> action = mpc.act(observation)  # doctest: +SKIP
        >>> live.update(mpc)  # doctest: +SKIP
    """

    def __init__(
        self,
        shown: int = 50,
        dt: float | None = None,
        state_names: Sequence[str] | None = None,
        input_names: Sequence[str] | None = None,
    ) -> None:
        # A window is global state by nature, so it comes from pyplot, and only when asked for.
        from matplotlib import pyplot

        pyplot.ion()
        self.figure = pyplot.figure(figsize=(8.0, 6.0), layout="constrained")
        self._shown, self._dt = shown, dt
        self._names = state_names, input_names
        self._states: list[Array] = []
        self._inputs: list[Array] = []

    def update(self, mpc: KoopmanMPC) -> None:
        """Show the step that the controller took last.

        Raises:
            ValueError: If it took none since its episode began.
        """
        step = mpc.last
        if step is None:
            raise ValueError("the controller took no step yet; call its act first")
        self.figure.clear()
        past = self._past(self._states), self._past(self._inputs)
        draw_plan(self.figure, step, *past, self._dt, *self._names)
        self.figure.canvas.draw_idle()
        self.figure.canvas.flush_events()
        unknown = np.full(step.outputs.shape[1], np.nan)
        self._states.append(unknown if step.situation is None else step.situation.start.x)
        self._inputs.append(step.inputs[0])

    def close(self) -> None:
        """Close the window."""
        from matplotlib import pyplot

        pyplot.close(self.figure)

    def _past(self, rows: list[Array]) -> Array | None:
        return np.array(rows[-self._shown :]) if rows else None
