"""Search feature scale, feature count and regularisation with Optuna (pip install optuna)."""

from collections.abc import Sequence
from typing import Any

import optuna

from koopman_control import EDMDc, SampledFeatures, Trajectory, collect
from koopman_control.trajectories import HeldUniform


def estimator(count: int, steepness: float, regularization: float) -> EDMDc:
    return EDMDc(
        SampledFeatures(count, steepness=steepness, random_state=0),
        regularization=regularization,
        coupling="bilinear",
        angles=[(0, 1)],
        horizon=30,
    )


def search(data: Sequence[Trajectory], n_trials: int, seed: int = 0) -> Any:
    """Minimise the left-out multi-step error; whole trajectories are left out."""

    def left_out_error(trial: Any) -> float:
        fit = estimator(
            trial.suggest_int("count", 5, 60, log=True),
            trial.suggest_float("steepness", 0.05, 2.0, log=True),
            trial.suggest_float("regularization", 1e-14, 1e-4, log=True),
        ).fit(data)
        return fit.choices_[0].score

    optuna.logging.set_verbosity(optuna.logging.WARNING)
    study = optuna.create_study(sampler=optuna.samplers.TPESampler(seed=seed))
    study.enqueue_trial({"count": 20, "steepness": 1.0, "regularization": 1e-8})
    study.optimize(left_out_error, n_trials=n_trials)
    return study


if __name__ == "__main__":
    data = collect("Pendulum-v1", HeldUniform(hold=(1, 10)), n_steps=1000, seed=0)
    study = search(data, n_trials=40)
    print("left-out error", study.best_value, "with", study.best_params)
    unseen = collect("Pendulum-v1", HeldUniform(hold=(1, 10)), n_steps=1000, seed=1)
    print("on unseen data", -estimator(**study.best_params).fit(data).score(unseen))
