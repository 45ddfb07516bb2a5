"""Activations of sampled neurons, their slopes, and where a pair of data points puts them.

A pair (x1, x2) becomes the neuron g(<w, x> + b) whose argument runs from -offset at x1 to
steepness - offset at x2. The constants of tanh and ReLU are those of Bolager et al. 2023 (arXiv
2306.16830); sine and softplus follow the same idea, the pair spans the neuron's bend:

    tanh      -1/2 at x1, +1/2 at x2
    relu      0 at x1, 1 at x2 (0 on the far side of x1)
    sine      -1/2 at x1, +1/2 at x2: a sixth of a period
    softplus  the slope, (1 + tanh(h/2)) / 2, is 1/4 at x1 and 3/4 at x2: a soft ReLU with its
              corner between the two
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal

import numpy as np
from scipy.special import expit

from koopman_control.common.arrays import Array

ActivationName = Literal["tanh", "relu", "sine", "softplus"]


@dataclass(frozen=True)
class Activation:
    """An activation g.

    Args:
        value: Replaces the entries of an array h by g(h), and returns it.
        slope: Returns g'(h) as a new array.
        steepness: What <w, x> + b gains from x1 to x2.
        offset: Minus <w, x1> + b.
    """

    value: Callable[[Array], Array]
    slope: Callable[[Array], Array]
    steepness: float
    offset: float


def _tanh_slope(h: Array) -> Array:
    t: Array = np.tanh(h)
    return 1.0 - t * t


def _sigmoid(h: Array) -> Array:
    s: Array = expit(h)
    return s


ACTIVATIONS: dict[str, Activation] = {
    "tanh": Activation(lambda h: np.tanh(h, out=h), _tanh_slope, np.log(3.0), np.log(3.0) / 2.0),
    "relu": Activation(
        lambda h: np.maximum(h, 0.0, out=h), lambda h: (h > 0.0).astype(np.float64), 1.0, 0.0
    ),
    "sine": Activation(lambda h: np.sin(h, out=h), np.cos, np.pi / 3.0, np.pi / 6.0),
    "softplus": Activation(
        lambda h: np.logaddexp(h, 0.0, out=h), _sigmoid, 2.0 * np.log(3.0), np.log(3.0)
    ),
}
