"""What is compared: this package and its peers, each behind `fit` and `predict`.

Peers are used as their own documentation advises, through their public interface; what had to be
added is said at the class. All lift to 200 features beside the state.
"""

from __future__ import annotations

from collections.abc import Callable
from importlib.util import find_spec
from typing import Any, Protocol

import numpy as np

from examples.benchmarks.forced_systems import Problem
from koopman_control import EDMDc, LiftedModel, SampledFeatures, Trajectory
from koopman_control.common.arrays import Array
from koopman_control.identification import Corrections

N_FEATURES, SEED, GAMMA = 200, 0, 0.5  # kernel exp(-gamma |x - y|^2) on standardised states


class Subject(Protocol):
    """A way to identify a system from scaled states and inputs."""

    rollouts: tuple[str, ...]

    def fit(self, given: Problem) -> None:
        """Fit to the training data; this is what is timed."""

    def predict(self, x0: Array, U: Array, rollout: str) -> Array:
        """Predict states (S, H, d) from first states (S, d) and inputs (S, H, m)."""

    def matrix(self) -> Array:
        """Return A of z+ = A z + B u."""


class Ours:
    """This package; `EDMDc` with the settings given and all else at its defaults."""

    model: LiftedModel
    given: Problem

    def __init__(self, **settings: Any) -> None:
        self.settings = settings
        self.rollouts: tuple[str, ...] = ("linear", "relifted")
        if settings.get("coupling") == "bilinear":
            self.rollouts = ("bilinear", "relifted")

    def fit(self, given: Problem) -> None:
        self.given = given
        features = SampledFeatures(N_FEATURES, random_state=SEED)
        estimator = EDMDc(features, **self.settings)
        self.model = estimator.fit(self._data(given)).model_

    def _data(self, given: Problem) -> list[Trajectory]:
        return given.trajectories()

    def predict(self, x0: Array, U: Array, rollout: str) -> Array:
        return self.model.rolled_out(x0, U, rollout)  # type: ignore[arg-type]

    def matrix(self) -> Array:
        return self.model.A


class OursWithAngles(Ours):
    """The same, told which two observations are the cosine and the sine of an angle."""

    def __init__(self, **settings: Any) -> None:
        super().__init__(**settings, angles=[(0, 1)])

    def _data(self, given: Problem) -> list[Trajectory]:
        return [
            Trajectory(
                t.observations * given.scale + given.center,
                t.actions,
                dt=t.dt,
                observation_bounds=t.observation_bounds * given.scale + given.center,
            )
            for t in given.trajectories()
            if t.observation_bounds is not None
        ]

    def predict(self, x0: Array, U: Array, rollout: str) -> Array:
        x = super().predict(self.model.state(x0 * self.given.scale + self.given.center), U, rollout)
        observed = np.stack([np.cos(x[..., 0]), np.sin(x[..., 0]), x[..., 1]], axis=-1)
        return (observed - self.given.center) / self.given.scale


class PyKoop:
    """pykoop: a lifting function in a SplitPipeline, `Edmd` at its default of no regularisation."""

    rollouts: tuple[str, ...] = ("linear", "relifted")

    def __init__(self, lifting: str) -> None:
        self.lifting = lifting

    def fit(self, given: Problem) -> None:
        import pykoop

        X, U = given.train
        functions = {
            "fourier": lambda: pykoop.KernelApproxLiftingFn(
                pykoop.RandomFourierKernelApprox(
                    n_components=N_FEATURES // 2,
                    shape=GAMMA,
                    method="weight_only",
                    random_state=SEED,
                )
            ),
            "thin plate": lambda: pykoop.RbfLiftingFn(
                rbf="thin_plate", centers=pykoop.QmcCenters(N_FEATURES, random_state=SEED)
            ),
        }
        lifting = pykoop.SplitPipeline(
            lifting_functions_state=[("lifting", functions[self.lifting]())],
            lifting_functions_input=None,
        )
        self.pipeline = pykoop.KoopmanPipeline([("split", lifting)], regressor=pykoop.Edmd())
        self.pipeline.fit(_by_episode(X, U), n_inputs=U.shape[-1], episode_feature=True)

    def predict(self, x0: Array, U: Array, rollout: str) -> Array:
        S, H, _ = U.shape
        start = np.hstack([np.arange(S, dtype=float)[:, None], x0])
        inputs = _by_episode(np.empty((S, H + 1, 0)), U)
        X = self.pipeline.predict_trajectory(start, inputs, relift_state=rollout == "relifted")
        states: Array = X[:, 1:].reshape(S, H + 1, -1)[:, 1:]
        return states

    def matrix(self) -> Array:
        K: Array = self.pipeline.regressor_.coef_.T
        return K[:, : len(K)]


