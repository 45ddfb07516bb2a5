"""Where a smooth model can be trusted: within limits of single states, beyond which it is lost."""

from __future__ import annotations

import numpy as np

from koopman_control.autopilot.reward import Samples
from koopman_control.common.arrays import Array
from koopman_control.identification import LiftedModel

OUTLIER, OUTLIER_SIZE = 15.0, 0.05  # times the usual residual, and spreads of what a step changes
GOOD = 2.0  # samples beyond a limit that the model is lost at, for each that it follows
FEWEST = 5  # samples that a limit takes
WORTHWHILE = 0.05  # of all that the model is lost at, likewise


def trusted_box(samples: Samples, residuals: Array, model: LiftedModel) -> Array:
    """Find limits of single states beyond which the model cannot follow the plant.

    Stops and contacts are where single coordinates end: a cart at the end of its rail. Plans that
    go there are worth what a wrong model says, and the next plan there is as wrong.

    Args:
        samples: All steps.
        residuals: The worst state's residual of each, in spreads of what a step changes, (T,).
        model: The model.

    Returns:
        Limits of the states after a step, shape (2, d), infinite where there is none.
    """
    X = samples.x_next
    box = np.tile([[-np.inf], [np.inf]], X.shape[1])
    lost = (residuals > OUTLIER * np.median(residuals)) & (residuals > OUTLIER_SIZE)
    enough = max(FEWEST, WORTHWHILE * lost.sum())
    for i in np.flatnonzero(~model.coordinates.is_angle):
        for side, sign in ((0, -1.0), (1, 1.0)):
            order = np.argsort(-sign * X[:, i], kind="stable")
            gain = np.cumsum(np.where(lost[order], 1.0, -GOOD))
            # Equal values lie on one side of a limit, so gains count where the next is another.
            values = X[order, i]
            gain[:-1][values[1:] == values[:-1]] = -np.inf
            last = int(np.argmax(gain[:-1])) if len(gain) > 1 else 0
            if len(gain) > 1 and gain[last] >= enough:
                box[side, i] = 0.5 * (values[last] + values[last + 1])
    return box
