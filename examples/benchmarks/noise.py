"""What measurement noise costs, and what smoothing and the horizon fit win back.

The forced Van der Pol and Duffing oscillators of `forced_systems.py`, noise on the training states
only, in standard deviations of the states. Error: root mean square over 50 steps of 100 clean test
windows, in the same units. "floor" is a linear roll-out with perfect knowledge, which no number of
features can beat.

    python -m examples.benchmarks.noise
"""

import time

import numpy as np

from examples.benchmarks.forced_systems import HORIZON, Problem, linear_floor, problem
from koopman_control import EDMDc, LiftedModel, SampledFeatures, Trajectory
from koopman_control.identification import Corrections, Rollout


def error(model: LiftedModel, given: Problem, rollout: Rollout) -> float:
    windows = given.windows()
    with np.errstate(all="ignore"):
        predicted = model.rolled_out(windows.x0, windows.U, rollout)
    return float(np.sqrt(np.mean((predicted - windows.X) ** 2)))


FITS = {
    "one-step": Corrections(),
    "horizon": Corrections(refine_horizon=True),
    "smooth": Corrections(noise="smooth"),
    "both": Corrections(noise="smooth", refine_horizon=True),
    "auto": Corrections(noise="auto"),
}


def fitted(data: list[Trajectory], corrections: Corrections) -> LiftedModel:
    features = SampledFeatures(200, random_state=0)
    settings = EDMDc(
        features, rollout="linear", horizon=HORIZON, n_folds=3, corrections=corrections
    )
    return settings.fit(data).model_


def main() -> None:
    print("plant, noise, fit: 50-step error linear, re-lifted; spectral radius; CPU seconds")
    for name in ("vdp", "duffing"):
        clean = problem(name)
        print(f"{name}: floor of the linear roll-out {linear_floor(clean):.4f}")
        for noise in (0.0, 0.02, 0.05):
            given = clean.noisy(noise)
            for fit, corrections in FITS.items():
                began = time.process_time()
                model = fitted(given.trajectories(), corrections)
                seconds = time.process_time() - began
                linear, relifted = error(model, given, "linear"), error(model, given, "relifted")
                print(
                    f"{name:8} {noise:4.0%} {fit:12} {linear:.4f} {relifted:.4f} "
                    f"{abs(model.eigenvalues[0]):.4f} {seconds:5.1f}",
                    flush=True,
                )


if __name__ == "__main__":
    main()
