from contextlib import closing
from typing import Any

import numpy as np
import pytest

from examples.campaigns import soak
from examples.campaigns.faults import FAULTS
from koopman_control.mpc import KoopmanMPC
from koopman_control.tasks import TASKS

MOTOR = TASKS["koopman_envs/BilinearMotor-v0"]


def soaked(n_steps: int) -> soak.Soak:
    with closing(MOTOR.environment()) as env, np.errstate(all="ignore"):
        controller = MOTOR.learn(seed=0).controller
        assert isinstance(controller, KoopmanMPC)
        return soak.soaked(controller, env, n_steps, seed=0)


def test_faults_at_every_other_step_do_no_harm(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(soak, "SHARE", 0.5)
    found = soaked(600)
    assert found.exceptions == []
    assert found.broken == 0
    assert set(found.faults) == {*FAULTS, "none"}
    assert found.rungs["solved"] >= found.faults["none"]
    assert found.rungs.total() == 600


def test_what_goes_wrong_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    act = KoopmanMPC.act

    def unsound(mpc: KoopmanMPC, observation: Any) -> Any:
        u = act(mpc, observation)
        assert mpc._loop.step != 5, "the fifth step"
        return u if mpc._loop.step != 7 else u + 10.0

    monkeypatch.setattr(KoopmanMPC, "act", unsound)
    found = soaked(10)
    assert found.broken == 1
    assert not found.sound
    assert "exceptions: 1 [" in str(found)
    assert "the fifth step" in str(found)


def test_an_interrupted_soak_tells_what_happened_so_far(monkeypatch: pytest.MonkeyPatch) -> None:
    act = KoopmanMPC.act

    def interrupted(mpc: KoopmanMPC, observation: Any) -> Any:
        if mpc._loop.step == 6:
            raise KeyboardInterrupt
        return act(mpc, observation)

    monkeypatch.setattr(KoopmanMPC, "act", interrupted)
    found = soaked(100)
    assert len(found.seconds) == found.rungs.total() == 6
    assert "6 steps in 1 episodes" in str(found)


@pytest.mark.slow
def test_twenty_thousand_steps_with_faults_are_sound() -> None:
    found = soaked(20_000)
    assert found.sound, str(found)
