"""What is found out about systems of which the truth is known."""

import json
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from koopman_control.autopilot.discovery import find
from koopman_control.autopilot.findings import Findings, InputShape, Threshold
from koopman_control.trajectories import HeldUniform, Trajectory, collect


def spring(
    dead: float = 0.0,
    saturated: float = np.inf,
    delay: int = 0,
    noise: float = 0.0,
    seen: tuple[int, ...] = (0, 1),
    units: tuple[float, float, float] = (1.0, 1.0, 1.0),
    seed: int = 0,
) -> list[Trajectory]:
    """Simulate a mass on a hardening spring in three runs; units of position, speed and force."""
    rng = np.random.default_rng(seed)
    runs = []
    for _ in range(3):
        U = HeldUniform((1, 5)).sample(400, -np.ones(1), np.ones(1), rng)
        X = np.zeros((401, 2))
        X[0] = rng.uniform(-1.0, 1.0, 2)
        for t in range(400):
            u = float(U[t - delay, 0]) if t >= delay else 0.0
            push = np.clip(np.sign(u) * max(0.0, abs(u) - dead), -saturated, saturated)
            speed = X[t, 1] + 0.1 * (-X[t, 0] - 0.3 * X[t, 0] ** 3 - 0.1 * X[t, 1] + 3.0 * push)
            X[t + 1] = X[t, 0] + 0.1 * speed, speed
        Y = (X + noise * rng.normal(size=X.shape)) * units[:2]
        rewards = -(X[:-1] ** 2) @ [1.0, 0.1] - 0.5 * U[:, 0] ** 2
        runs.append(Trajectory(Y[:, list(seen)], U * units[2], rewards=rewards, dt=0.1))
    return runs


@cache
def found(env_id: str, n_steps: int = 600) -> Findings:
    """Look into an environment after so many steps; tests share what is found."""
    return find(collect(env_id, HeldUniform((1, 10)), n_steps=n_steps, seed=0))


@cache
def found_of_spring() -> Findings:
    return find(spring())


def plain(findings: Findings) -> dict[str, Any]:
    return {name: item["value"] for name, item in findings.as_dict()["findings"].items()}


@pytest.mark.parametrize(
    ("env_id", "angles"),
    [
        ("Pendulum-v1", ((0, 1),)),
        ("koopman_envs/CartPoleSwingUp-v0", ((2, 3),)),
        ("Reacher-v5", ((0, 2), (1, 3))),
        ("InvertedDoublePendulum-v5", ((3, 1), (4, 2))),  # cosine after sine, as the speeds tell
        ("koopman_envs/Duffing-v0", ()),
        ("koopman_envs/QuadrupleTank-v0", ()),
        ("koopman_envs/CSTR-v0", ()),
        ("MountainCarContinuous-v0", ()),
    ],
)
def test_angles_are_pairs_of_columns_on_the_unit_circle(env_id: str, angles: object) -> None:
    assert found(env_id).angles.value == angles
    assert found(env_id).angles.certain


@pytest.mark.parametrize(
    ("env_id", "context"),
    [
        ("Reacher-v5", (4, 5)),
        ("koopman_envs/CartPoleSwingUp-v0", (5,)),
        ("koopman_envs/QuadrupleTank-v0", (4, 5)),
        ("koopman_envs/Duffing-v0", (2,)),
        ("Pendulum-v1", ()),
        ("InvertedPendulum-v5", ()),
    ],
)
def test_goals_are_constant_within_an_episode(env_id: str, context: object) -> None:
    assert found(env_id).context.value == context


@pytest.mark.parametrize(
    ("env_id", "rates"),
    [
        ("Pendulum-v1", {(0, 1): 2}),
        ("koopman_envs/CartPoleSwingUp-v0", {0: 1, (2, 3): 4}),
        ("Reacher-v5", {(0, 2): 6, (1, 3): 7}),
        ("InvertedPendulum-v5", {0: 2, 1: 3}),
        ("MountainCarContinuous-v0", {0: 1}),
        ("koopman_envs/CSTR-v0", {}),
        ("koopman_envs/QuadrupleTank-v0", {}),
    ],
)
def test_speeds_are_paired_with_their_positions(env_id: str, rates: object) -> None:
    findings = found(env_id)
    assert {rate.position: rate.speed for rate in findings.rates.value} == rates


def test_a_step_adds_the_time_step_times_the_speed() -> None:
    (rate,) = found("Pendulum-v1").rates.value
    assert rate.per_step == pytest.approx(0.05, rel=1e-4)


