"""Groups of settings of a fit that are rarely changed: its regression, and what follows it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Literal

from koopman_control.common.arrays import positive_float
from koopman_control.common.border import CheckedFields
from koopman_control.identification.horizon import refine_over_horizon
from koopman_control.identification.model import LiftedModel
from koopman_control.identification.noise import correct_for_noise
from koopman_control.identification.output_error import refine_free_runs
from koopman_control.identification.penalties import Penalty
from koopman_control.identification.regression import Targets
from koopman_control.identification.rollouts import Rollout
from koopman_control.identification.stability import stabilized, stabilized_if_needed
from koopman_control.trajectories import Trajectory


@dataclass(frozen=True)
class LeastSquares(CheckedFields):
    """How the regression is set up.

    Args:
        penalty: What the regularisation weighs: "ridge"; "truncation" drops the directions that
            ridge would shrink to less than half, and shrinks none; "lasso" keeps few regressors per
            lifted state, "elasticnet" few groups of those that are alike (both take seconds where
            ridge takes milliseconds).
        targets: What is regressed, and so what a penalty pulls towards: "increments" z+ - z (a
            plant that stands still), or "states" z+ (zero). Angles always by their increments.
        limits: "data" takes the observation bounds stored with the trajectories as limits of the
            plant, and leaves samples that end on one out; None knows none.
    """

    penalty: Penalty = "ridge"
    targets: Targets = "increments"
    limits: Literal["data"] | None = "data"


@dataclass(frozen=True)
class Corrections(CheckedFields):
    """What follows the regression.

    Args:
        noise: "ignore" measurement noise, or correct for it by "instruments"; see
            `correct_for_noise`.
        refine_horizon: Refine the model over the horizon, for the roll-out that is used: see
            `refine_over_horizon` for the linear one, `refine_free_runs` for the re-lifted one.
        stability: Largest spectral radius allowed, see `stabilized`; "auto" intervenes only where
            the linear roll-out is used and diverges on the data; None never does.
    """

    noise: Literal["ignore", "instruments"] = "ignore"
    refine_horizon: bool = False
    stability: float | Literal["auto"] | None = "auto"

    def __post_init__(self) -> None:
        """Check kinds and range."""
        super().__post_init__()
        if self.stability not in (None, "auto"):
            positive_float("stability", self.stability)

    def applied(
        self, model: LiftedModel, data: Sequence[Trajectory], rollout: Rollout, horizon: int
    ) -> LiftedModel:
        """Correct a plain fit to the data.

        Corrections for noise and horizon are kept only where left-out data confirm them, so the
        bounds on the error of the plain fit are kept with them.
        """
        bounds = model.error_quantiles
        if self.noise == "instruments":
            model = correct_for_noise(model, data, rollout=rollout, horizon=horizon)
        if self.refine_horizon:
            refine = refine_over_horizon if rollout == "linear" else refine_free_runs
            model = refine(model, data, horizon)
        return self.stable(replace(model, error_quantiles=bounds), data, rollout, horizon)

    def stable(
        self, model: LiftedModel, data: Sequence[Trajectory], rollout: Rollout, horizon: int
    ) -> LiftedModel:
        """Stabilise a model as asked for."""
        if self.stability is None:
            return model
        if self.stability != "auto":
            return stabilized(model, self.stability, data)
        return stabilized_if_needed(model, data, horizon) if rollout == "linear" else model

    def require_plain(self, what: str) -> None:
        """Raise a ValueError if there are corrections that need all data at once."""
        for name, plain in (("noise", "ignore"), ("refine_horizon", False)):
            if getattr(self, name) != plain:
                raise ValueError(
                    f"{name} is {getattr(self, name)!r}, which {what}; use corrections with "
                    'noise="ignore" and refine_horizon=False'
                )


LEAST_SQUARES, CORRECTIONS = LeastSquares(), Corrections()  # what None stands for
