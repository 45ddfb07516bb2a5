"""How far predictions may be off: error quantiles on left-out windows, and ensembles of models.

The quantiles are conformal, see `errors.conformal_quantiles`.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from sklearn.base import clone

from koopman_control.common.arrays import Array, finite_array, positive_int, seed_number
from koopman_control.common.border import checked
from koopman_control.features import seed_names
from koopman_control.identification.crossvalidation import feature_maps
from koopman_control.identification.edmdc import DEFAULT_FEATURES, EDMDc
from koopman_control.identification.errors import conformal_quantiles, scaled_errors, windows_of
from koopman_control.identification.model import LiftedModel
from koopman_control.identification.rollouts import Rollout
from koopman_control.trajectories import Trajectory, check_trajectories, total_steps

MAX_WINDOWS = 2_000


@checked
def error_quantiles(
    source: EDMDc | LiftedModel | Sequence[LiftedModel],
    data: Trajectory | Sequence[Trajectory],
    horizon: int,
    levels: Sequence[float] = (0.5, 0.9, 0.99),
    *,
    rollout: Rollout = "relifted",
    n_folds: int = 5,
) -> Array:
    """Bound the k-step prediction error of every state, from windows no fit has seen.

    Args:
        source: An unfitted `EDMDc`, which is fitted to all but one part of the data in turn and
            judged on that part; or a fitted model, or several, to be judged on data left out of
            their fit. Several models are judged by their mean prediction.
        data: Trajectories; for models, held-out ones.
        horizon: Longest prediction H in steps.
        levels: Shares of windows whose error stays below, in (0, 1).
        rollout: "linear", "bilinear" or "relifted".
        n_folds: Parts of the data, for an estimator.

    Returns:
        Bounds on |error| in the units of the states (radians for angles), shape
        (len(levels), H, d), nondecreasing in the level; infinite where there are too few windows
        to say (fewer than level / (1 - level)) or the roll-out exploded.

    Raises:
        TypeError: If source is neither an estimator nor models.
        ValueError: If a number is out of range, or data hold a single trajectory to leave out.

    Example:
        >>> bounds = error_quantiles(model, held_out, 30)  # doctest: +SKIP
        >>> np.savez("bounds.npz", bounds=bounds)  # doctest: +SKIP
    """
    shares = finite_array("levels", list(levels), ndim=1)
    if not len(shares) or not ((shares > 0.0) & (shares < 1.0)).all():
        raise ValueError(f"levels is {list(levels)}; expected numbers between 0 and 1")
    positive_int("n_folds", n_folds, minimum=2)
    H = positive_int("horizon", horizon)
    checked = check_trajectories(data)
    if isinstance(source, EDMDc):
        parts = _left_out(source, checked, n_folds)
    else:
        parts = [(_models(source), checked)]
    errors = [_absolute_errors(models, held_out, H, rollout) for models, held_out in parts]
    return conformal_quantiles(np.concatenate(errors), shares)


@checked
def bootstrap_models(
    estimator: EDMDc | LiftedModel,
    data: Trajectory | Sequence[Trajectory],
    n_models: int = 10,
    *,
    seed: int = 0,
    redraw_features: bool = True,
) -> list[LiftedModel]:
    """Fit an ensemble: each model sees trajectories drawn with replacement, and new features.

    The spread of the ensemble's predictions is what the data and the feature draw leave open; it
    says nothing about what no model of this kind can express (see `error_quantiles` for that).

    Args:
        estimator: Settings; it is cloned, never changed. Or a fitted model, whose features,
            coordinates, coupling and regularisation are then taken as settings.
        data: At least two trajectories.
        n_models: Number of models.
        seed: Seed of all draws; same seed, same bits.
        redraw_features: Give every model's feature map (each parameter `random_state`) a new seed.

    Returns:
        n_models fitted models.

    Raises:
        ValueError: If there is a single trajectory, or the estimator cannot be fitted.
    """
    checked = check_trajectories(data)
    if len(checked) < 2:
        raise ValueError(
            "data holds one trajectory; expected several to draw from: cut it into shorter ones"
        )
    if isinstance(estimator, LiftedModel):
        estimator = _settings_of(estimator)
    models = []
    seeds = np.random.SeedSequence(seed_number("seed", seed))
    for child in seeds.spawn(positive_int("n_models", n_models)):
        rng = np.random.default_rng(child)
        drawn = [checked[i] for i in rng.integers(len(checked), size=len(checked))]
        member = clone(estimator)
        if redraw_features:
            _reseed(member, rng)
        models.append(member.fit(drawn).model_)
    return models


@checked
def predict_ensemble(
    models: Sequence[LiftedModel], x0: Array, U: Array, rollout: Rollout = "relifted"
) -> Array:
    """Predict with every model: as `LiftedModel.predict`, with a first axis over models."""
    return np.stack([model.predict(x0, U, rollout) for model in _models(models)])


def _absolute_errors(
    models: Sequence[LiftedModel], data: list[Trajectory], horizon: int, rollout: Rollout
) -> Array:
    """Absolute errors of the mean prediction on windows of data, shape (W, H, d)."""
    for model in models:
        model.check_rollout(rollout)
    first = models[0]
    windows = windows_of(first.signals.runs(data), horizon, MAX_WINDOWS)
    one = np.ones(first.n_states)
    signed = [scaled_errors(model, windows, one, rollout) for model in models]
    with np.errstate(invalid="ignore"):  # two members exploding apart
        mean = np.mean(signed, axis=0)
    mean[np.isnan(mean) & windows.valid[:, :, None]] = np.inf
    return np.asarray(np.abs(mean))


def _left_out(
    estimator: EDMDc, data: list[Trajectory], n_folds: int
) -> list[tuple[list[LiftedModel], list[Trajectory]]]:
    """Fit to all but one part of the trajectories in turn."""
    n_parts = min(positive_int("n_folds", n_folds, minimum=2), len(data))
    if n_parts < 2:
        raise ValueError(
            f"data holds one trajectory of {total_steps(data)} steps; expected several, to leave "
            "some out: cut it into shorter ones"
        )
    parts = []
    for i in range(n_parts):
        seen = [t for j, t in enumerate(data) if j % n_parts != i]
        parts.append(([clone(estimator).fit(seen).model_], data[i::n_parts]))
    return parts


def _models(source: Any) -> list[LiftedModel]:
    """Return one model or several as a list, checked."""
    models = list(source) if isinstance(source, (list, tuple)) else [source]
    if not models or not all(isinstance(model, LiftedModel) for model in models):
        raise TypeError(
            f"source is {source!r}; expected an EDMDc, a LiftedModel or a list of LiftedModels"
        )
    return models


def _settings_of(model: LiftedModel) -> EDMDc:
    """Return an estimator that fits models like this one, as far as a model tells its settings."""
    if model.reduction is not None:
        raise ValueError(
            "estimator is a reduced model, which does not tell how it was fitted; give the EDMDc"
        )
    signals, entries = model.signals, model.coordinates.columns
    inputs, ridge = signals.input_features, model.summary.get("regularization", 0.0)
    turning = [entry for entry in entries if isinstance(entry, tuple)]
    return EDMDc(
        clone(model.features),
        coupling="linear" if model.N is None else "bilinear",
        input_features=None if inputs is None else clone(inputs),
        regularization=float(ridge),
        states=[entry for entry in entries if not isinstance(entry, tuple)],
        angles=[entry[0] if len(entry) == 1 else entry for entry in turning],
        memory=model.coordinates.memory,
        input_delay=model.input_delay,
        n_folds=0,
    )


def _reseed(estimator: EDMDc, rng: np.random.Generator) -> None:
    """Give every feature map of an estimator a new random seed."""
    estimator.features = feature_maps(estimator.features, DEFAULT_FEATURES)
    for features in estimator.features:
        features.set_params(**{n: int(rng.integers(2**31)) for n in seed_names(features)})