def test_limits_come_from_the_space_and_from_where_data_pile_up() -> None:
    assert found("Pendulum-v1").limits.value[:, 2].tolist() == [-8.0, 8.0]
    runs = [
        Trajectory(
            np.clip(run.observations, -0.75, 0.75), run.actions, rewards=run.rewards, dt=run.dt
        )
        for run in spring()
    ]
    limits = find(runs).limits
    assert limits.value[:, 0].tolist() == [-0.75, 0.75]
    assert limits.certain


def test_a_space_that_the_data_leave_is_not_believed() -> None:
    bounds = np.array([[-0.5, -np.inf], [0.5, np.inf]])
    runs = [
        Trajectory(run.observations, run.actions, run.rewards, run.dt, observation_bounds=bounds)
        for run in spring()
    ]
    limits = find(runs).limits
    assert np.isinf(limits.value).all()
    assert not limits.certain


@pytest.mark.parametrize(
    ("env_id", "n_steps", "ignored"),
    [
        ("koopman_envs/Duffing-v0", 1000, (2,)),  # the set-point
        ("koopman_envs/Duffing-v0", 400, (2,)),
        ("koopman_envs/QuadrupleTank-v0", 600, (4, 5)),
        ("Pendulum-v1", 600, ()),
        ("MountainCarContinuous-v0", 600, ()),
        ("InvertedPendulum-v5", 600, (0,)),  # the cart's position
    ],
)
def test_columns_without_which_the_model_predicts_as_well_are_ignored(
    env_id: str, n_steps: int, ignored: object
) -> None:
    assert found(env_id, n_steps).ignored.value == ignored


def test_nothing_is_found_that_is_not_there() -> None:
    findings = found_of_spring()
    assert plain(findings) | {"rates": None, "reward": None, "limits": None} == {
        "angles": [],
        "context": [],
        "switches": [],
        "rates": None,
        "ignored": [],
        "limits": None,
        "inputs": [{"dead": None, "saturated": None}],
        "delays": [0],
        "noise": [0.0, 0.0],
        "memory": 0,
        "contacts": 0.0,
        "reward": None,
        "ends": [],
    }
    assert not findings.uncertain()


def test_a_dead_zone_is_found_where_it_is() -> None:
    (shape,) = find(spring(dead=0.3)).inputs.value
    assert shape.dead == pytest.approx((-0.3, 0.3), abs=0.15)
    assert shape.saturated is None


def test_saturation_is_found_where_it_is() -> None:
    (shape,) = find(spring(saturated=0.5)).inputs.value
    assert shape.saturated == pytest.approx((-0.5, 0.5), abs=0.05)
    assert shape.dead is None


def test_the_delay_of_an_input_is_found_and_taken_out_before_anything_else() -> None:
    findings = find(spring(delay=3))
    assert findings.delays.value == (3,)
    assert findings.memory.value == 0
    assert findings.inputs.value == (InputShape(),)


@pytest.mark.parametrize("noise", [0.01, 0.05])
def test_noise_of_the_measurement_is_found_with_its_size(noise: float) -> None:
    measured = find(spring(noise=noise)).noise
    assert measured.value == pytest.approx([noise, noise], rel=0.15)
    assert measured.certain


def test_a_speed_that_is_not_seen_asks_for_memory() -> None:
    memory = find(spring(seen=(0,))).memory
    assert memory.value == 1
    assert memory.certain


def test_findings_do_not_depend_on_units() -> None:
    other = find(spring(units=(1e5, 1e-4, 1e3)))
    mine = found_of_spring()
    assert plain(mine) | {"rates": None} == plain(other) | {"rates": None}
    for name, item in mine.items().items():
        evidence = other.items()[name].evidence
        assert evidence == pytest.approx(dict(item.evidence), rel=1e-2, abs=1e-9), name


def test_impacts_are_told_from_what_a_smooth_model_explains() -> None:
    rng = np.random.default_rng(3)
    runs, hits = [], 0
    for _ in range(3):
        U = rng.uniform(-1.0, 1.0, (400, 1))
        X = np.zeros((401, 2))
        for t in range(400):
            speed = X[t, 1] - 0.05 * X[t, 1] + 0.3 * float(U[t, 0])
            place = X[t, 0] + 0.1 * speed
            if place > 0.3:
                place, speed, hits = 0.6 - place, -0.8 * speed, hits + 1
            X[t + 1] = place, speed
        runs.append(Trajectory(X, U, dt=0.1))
    contacts = find(runs).contacts
    assert 0.4 * hits / 1200 < contacts.value < 1.1 * hits / 1200  # slow ones look like no impact
    assert "y0 > " in contacts.words


def test_a_quadratic_reward_is_found_with_the_columns_that_matter() -> None:
    reward = found_of_spring().reward
    assert (reward.value.kind, reward.value.after) == ("quadratic", False)
    assert (reward.value.columns, reward.value.inputs) == ((0, 1), (0,))
    assert reward.evidence["R2 of a quadratic"] > 0.999999


