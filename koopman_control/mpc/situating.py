"""What a plan depends on: where it starts, what it is to reach, and parameters of the problem."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from koopman_control.common.arrays import Array
from koopman_control.mpc.loop import Loop
from koopman_control.mpc.planning.plan import Situation
from koopman_control.mpc.start import Start
from koopman_control.mpc.statement.targets import TargetRows
from koopman_control.mpc.statement.terms import Parameters


class Situating(NamedTuple):
    """Collects the situation of a step; holds the targets and the user's own parameters."""

    reference: TargetRows
    input_reference: TargetRows
    parameters: Parameters

    def __call__(self, y: Array, start: Start, loop: Loop) -> Situation:
        """Collect what a plan depends on, from an observation y (p,) and a start in a loop."""
        step, previous = loop.step, loop.previous
        reference, inputs = self.reference(y, step), self.input_reference(y, step)
        own = self.parameters.theta()
        theta = np.concatenate([reference.ravel(), inputs.ravel(), previous, own])
        return Situation(start, reference, inputs, theta)
