"""The controller that acts, whatever happens; and how its horizon's end is chosen."""

import pickle
from dataclasses import replace

import numpy as np

from koopman_control.autopilot.controller import PilotController, PilotStep
from koopman_control.autopilot.refinement import Refinement
from koopman_control.autopilot.rehearsal import Candidate, best_rehearsed
from koopman_control.autopilot.reward import EndModel, RewardModel
from koopman_control.autopilot.search import Effort, Objective, PlanSearch
from koopman_control.autopilot.surface import constant_surface
from tests.autopilot.plants import ANYWHERE, BOX, pendulum, swing_up

MODEL, GOAL = pendulum(), swing_up()
HANGING = np.array([-1.0, 0.0, 0.0])


def controller(hold: int = 1, goal: Objective = GOAL) -> PilotController:
    search = PlanSearch([MODEL], goal, BOX, Effort(30, 64, 2, 4), seed=1)
    return PilotController(MODEL, search, BOX, hold, Refinement(MODEL, goal, search, BOX))


def latest(pilot: PilotController) -> PilotStep:
    assert pilot.last is not None
    return pilot.last


def test_every_episode_begins_alike() -> None:
    pilot, acted = controller(), []
    for _ in range(2):
        pilot.reset()
        acted.append([pilot.act(HANGING) for _ in range(3)])
    np.testing.assert_array_equal(acted[0], acted[1])
    assert np.abs(acted).max() <= 2.0


def test_an_input_is_held_for_as_long_as_a_decision_lasts() -> None:
    pilot = controller(hold=3)
    acted = np.array([pilot.act(HANGING + 0.01 * i) for i in range(7)])[:, 0]
    assert acted[0] == acted[1] == acted[2]
    assert acted[3] == acted[4] == acted[5]


def test_the_plan_before_goes_on_where_there_is_none() -> None:
    pilot = controller()
    pilot.act(HANGING)
    planned = latest(pilot).plan[1]
    np.testing.assert_array_equal(pilot.act(np.full(3, np.nan)), planned)
    assert latest(pilot).trouble
    fell_back = [latest(pilot).fallback]
    pilot.act(HANGING)
    assert [*fell_back, latest(pilot).fallback] == [True, False]


def test_without_any_plan_the_middle_of_the_box_acts() -> None:
    pilot = controller()
    np.testing.assert_array_equal(pilot.act(np.full(3, np.nan)), [0.0])
    assert latest(pilot).fallback


def test_what_earns_more_in_rehearsal_is_chosen_and_else_the_simpler() -> None:
    reward = RewardModel(GOAL.reward, GOAL.after)
    end = EndModel(ANYWHERE, constant_surface(3, [0.0, 0.0]), 0, 1.0)
    opposite = replace(GOAL, reward=constant_surface(4, [0.0]))
    starts = np.array([[0.3, 0.0], [-0.2, 0.0]])

    def candidate(goal: Objective) -> Candidate:
        return Candidate(goal, lambda: controller(goal=goal).planned)

    good, bad, common = candidate(GOAL), candidate(opposite), (MODEL, reward, end, starts, 30)
    assert best_rehearsed([bad, good], *common)[0] == 1
    assert best_rehearsed([good, bad], *common)[0] == 0
    assert best_rehearsed([good, good], *common)[0] == 0


def test_a_copy_in_another_process_acts_alike() -> None:
    pilot = controller(hold=2)
    pilot.act(HANGING)
    copy = pickle.loads(pickle.dumps(pilot))
    for each in (pilot, copy):
        each.reset()
    np.testing.assert_array_equal(copy.act(HANGING), pilot.act(HANGING))
