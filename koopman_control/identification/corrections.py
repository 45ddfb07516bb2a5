"""Groups of settings of a fit that are rarely changed: its regression, and what follows it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Literal

from numpy.typing import ArrayLike

from koopman_control.common.arrays import finite_array, positive_float
from koopman_control.common.border import CheckedFields
from koopman_control.common.shorthand import fields_of
from koopman_control.identification.horizon import refine_over_horizon
from koopman_control.identification.model import LiftedModel
from koopman_control.identification.output_error import refine_free_runs
from koopman_control.identification.penalties import Penalty
from koopman_control.identification.regression import Targets
from koopman_control.identification.rollouts import Rollout
from koopman_control.identification.stability import stabilized, stabilized_if_needed
from koopman_control.identification.trimming import check_share
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
        derivatives: Which states are speeds of which others, by their numbers among the present
            states, {0: 2, 1: 3} say. The others' rows are then known, x+ = x + dt * mean speed, and
            not fitted: noise does not enter them. Where noise is smoothed and none are given, those
            are found that measurements show clearly, in units that go together, m and m/s say
            (`noise_.derivatives`).
    """

    penalty: Penalty = "ridge"
    targets: Targets = "increments"
    limits: Literal["data"] | None = "data"
    derivatives: Mapping[int, int] = field(default_factory=dict)


@dataclass(frozen=True)
class Corrections(CheckedFields):
    """What follows the regression.

    Args:
        noise: "ignore" measurement noise; "smooth" the data with the model itself and fit again,
            five times, see `identification.smoothing` (gaps in the data, NaN, are filled on the
            way); "auto" does so where the residuals of the plain fit show noise, samples are
            missing or a sensor has glitches, and where left-out measurements are foretold better
            after it. The plain fit is kept bit for bit otherwise, as it is where data are weighted
            or come in pieces (`partial_fit`).
        noise_std: Standard deviation of the noise of the present states, in their units (radians
            for angles), a number or one for each, for "smooth" and "auto"; None estimates it.
        refine_horizon: Refine the model over the horizon, for the roll-out that is used: see
            `refine_over_horizon` for the linear one, `refine_free_runs` for the re-lifted one.
        stability: Largest spectral radius allowed, see `stabilized`; "auto" intervenes only where
            the linear roll-out is used and diverges on the data; None never does.
        trim: Share of the samples to keep, above 0 and up to 1, the rest being those that a smooth
            model cannot follow (contacts, stops); "auto" finds it by the left-out error; None keeps
            all. See `trimmed`. What is left is smoothed, if anything is; nothing may be missing.
    """

    noise: Literal["ignore", "smooth", "auto"] = "ignore"
    noise_std: ArrayLike | None = None
    refine_horizon: bool = False
    stability: float | Literal["auto"] | None = "auto"
    trim: float | Literal["auto"] | None = None

    def __post_init__(self) -> None:
        """Check kinds and range."""
        super().__post_init__()
        check_share(self.trim)
        if self.stability not in (None, "auto"):
            positive_float("stability", self.stability)
        if self.noise_std is not None and not self.smooths:
            raise ValueError(
                f"noise_std is given with noise={self.noise!r}, which has no use for it; use "
                'noise="smooth"'
            )
        if self.noise_std is not None:
            given = finite_array("noise_std", self.noise_std)
            if given.ndim > 1 or not given.size or given.min() < 0.0:
                raise ValueError(
                    f"noise_std is {self.noise_std!r}; expected a standard deviation of at least "
                    "0, or one for each present state"
                )

    @property
    def smooths(self) -> bool:
        """Whether noise is taken out of the data."""
        return self.noise in ("smooth", "auto")

    def applied(
        self, model: LiftedModel, data: Sequence[Trajectory], rollout: Rollout, horizon: int
    ) -> LiftedModel:
        """Correct a plain fit to the data.

        The correction over the horizon is kept only where left-out data confirm it, so the bounds
        on the error of the plain fit are kept with it.
        """
        bounds = model.error_quantiles
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
        plain = {"noise": ("ignore", "auto"), "refine_horizon": (False,), "trim": (None,)}
        for name, values in plain.items():
            if getattr(self, name) not in values:
                raise ValueError(
                    f"{name} is {getattr(self, name)!r}, which {what}; use corrections with "
                    'noise="ignore", refine_horizon=False and trim=None'
                )


# What `EDMDc` takes by itself, beside the groups.
FIELDS = fields_of("least_squares", LeastSquares) | fields_of("corrections", Corrections)


LEAST_SQUARES, CORRECTIONS = LeastSquares(), Corrections()  # what None stands for
