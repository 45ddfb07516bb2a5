"""Steps of a controller as native calls, which the room above makes."""

from __future__ import annotations

import warnings
from typing import Any, Protocol

from numpy.typing import ArrayLike

from koopman_control.common.arrays import Array


class Native(Protocol):
    """Acts for a controller, and keeps what that carries from step to step up to date."""

    def reset(self, previous: Array | None) -> None:
        """Begin an episode, after an input (m,)."""

    def act(
        self, observation: ArrayLike, disturbance: ArrayLike | None, applied: ArrayLike | None
    ) -> Array:
        """As `KoopmanMPC.act`."""


def native_of(mpc: Any) -> Native | None:
    """Compile the steps of a `KoopmanMPC`; None, with a warning, where there is no C compiler.

    Raises:
        NotExportableError: If the controller has something without C code.
    """
    from koopman_control.deploy.building import NoCompilerError
    from koopman_control.deploy.native import NativeSteps

    try:
        return NativeSteps(mpc)
    except NoCompilerError as error:
        warnings.warn(f"{error}; the controller stays in Python", UserWarning, stacklevel=4)
        return None
