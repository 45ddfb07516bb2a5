"""Take a model that pykoop fitted (pip install pykoop) and control the plant with it."""

from typing import Any

import numpy as np
import pykoop

from koopman_control import KoopmanMPC, LiftedModel, collect, evaluate
from koopman_control.features import Coordinates


def fitted_elsewhere() -> tuple[LiftedModel, Any, Any, Any]:
    """Fit a pykoop pipeline to the Van der Pol oscillator; return ours, theirs and a test run."""
    data = collect("koopman_envs/VanDerPol-v0", n_episodes=4, seed=0)
    # Observation 2 is the set-point; pykoop pads each episode's last input.
    runs = [
        np.column_stack(
            [np.full(len(run) + 1, i), run.observations[:, :2], [*run.actions[:, 0], 0.0]]
        )
        for i, run in enumerate(data)
    ]
    pipeline = pykoop.KoopmanPipeline(
        lifting_functions=[
            (
                "split",
                pykoop.SplitPipeline(
                    lifting_functions_state=[("powers", pykoop.PolynomialLiftingFn(order=3))],
                    lifting_functions_input=None,
                ),
            )
        ],
        regressor=pykoop.Edmd(alpha=1e-6),
    )
    pipeline.fit(np.vstack(runs[:-1]), n_inputs=1, episode_feature=True)
    n = pipeline.n_states_out_
    AB = pipeline.regressor_.coef_.T  # pykoop multiplies from the right
    model = LiftedModel.from_arrays(
        AB[:, :n],
        AB[:, n:],
        C=np.eye(2, n),  # its lifted state begins with the states
        lift=lambda X: pipeline.lift_state(X, episode_feature=False),
        dt=data[0].dt,
        state_names=("x1", "x2"),
        action_bounds=data[0].action_bounds,
        coordinates=Coordinates.of(3, states=[0, 1]),
    )
    return model, pipeline, data[-1].observations[:, :2], data[-1].actions


if __name__ == "__main__":
    model, *_ = fitted_elsewhere()
    mpc = KoopmanMPC(
        model,
        horizon=50,
        Q=[1.0, 0.1],
        R=0.01,
        rollout="linear",
        reference=lambda observation: (observation[2], 0.0),
    )
    result = evaluate(mpc, "koopman_envs/VanDerPol-v0", seeds=range(1000, 1010))
    print(f"mean return {result.mean:.1f} (optimum -50.0, no control -209.6)")
