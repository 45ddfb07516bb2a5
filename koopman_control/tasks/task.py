"""A task: what `koopman-control run` needs to know about an environment, as one frozen value."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from contextlib import closing
from dataclasses import asdict, dataclass, field, fields, is_dataclass, replace
from typing import Any

from koopman_control.common import Array, PathLike
from koopman_control.common.arrays import finite_array, positive_int, seed_number
from koopman_control.common.border import CheckedFields, at_least, checked
from koopman_control.evaluation import Learned, learn
from koopman_control.features import Angle, FeatureMap, FeatureUnion, SampledFeatures
from koopman_control.identification import Coupling, EDMDc, LiftedModel, Rollout
from koopman_control.mpc import Bounds, Cost, Inputs, KoopmanMPC, Search
from koopman_control.trajectories import HeldUniform, Signal, Trajectory, open_environment
from koopman_control.trajectories.environments import Environment

OnStep = Callable[[int], None]  # called with the number of environment steps so far


@dataclass(frozen=True)
class Task(CheckedFields):
    """Settings that turn an environment into a learned controller.

    Args:
        env_id: Gymnasium id of the environment.
        summary: What is to be done, in one line.
        Q: Weight of the states, one number each (an angle pair counts as one state).
        R: Weight of the inputs.
        horizon: Control horizon in steps.
        n_steps: Budget of environment steps for learning.
        first_steps: Steps of it under the excitation, before there is a controller.
        n_rounds: Rounds of control and refit that share the rest.
        rollout: Roll-out of the controller: "linear", "bilinear" or "relifted".
        coupling: Input coupling of the model: "linear" or "bilinear".
        n_features: Candidate numbers of sampled features; cross-validation picks.
        steepness: Candidate steepnesses of the features; cross-validation picks.
        ignored: Feature inputs that no feature sees: plain states come first, then the cosines of
            the angles, then their sines.
        beside: Features beside the sampled ones, which see all feature inputs: a family that part
            of the plant is known to be exact in.
        input_features: Features of the inputs, for plants that are not affine in them; None: none.
        n_draws: Draws of the features whose linear roll-outs are averaged.
        prediction: Longest prediction judged in cross-validation, in steps; None: the horizon.
        states: Observation columns to model; None takes all.
        angles: A (cosine column, sine column) pair, or a column in radians, for each angle in the
            observation.
        memory: Number of past steps and inputs that the model's state also holds; see `EDMDc`.
        reference: Target of the states, a trajectory of it for a whole episode, shape (T, d), or a
            function of the observation.
        input_reference: Target of the inputs, or a function of the observation.
        excitation: Signal of the first steps.
        noise: Signal added to the controller while it collects; None adds nothing.
        until: Says of an observation whether to break an episode of data off there and reset; None
            never does.
        state_names: Labels of the states with their units, for the figures; None: the model's own.
        mpc: Further settings of `KoopmanMPC`.
        fit: Settings of `EDMDc` beside, or instead of, those that follow from the above, such as
            an `input_delay`.
        env_arguments: For `gymnasium.make`: options of the environment, a plant off its nominal
            parameters, noise. The stored references are for none.
        wrap: Puts wrappers around the environment, such as noise or a delay; None: none, which the
            stored references are for.
        name: What the task goes by, as an environment may have several; default the id of the
            environment without namespace and version.

    Example:
        >>> task = Task("Pendulum-v1", "Swing up", Q=(1, 0.1), R=0.001, horizon=60, n_steps=600,
        ...             first_steps=400, angles=((0, 1),), rollout="relifted", coupling="bilinear")
        >>> task.estimator().horizon
        60
    """

    env_id: str
    summary: str
    Q: tuple[float, ...]
    R: float
    horizon: int
    n_steps: int
    first_steps: int
    n_rounds: int = 1
    rollout: Rollout = "linear"
    coupling: Coupling = "linear"
    n_features: tuple[int, ...] = (20, 60)
    steepness: tuple[float, ...] = (0.25, 1.0)
    ignored: tuple[int, ...] = ()
    beside: FeatureMap | None = None
    input_features: FeatureMap | None = None
    n_draws: int = 1
    prediction: int | None = None
    states: tuple[int, ...] | None = None
    angles: tuple[Angle, ...] = ()
    memory: int = 0
    reference: float | Array | Callable[[Array], Any] = 0.0
    input_reference: float | Callable[[Array], Any] = 0.0
    excitation: Signal = HeldUniform(hold=(1, 10))  # noqa: RUF009  # frozen
    noise: Signal | None = None
    until: Callable[[Array], bool] | None = None
    state_names: tuple[str, ...] | None = None
    mpc: Mapping[str, Any] = field(default_factory=dict)
    fit: Mapping[str, Any] = field(default_factory=dict)
    env_arguments: Mapping[str, Any] = field(default_factory=dict)
    wrap: Callable[[Environment], Environment] | None = None
    name: str = ""

    def __post_init__(self) -> None:
        """Check the ranges of numbers, too, and find a name."""
        super().__post_init__()
        if not self.name:
            object.__setattr__(self, "name", short_name(self.env_id))
        for name in ("horizon", "n_steps", "first_steps", "n_draws"):
            positive_int(name, getattr(self, name))
        positive_int("n_rounds", self.n_rounds, minimum=0)
        positive_int("memory", self.memory, minimum=0)
        if self.prediction is not None:
            positive_int("prediction", self.prediction)
        for name in ("Q", "n_features", "steepness"):
            if not getattr(self, name):
                raise ValueError(f"{name} is empty; expected at least one number")
        for weight in self.Q:
            at_least("Q", weight, 0)
        at_least("R", self.R, 0)
        for name in ("reference", "input_reference"):
            if not callable(getattr(self, name)):
                finite_array(name, getattr(self, name))

    def settings(self) -> dict[str, Any]:
        """Describe all settings as plain data; functions go by their names."""
        mpc = {name: _plain(_as_given(value)) for name, value in self.mpc.items()}
        return {name: _plain(value) for name, value in asdict(self).items()} | {"mpc": mpc}

    def environment(self, **arguments: Any) -> Environment:
        """Make the environment, to be closed by the caller; `evaluate` takes it as it is.

        Args:
            **arguments: For `gymnasium.make` beside the task's own, such as a `render_mode`.
        """
        env = open_environment(self.env_id, {**self.env_arguments, **arguments})
        return env if self.wrap is None else self.wrap(env)

    @checked
    def estimator(self, seed: int = 0) -> EDMDc:
        """Return the unfitted estimator, its features drawn from `seed`."""
        seed_number("seed", seed)
        sampled = [
            SampledFeatures(n, steepness=s, ignored=self.ignored, random_state=seed)
            for n in self.n_features
            for s in self.steepness
        ]
        beside = self.beside
        settings: dict[str, Any] = {
            "features": sampled if beside is None else [FeatureUnion([s, beside]) for s in sampled],
            "coupling": self.coupling,
            "input_features": self.input_features,
            "rollout": self.rollout,
            "horizon": self.prediction or self.horizon,
            "n_draws": self.n_draws,
            "states": self.states,
            "angles": self.angles,
            "memory": self.memory,
        }
        return EDMDc(**(settings | dict(self.fit)))

    @checked
    def controller(self, model: LiftedModel) -> KoopmanMPC:
        """Return a controller on a fitted model."""
        return KoopmanMPC(
            model,
            self.horizon,
            self.Q,
            self.R,
            reference=self.reference,
            rollout=self.rollout,
            **{**self.mpc, "cost": self._cost()},
        )

    def _cost(self) -> Cost:
        """All costs beside Q and R.

        Raises:
            ValueError: If inputs have two targets.
        """
        cost: Cost = self.mpc.get("cost", Cost())
        if _as_default(cost.input_reference, Cost().input_reference):
            return replace(cost, input_reference=self.input_reference)
        if not _as_default(self.input_reference, type(self).input_reference):
            raise ValueError(
                f"input_reference is {self.input_reference!r}, but mpc's cost has another; give "
                "one of them"
            )
        return cost

    @checked
    def restored(self, model: LiftedModel, data: Sequence[Trajectory], seed: int = 0) -> KoopmanMPC:
        """Return the controller that `learn` ended with, from what a run saves of it.

        Args:
            model: The model learned.
            data: The data collected, in its order.
            seed: Seed of the learning.
        """
        seed_number("seed", seed)
        return self.controller(model)

    @checked
    def learn(
        self, seed: int = 0, on_step: OnStep | None = None, checkpoint: PathLike | None = None
    ) -> Learned:
        """Learn a controller with this task's budget; see `koopman_control.learn`."""
        with closing(self.environment()) as env:
            return learn(
                env,
                self.estimator(seed),
                self.controller,
                n_steps=self.n_steps,
                first_steps=self.first_steps,
                n_rounds=self.n_rounds,
                excitation=self.excitation,
                noise=self.noise,
                until=self.until,
                seed=seed,
                on_step=on_step,
                checkpoint=checkpoint,
            )


