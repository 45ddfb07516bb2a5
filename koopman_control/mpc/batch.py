"""One controller for many copies of a plant at once, as in vector environments."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import ArrayLike, NDArray

from koopman_control.common.arrays import Array, finite_array
from koopman_control.identification import LiftedModel
from koopman_control.mpc.loop import Loop
from koopman_control.mpc.planning.plan import Situation
from koopman_control.mpc.planning.quadratic import QuadraticPlanning
from koopman_control.mpc.situating import Situating
from koopman_control.mpc.start import Start
from koopman_control.mpc.statement.targets import NothingAskedError


class BatchMPC:
    """Acts for n copies of a plant; made by `KoopmanMPC.batch`.

    Each copy gets the action that a controller of its own would give it. Lifting and prediction of
    all copies are one product of matrices; their programs go through one solver, each
    warm-started by the copy before, since its factorisation then stays in fast memory.

    Args:
        model: The model.
        planning: Plans for a situation.
        situated: Collects what a plan depends on from an observation, a start and a loop.
        loops: The copies' loops.

    Attributes:
        solved: Which copies' latest action comes from a solved program, shape (n,); the others
            continued their plan, or went to the safe input where they had none.
    """

    def __init__(
        self,
        model: LiftedModel,
        planning: QuadraticPlanning,
        situated: Situating,
        loops: Sequence[Loop],
    ) -> None:
        self._model, self._planning, self._situated = model, planning, situated
        self._loops = loops
        self.solved = np.zeros(len(loops), dtype=bool)

    def reset(self, copies: NDArray[np.bool_] | None = None) -> None:
        """Begin an episode of the copies marked in a boolean array (n,), or of all."""
        n = len(self._loops)
        chosen = np.ones(n, dtype=bool) if copies is None else np.asarray(copies)
        if chosen.shape != (n,) or chosen.dtype != np.bool_:
            raise ValueError(f"copies has shape {chosen.shape}; expected ({n},) booleans")
        for loop, begins in zip(self._loops, chosen, strict=True):
            if begins:
                loop.restart()
        self.solved &= ~chosen

    def act(self, observations: ArrayLike) -> Array:
        """Return the actions (n, m) for observations of shape (n, p).

        Raises:
            ValueError: If observations have another shape or are not finite.
        """
        shape = len(self._loops), self._model.coordinates.n_observations
        Y = finite_array("observations", observations, shape=shape)
        X = self._model.coordinates.state(Y)
        at: dict[int, Situation] = {}
        for i, loop in enumerate(self._loops):
            try:
                at[i] = self._situated(Y[i], Start(X[i]), loop)
            except NothingAskedError as why:
                self.solved[i] = False
                loop.apply(*loop.fall_back(str(why), drop_plan=True))
        plans = self._planning.plans(list(at.values()), [self._loops[i] for i in at]) if at else []
        for i, (rung, plan) in zip(at, plans, strict=True):
            loop, self.solved[i] = self._loops[i], plan.status == "optimal"
            loop.apply(*((rung, plan) if self.solved[i] else loop.fall_back(plan.status)))
        return np.stack([loop.previous for loop in self._loops])
