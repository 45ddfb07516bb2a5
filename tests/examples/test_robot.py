"""The example of a robot: a plant in real time at one end, a served controller at the other."""

import importlib
import socket
import threading
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np

from examples.robot import learn, plant
from koopman_control import KoopmanMPC
from koopman_control.deploy import Lines, ServingReport, StepLog, serve


def test_the_plant_is_brought_to_its_goal_and_the_log_learned_from(tmp_path: Path) -> None:
    mpc = learn.learned(learn.moved(500))
    here, there = socket.socketpair()
    found: list[ServingReport] = []
    log = StepLog(tmp_path / "motion.csv", mpc.model, 1)

    def served() -> None:
        with here, here.makefile("rb") as reader, here.makefile("wb") as writer:
            found.append(serve(mpc, Lines(reader, writer), rate=1.0 / plant.DT, log=log))

    thread = threading.Thread(target=served)
    thread.start()
    with there, there.makefile("rb") as reader, there.makefile("wb") as writer:
        moved = plant.run(reader, writer, 1.8, silent=(0.8, 1.0))
        there.shutdown(socket.SHUT_RDWR)
    thread.join()
    assert len(moved) == 90
    assert abs(moved[-1][0] - 0.3) < 0.05
    (report,) = found
    assert report.missed >= 1
    runs = learn.logged(tmp_path / "motion.csv")
    assert sum(map(len, runs)) > 40


class Node:
    """What a ROS 2 node looks like from where it is used."""

    def __init__(self, name: str) -> None:
        self.published: list[list[float]] = []
        self.observe: Any = None
        self.tick: Any = None

    def create_publisher(self, kind: Any, topic: str, depth: int) -> Any:
        return SimpleNamespace(publish=lambda message: self.published.append(message.data))

    def create_subscription(self, kind: Any, topic: str, heard: Any, depth: int) -> None:
        self.observe = heard

    def create_timer(self, period: float, tick: Any) -> None:
        self.period, self.tick = period, tick


def test_the_node_acts_on_the_newest_observation_and_without_one_carries_on() -> None:
    module = importlib.import_module("examples.robot.ros2_node")  # without ROS 2
    mpc = learn.learned(learn.moved(500))
    node = module.node_of(Node, SimpleNamespace, mpc)
    node.tick()
    assert not node.published, "nothing was observed yet"
    for y in ([0.1, 0.0, 0.3], [0.11, 0.05, 0.3]):
        node.observe(SimpleNamespace(data=y))
    node.tick()
    twin = KoopmanMPC(
        mpc.model, mpc.horizon, cost=mpc.cost, bounds=mpc.bounds,
        reference=mpc.reference, rollout=mpc.rollout,
    )  # fmt: skip
    np.testing.assert_allclose(node.published[0], twin.act([0.11, 0.05, 0.3]), atol=1e-9)
    for _ in range(mpc.horizon + 1):
        node.tick()
    assert node.published[-1] == mpc.safe_input.tolist()
    assert node.period == plant.DT