def test_a_reward_within_a_range_is_found_as_steps() -> None:
    runs = [
        Trajectory(
            run.observations,
            run.actions,
            (np.abs(run.observations[1:, 0]) < 0.5).astype(np.float64),
        )
        for run in spring()
    ]
    reward = find(runs).reward
    assert reward.value.kind == "steps"
    assert (reward.value.columns, reward.value.after) == ((0,), True)


def test_a_reward_that_never_changes_is_nothing_to_learn_from() -> None:
    runs = [Trajectory(r.observations, r.actions, np.zeros(len(r))) for r in spring()]
    reward = find(runs).reward
    assert reward.value.kind == "constant"
    assert "reward was 0 in all 1200 steps" in reward.words
    assert not reward.certain


def test_the_end_of_an_episode_is_a_threshold() -> None:
    findings = found("InvertedPendulum-v5")
    (threshold,) = findings.ends.value
    assert (threshold.column, threshold.size, threshold.above) == (1, True, True)
    assert threshold.number == pytest.approx(0.2, abs=0.01)  # as the environment's source says
    assert findings.reward.value.kind == "constant"
    assert "should not end" in findings.reward.words


def test_a_dead_zone_with_a_jump_is_found_in_a_stock_environment() -> None:
    _, side = found("LunarLanderContinuous-v3", 1000).inputs.value
    assert side.dead == pytest.approx((-0.5, 0.5), abs=0.05)  # as the environment's source says


def test_from_few_samples_no_dead_zone_is_made_up() -> None:
    # The quadrotor lies on the ground for most of its time under random inputs.
    shapes = found("koopman_envs/PlanarQuadrotor-v0", 1000).inputs.value
    assert shapes == (InputShape(), InputShape())


def test_a_person_can_correct_what_was_found() -> None:
    end = Threshold(0, True, True, 2.0)
    corrected = found_of_spring().corrected(ignored=(1,), ends=(end,), memory=None)
    assert corrected.ignored.value == (1,)
    assert corrected.ignored.certain
    assert corrected.ends.value == (end,)
    assert "as you said" in corrected.table()
    with pytest.raises(ValueError, match=r"no finding 'angels'.* Did you mean angles"):
        found_of_spring().corrected(angels=())


def test_the_table_has_a_line_for_each_finding_with_its_evidence() -> None:
    lines = str(found("Pendulum-v1")).splitlines()
    assert lines[0] == "from 600 steps:"
    begun = [line.split()[0] for line in lines[1:] if not line.startswith(" ")]
    assert begun == list(found("Pendulum-v1").items())
    assert max(map(len, lines)) <= 100
    assert "y2 is the speed of y0/y1 [share unexplained" in str(found("Pendulum-v1"))


def test_what_is_the_same_of_many_columns_is_said_once() -> None:
    rng = np.random.default_rng(0)
    moving = rng.normal(size=(301, 2)).cumsum(axis=0)
    still = np.full((301, 20), 0.5)
    said = find(Trajectory(np.hstack([moving, still]), rng.normal(size=(300, 1)))).context
    assert said.words == "y2, y3, y4, y5, ... y21 (20 in all) never change at all"
    assert said.numbers() == "share of steps that change it 0 (20 of them)"
    assert len(said.evidence) == 20, "all of them, for programs"


def test_an_end_that_is_told_by_chance_is_uncertain() -> None:
    rng = np.random.default_rng(0)
    runs = [
        Trajectory(rng.normal(size=(101, 3)), rng.normal(size=(100, 1)), terminated=True)
        for _ in range(4)
    ]
    assert not find(runs).ends.certain


def test_findings_are_written_as_json_with_their_version(tmp_path: Path) -> None:
    read = json.loads(found("Pendulum-v1").write(tmp_path / "findings.json").read_text())
    assert read["version"] == 1
    assert read["findings"]["angles"]["value"] == [[0, 1]]
    assert read["findings"]["limits"]["value"] == [[-1.0, -1.0, -8.0], [1.0, 1.0, 8.0]]
    memory = json.loads(found_of_spring().write(tmp_path / "other.json").read_text())
    assert memory["findings"]["limits"]["value"] == [[None, None], [None, None]]


def test_too_few_steps_are_refused() -> None:
    with pytest.raises(ValueError, match="data holds 50 steps; expected at least 100"):
        find(Trajectory(np.zeros((51, 1)), np.zeros((50, 1))))


def test_a_plant_that_never_moves_is_refused() -> None:
    with pytest.raises(ValueError, match="120 steps in which no observation changes"):
        find(Trajectory(np.ones((121, 2)), np.zeros((120, 1))))
