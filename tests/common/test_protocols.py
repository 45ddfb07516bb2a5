import numpy as np

from koopman_control.common import Array, Controller, begin_episode


class Plain:
    def __init__(self) -> None:
        self.calls: list[object] = []

    def reset(self) -> None:
        self.calls.append("reset")

    def act(self, observation: Array) -> Array:
        return np.zeros(1)


class Seeded(Plain):
    def seed(self, seed: int) -> None:
        self.calls.append(seed)


def test_anything_with_reset_and_act_is_a_controller() -> None:
    assert isinstance(Plain(), Controller)
    assert not isinstance(np.zeros(1), Controller)


def test_an_episode_begins_with_the_seed_where_there_is_one_and_a_reset() -> None:
    plain, seeded = Plain(), Seeded()
    begin_episode(plain, 7)
    begin_episode(seeded, 7)
    assert plain.calls == ["reset"]
    assert seeded.calls == [7, "reset"]