class Deeptime:
    """deeptime's EDMD knows no inputs: they are appended to the state, their own rows thrown away.

    The lifting is a function of the user's, here random Fourier features; the roll-out is ours.
    """

    rollouts: tuple[str, ...] = ("linear", "relifted")

    def fit(self, given: Problem) -> None:
        from deeptime.decomposition import EDMD

        X, U = given.train
        self.d, m, n = X.shape[-1], U.shape[-1], N_FEATURES // 2
        normal = np.random.default_rng(SEED).normal(size=(self.d, n))
        self.frequencies = normal * np.sqrt(2.0 * GAMMA)
        joint = np.concatenate([X[:, :-1], U], axis=2)
        now, then = (joint[:, part].reshape(-1, self.d + m) for part in (np.s_[:-1], np.s_[1:]))
        operator = EDMD(self._basis).fit((now, then)).fetch_model().operator
        K: Array = np.real(operator.T)
        self.A, self.B = K[:-m, :-m], K[:-m, -m:]

    def _basis(self, joint: Array) -> Array:
        return np.hstack([self._lift(joint[:, : self.d]), joint[:, self.d :]])

    def _lift(self, x: Array) -> Array:
        q = x @ self.frequencies
        waves = np.hstack([np.cos(q), np.sin(q)]) / np.sqrt(q.shape[1])
        lifted: Array = np.hstack([x, waves])
        return lifted

    def predict(self, x0: Array, U: Array, rollout: str) -> Array:
        z, X = self._lift(x0), []
        for k in range(U.shape[1]):
            z = z @ self.A.T + U[:, k] @ self.B.T
            X.append(z[:, : self.d])
            if rollout == "relifted":
                z = self._lift(X[-1])
        return np.stack(X, axis=1)

    def matrix(self) -> Array:
        return self.A


def _by_episode(X: Array, U: Array) -> Array:
    """Lay out as pykoop wants it: [episode | states | inputs], the last input a padding."""
    padded = np.concatenate([U, np.zeros_like(U[:, :1])], axis=1)
    episode = np.repeat(np.arange(float(len(U))), padded.shape[1])[:, None]
    return np.hstack([episode, X.reshape(len(episode), -1), padded.reshape(len(episode), -1)])


OURS: dict[str, Callable[[], Subject]] = {
    "EDMDc()": Ours,
    "EDMDc(rollout='linear')": lambda: Ours(rollout="linear"),
    "EDMDc(coupling='bilinear')": lambda: Ours(coupling="bilinear"),
    "EDMDc(regularization=1e-10)": lambda: Ours(regularization=1e-10),
    "EDMDc(regularization=1e-10, n_folds=0)": lambda: Ours(regularization=1e-10, n_folds=0),
    "EDMDc(coupling='bilinear', angles)": lambda: OursWithAngles(coupling="bilinear"),
    "EDMDc(coupling='bilinear', noise='smooth')": lambda: Ours(
        coupling="bilinear", corrections=Corrections(noise="smooth")
    ),
    "EDMDc(coupling='bilinear', angles, noise='smooth')": lambda: OursWithAngles(
        coupling="bilinear", corrections=Corrections(noise="smooth")
    ),
}
PEERS: dict[str, Callable[[], Subject]] = {
    "pykoop, random Fourier": lambda: PyKoop("fourier"),
    "pykoop, thin plate": lambda: PyKoop("thin plate"),
    "deeptime, random Fourier": Deeptime,
}
SUBJECTS = {**OURS, **PEERS}


def installed(name: str) -> bool:
    """Whether a subject can run here."""
    return name in OURS or find_spec(name.split(",")[0]) is not None


def suits(name: str, system: str) -> bool:
    """Whether a subject applies to a system; only the pendulum has an angle."""
    return "angles" not in name or system == "pendulum"
