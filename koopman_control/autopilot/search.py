"""Global search for plans on a learned model: the cross-entropy method with coloured noise.

Nothing about the reward has to be smooth or concave. Plans are drawn about the best of the step
before, priced in compiled batches, and drawn again about the best of them (Pinneri et al.,
Sample-efficient cross-entropy method for real-time planning, 2020).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from koopman_control.autopilot.surface import Surface
from koopman_control.common.arrays import Array
from koopman_control.identification import LiftedModel
from koopman_control.identification.compiled_rollouts import covered_features

COLOUR = 1.0  # amplitudes fall with frequency to this power
ELITES = 0.1  # share of the plans that the next ones are drawn about
KEPT = 5  # best plans that are looked at again
NARROWEST, WIDEST = 0.005, 0.6  # standard deviation of the noise, in half widths of the box
WIDER = 2.0  # than after a search, it is in the next step
PERIODS = (4.0, 80.0)  # of switching plans, in steps
NOTHING = -1e29  # below this are plans that drive the model out of its range
MOST_WORK = 2e8  # multiply-adds of the plans of one decision, some 12 ms of a core
TANH = 15  # multiply-adds that a neuron takes beside its inputs and outputs
FEWEST = 2  # times that plans are drawn
BLOCKS = 4  # of LANES plans that are priced at once, at most


@dataclass(frozen=True, eq=False)
class Objective:
    """What a plan is worth, beside the model.

    Args:
        reward: Of [e, u], e the feature inputs of a state: the reward, and maybe what of it belongs
            to the state before, not after, the step.
        after: Whether that state is the one after the step.
        of_state: Of e after a step: whether the episode ends there (above a half), the reward of a
            step that ends it, and how little is known of the place; None: nothing of it.
        box: The episode ends outside, shape (2, d).
        value: Of e after the last step: what is still to come; None: nothing.
        discount: Of each step.
        unknown: Worth of places of which nothing is known, per step; below zero they are avoided.
        hold: Steps of the model that each input of a plan is held for.
        trusted: Limits of the states, beyond which the model is not to be trusted, shape (2, d);
            None: everywhere.
        distrust: Worth of every step beyond them.
        horizon: Decisions of a plan.
    """

    reward: Surface
    after: bool
    of_state: Surface | None
    box: Array
    value: Surface | None = None
    discount: float = 1.0
    unknown: float = 0.0
    hold: int = 1
    trusted: Array | None = None
    distrust: float = 0.0
    horizon: int = 50

    def lost(self, X: Array) -> NDArray[np.bool_]:
        """Say which states (T, d) lie where the model is not to be trusted, shape (T,)."""
        if self.trusted is None:
            return np.zeros(len(X), dtype=bool)
        outside: NDArray[np.bool_] = ((X < self.trusted[0]) | (X > self.trusted[1])).any(axis=1)
        return outside


@dataclass(frozen=True)
class Effort:
    """How long is searched at each step.

    Args:
        horizon: Steps of a plan.
        n_plans: Plans drawn each time.
        iterations: Times they are drawn.
        first_iterations: Times they are drawn in the first step of an episode.
    """

    horizon: int = 50
    n_plans: int = 250
    iterations: int = 3
    first_iterations: int = 8

    @classmethod
    def affordable(cls, model: LiftedModel, objective: Objective) -> Effort:
        """Return as long a search as takes no more than MOST_WORK in each decision.

        Work is counted, not timed, so that results do not depend on the machine.
        """
        from koopman_control.autopilot.kernels import LANES

        block = _block(model, objective)
        blocks = int(np.clip(MOST_WORK / (cls.iterations * block), 1, BLOCKS))
        iterations = int(np.clip(MOST_WORK / (blocks * block), FEWEST, cls.iterations))
        return cls(objective.horizon, blocks * LANES - KEPT - 1, iterations)


class PlanSearch:
    """Draws and prices plans from one state after another.

    Args:
        models: Learned models of the same states; a plan is worth what it is with the mean of them.
        objective: What plans are worth.
        box: Lowest and highest inputs, shape (2, m).
        effort: How long is searched.
        seed: Of the plans.
    """

    def __init__(
        self,
        models: list[LiftedModel],
        objective: Objective,
        box: Array,
        effort: Effort,
        seed: int = 0,
    ) -> None:
        self._dynamics = [dynamics_arrays(model) for model in models]
        self._objective = objective_arrays(objective, models[0])
        self._box, self._effort, self._seed = box, effort, seed
        self._middle, self._half = 0.5 * (box[0] + box[1]), 0.5 * (box[1] - box[0])
        self.restart()

    def restart(self) -> None:
        """Begin an episode, with the same random plans each time."""
        self._rng = np.random.default_rng(self._seed)
        self._elite: Array | None = None
        self._std = np.empty(0)

    def worth(self, x: Array, plans: Array) -> Array:
        """Price plans (S, N, m) from a state (d,); returns shape (S,)."""
        from koopman_control.autopilot import kernels

        J = np.empty(len(plans))
        total = np.zeros(len(plans))
        x0, small = single(x), single(plans)
        for dynamics in self._dynamics:
            kernels.returns(dynamics, self._objective, x0, small, J)
            total += J
        return total / len(self._dynamics)

    def plan(self, x: Array) -> tuple[Array, float]:
        """Return the best plan (N, m) found from a state (d,), and what it is worth."""
        e, first = self._effort, self._elite is None
        m = self._box.shape[1]
        wide = np.full((e.horizon, m), WIDEST)
        if self._elite is None:
            kept, std = np.zeros((1, e.horizon, m)), wide
        else:
            kept = np.concatenate([self._elite[:, 1:], self._elite[:, -1:]], axis=1)
            std = np.concatenate([self._std[1:], wide[:1]])
        mean, n = kept[0], e.n_plans // 2
        for i in range(e.first_iterations if first else e.iterations):
            plans = mean + std * self._coloured(e.n_plans)
            if i == 0:  # far from the plan before, too
                plans[:n] = mean + wide * self._coloured(n)
            if (first and i < 3) or i == 0:
                plans[: n // 2] = self._switching(n // 2)
            plans = np.concatenate([np.clip(plans, -1.0, 1.0), kept, np.clip(mean[None], -1, 1)])
            J = self.worth(x, self._middle + self._half * plans)
            order = np.argsort(-J, kind="stable")
            elite = plans[order[: max(2, int(ELITES * e.n_plans))]]
            mean, std = elite.mean(axis=0), np.maximum(elite.std(axis=0), NARROWEST)
            kept = elite[:KEPT]
        self._elite, self._std = kept, np.minimum(WIDER * std, WIDEST)
        return self._middle + self._half * kept[0], float(J[order[0]])

    def follow(self, plan: Array) -> None:
        """Take a plan (N, m) as the best one, which the next step begins from."""
        unit = (plan - self._middle) / np.where(self._half > 0.0, self._half, 1.0)
        others = self._elite[:-1] if self._elite is not None else np.empty((0, *plan.shape))
        self._elite = np.concatenate([unit[None], others])

    def _coloured(self, n: int) -> Array:
        """Draw noise (n, N, m) with standard deviation 1, slow rather than fast."""
        N, m = self._effort.horizon, self._box.shape[1]
        frequency = np.maximum(np.fft.rfftfreq(N), 1.0 / N) ** -COLOUR
        shape = (n, m, len(frequency))
        spectrum = self._rng.standard_normal(shape) + 1j * self._rng.standard_normal(shape)
        spectrum *= frequency
        noise = np.fft.irfft(spectrum, n=N, axis=2)
        size = np.sqrt((2.0 * frequency**2)[1:].sum() * 2.0 + 2.0 * frequency[0] ** 2) / N
        return np.asarray(np.swapaxes(noise, 1, 2) / size)

    def _switching(self, n: int) -> Array:
        """Draw plans (n, N, m) that switch between two levels: optimal ones often nearly do."""
        N, m = self._effort.horizon, self._box.shape[1]
        period = np.exp(self._rng.uniform(np.log(PERIODS[0]), np.log(PERIODS[1]), (n, 1, m)))
        phase = self._rng.uniform(0.0, 1.0, (n, 1, m))
        level = self._rng.choice([0.3, 0.6, 1.0, 1.0], (n, 1, m))
        return np.asarray(
            level * np.sign(np.sin(2.0 * np.pi * (np.arange(N)[:, None] / period + phase)))
        )


def searchable(model: LiftedModel, objective: Objective) -> bool:
    """Say whether the shortest search there is takes no more than MOST_WORK."""
    return FEWEST * _block(model, objective) <= MOST_WORK


def _block(model: LiftedModel, objective: Objective) -> int:
    """Count the multiply-adds of plans that are priced at once."""
    from koopman_control.autopilot.kernels import LANES

    parts: Any = objective_arrays(objective, model)
    work = sum(_work(f) for f in (dynamics_arrays(model), parts.reward, parts.of_state))
    return work * objective.horizon * objective.hold * LANES


def _work(f: Any) -> int:
    """Count the multiply-adds of functions of one point."""
    (n, z), r = f.W.shape, len(f.constant)
    return int(n * (z + r + TANH) + r * (z + (z * z // 2 if len(f.quadratic) else 0)))


def single(array: Any) -> NDArray[np.float32]:
    """Return a contiguous copy in single precision; what is too large for it becomes infinite."""
    with np.errstate(over="ignore"):
        return np.ascontiguousarray(array, dtype=np.float32)


def filled(array: Array, rows: int, columns: int) -> NDArray[np.float32]:
    """Fill the last two axes up with zeros to multiples of `rows` and `columns`."""
    *_, r, c = array.shape
    grown = [(0, -r % rows), (0, -c % columns)]
    return single(np.pad(array, [(0, 0)] * (array.ndim - 2) + grown))


def dynamics_arrays(model: LiftedModel) -> Any:
    """Turn a model with neurons as features into what the loops read."""
    from koopman_control.autopilot import kernels

    step = model.affine_step
    covered = covered_features(step.features)
    if covered is None or model.signals.input_lift is not None:
        raise ValueError(
            f"the features are {step.features!r}; plans are searched on models with one layer of "
            "tanh neurons, and plain inputs"
        )
    f, e = covered.arrays, len(step.linear)
    n = len(f.biases)
    products = f.parents - n
    if (products >= e).any() or f.codes.any():
        raise ValueError(
            "plans are searched on models whose features are tanh neurons and products of two "
            "inputs only"
        )
    rows = covered.in_values(
        np.concatenate([step.constant.reshape(1, -1), step.linear, step.nonlinear])
    )
    # From products of standardised feature inputs to those of feature inputs as they are.
    size = 1.0 / f.scale
    P = np.zeros((rows.shape[1], e, e))
    P[:, products, f.factors - n] = rows[1 + n + e :].T
    P *= size[:, None] * size
    both = P + np.swapaxes(P, 1, 2)
    linear = rows[1 + n : 1 + n + e].T * size - both @ f.center
    constant = rows[0] - (rows[1 + n : 1 + n + e].T * size) @ f.center
    constant += f.center @ P @ f.center
    return kernels.Dynamics(
        plain=step.embedding.plain,
        angles=step.embedding.angles,
        W=filled(f.weights.T, 4, 2),
        b=single(np.pad(f.biases, (0, -n % 4))),
        K=filled(rows[1 : 1 + n].T, 1, 4),
        linear=single(linear),
        quadratic=single(np.triu(both) - P * np.eye(e) if len(products) else P[:0]),
        constant=single(constant),
        low=single(step.limits[0]),
        high=single(step.limits[1]),
        stops=np.asarray(step.saturating),
    )


def surface_arrays(surface: Surface | None, n_inputs: int) -> Any:
    """Turn a surface into what the loops read; None is no function at all."""
    from koopman_control.autopilot import kernels

    if surface is None:
        z = n_inputs
        none, empty = np.zeros((0, z)), single(np.zeros(0))
        return kernels.ReadOut(
            W=filled(none, 4, 2), b=empty, K=single(np.zeros((0, 0))), linear=single(none),
            quadratic=single(np.zeros((0, z, z))), constant=empty, low=empty, high=empty,
        )  # fmt: skip
    curved = surface.quadratic if surface.quadratic.any() else surface.quadratic[:0]
    return kernels.ReadOut(
        W=filled(surface.W, 4, 2),
        b=single(np.pad(surface.b, (0, -len(surface.b) % 4))),
        K=filled(surface.K, 1, 4),
        linear=single(surface.linear),
        quadratic=single(curved),
        constant=single(surface.constant),
        low=single(surface.low),
        high=single(surface.high),
    )


def objective_arrays(objective: Objective, model: LiftedModel) -> Any:
    """Turn an objective into what the loops read."""
    from koopman_control.autopilot import kernels

    e, m, d = len(model.signals.center), model.n_inputs, objective.box.shape[1]
    trusted = objective.trusted
    if trusted is None:
        trusted = np.tile([[-np.inf], [np.inf]], d)
    return kernels.Objective(
        reward=surface_arrays(objective.reward, e + m),
        after=bool(objective.after),
        of_state=surface_arrays(objective.of_state, e),
        end_low=single(objective.box[0]),
        end_high=single(objective.box[1]),
        value=surface_arrays(objective.value, e),
        discount=float(objective.discount),
        unknown=float(objective.unknown),
        hold=int(objective.hold),
        trusted_low=single(trusted[0]),
        trusted_high=single(trusted[1]),
        distrust=float(objective.distrust),
    )