@checked
def short_name(env_id: str) -> str:
    """Return an environment's id without namespace and version.

    Example:
        >>> short_name("koopman_envs/Duffing-v0")
        'Duffing'
    """
    short = env_id.rpartition(":")[2].rpartition("/")[2]
    stem, _, version = short.rpartition("-v")
    return stem if stem and version.isdigit() else short


def _as_given(setting: Any) -> Any:
    """What of a group of settings differs from its defaults, so that new ones change nothing."""
    if isinstance(setting, Cost | Bounds | Search | Inputs):
        given = {f.name: (getattr(setting, f.name), f.default) for f in fields(setting)}
        return {
            n: value for n, (value, default) in given.items() if not _as_default(value, default)
        }
    return asdict(setting) if is_dataclass(setting) and not isinstance(setting, type) else setting


def _as_default(value: Any, default: Any) -> bool:
    """Whether a setting was left as it is; in another process it is no longer the same object."""
    plain = isinstance(value, bool | int | float | str | tuple)
    return value is default or (plain and type(value) is type(default) and value == default)


def _plain(value: Any) -> Any:
    """Write a setting as JSON can hold it; functions by name."""
    if callable(value):
        return getattr(value, "__name__", str(value))
    if isinstance(value, Mapping):
        return {str(k): _plain(v) for k, v in value.items()}
    if isinstance(value, tuple | list):
        return [_plain(v) for v in value]
    return value if isinstance(value, str | int | float | bool | None) else str(value)
