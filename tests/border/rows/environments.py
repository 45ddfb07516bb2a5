"""The registered environments: made, reset and stepped, one copy and many."""

from collections.abc import Callable, Mapping
from typing import Any

import gymnasium as gym
import numpy as np

from tests.border.public import entry_points, environments, public_names
from tests.border.rows.row import Row

COPIES = 2
DIRECT = {"render_mode": None}  # Gymnasium looks at it before we do
SPECIAL = {"QuadrupleTank": {"phase": "minimum"}, "PlanarQuadrotor": {"trajectory": "waypoint"}}


def options(name: str) -> dict[str, Any]:
    """Options of every environment, and those of this one."""
    return {
        "observation_noise": 0.01,
        "actuator_delay": 1,
        "mismatch": None,
        "observed": [0],
        **SPECIAL.get(name, {}),
    }


def factors(kind: Any) -> dict[str, float]:
    return dict.fromkeys(list(vars(kind.parameters))[:2], 1.1)


def chosen(kind: Any) -> dict[str, Any]:
    """Options of a reset, which become arrays."""
    middle = [0.5 * (np.array(low) + np.array(high)) for low, high in bounds(kind)]
    return dict(zip(("state", "reference"), middle, strict=True))


def bounds(kind: Any) -> list[Any]:
    return [(kind.state_low, kind.state_high), (kind.reference_low, kind.reference_high)]


def begun(env: Any) -> Any:
    env.reset(seed=0)
    return env


def of_one(name: str, env_id: str, kind: Any) -> list[Row]:
    reset: dict[str, Any] = {"seed": 0, "options": chosen(kind)}
    action = np.zeros(len(kind.input_high), np.float32)
    return [
        Row(name, kind, lambda: DIRECT | options(name)),
        Row(f"gymnasium.make({name})", made(gym.make, env_id), lambda: options(name)),
        Row(f"{name}(mismatch)", lambda **k: kind(mismatch=k), lambda: factors(kind)),
        Row(f"{name}.reset", kind().reset, lambda: reset),
        Row(
            f"gymnasium.make({name}).reset",
            lambda **k: gym.make(env_id).reset(**k),
            lambda: reset,
        ),
        Row(f"{name}.reset(options)", lambda **k: kind().reset(options=k), lambda: chosen(kind)),
        Row(f"{name}.step", lambda **k: begun(kind()).step(**k), lambda: {"action": action}),
        Row(
            f"gymnasium.make({name}).step",
            lambda **k: begun(gym.make(env_id)).step(**k),
            lambda: {"action": action},
        ),
    ]


def of_many(name: str, env_id: str, kind: Any) -> list[Row]:
    sizes: dict[str, Any] = {"num_envs": COPIES, "max_episode_steps": 5}
    actions = np.zeros((COPIES, len(kind.environment.input_high)), np.float32)
    one = kind.environment
    rows = {k: np.stack([v] * COPIES) for k, v in chosen(one).items()}
    return [
        Row(name, kind, lambda: sizes | DIRECT | options(one.__name__)),
        Row(
            f"gymnasium.make_vec({name})",
            made(gym.make_vec, env_id, vectorization_mode="vector_entry_point"),
            lambda: {"num_envs": COPIES} | options(one.__name__),
        ),
        Row(f"{name}.reset", kind(COPIES).reset, lambda: {"seed": [0, 1], "options": rows}),
        Row(f"{name}.reset(options)", lambda **k: kind(COPIES).reset(options=k), lambda: rows),
        Row(
            f"{name}.step", lambda **k: begun(kind(COPIES)).step(**k), lambda: {"actions": actions}
        ),
    ]


def made(make: Callable[..., Any], env_id: str, **how: Any) -> Callable[..., Any]:
    def call(**arguments: Any) -> Any:
        return make(env_id, **how, **arguments)

    return call


def rows_of(spec: gym.envs.registration.EnvSpec, public: Mapping[str, Any]) -> list[Row]:
    (_, one), (_, many) = entry_points(spec)
    return [*of_one(one, spec.id, public[one]), *of_many(many, spec.id, public[many])]


ROWS = [row for spec in environments() for row in rows_of(spec, public_names())]
