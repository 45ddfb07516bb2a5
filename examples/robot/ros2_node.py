"""A saved controller as a ROS 2 node: observations in, actions out, at the model's rate.

    python -m examples.robot.ros2_node controller.npz --ros-args -r observation:=/arm/state

Needs rclpy of a ROS 2 installation; without it, it says so and ends.
"""

import sys
from typing import Any

import numpy as np

from koopman_control import KoopmanMPC


def node_of(rclpy_node: Any, array: Any, mpc: KoopmanMPC) -> Any:
    """Make the node, from rclpy's `Node` and std_msgs' `Float64MultiArray`."""
    node = rclpy_node("koopman_mpc")
    actions = node.create_publisher(array, "action", 1)
    newest: list[np.ndarray[Any, Any] | None] = [None]
    missed = [0]

    def observe(message: Any) -> None:
        newest[0] = np.array(message.data)

    def act() -> None:
        seen, newest[0] = newest[0], None
        missed[0] = 0 if seen is not None else missed[0] + 1
        if mpc.last is None and seen is None:
            return  # the plant has not spoken yet
        u = mpc.act(np.full(mpc.model.coordinates.n_observations, np.nan) if seen is None else seen)
        message = array()
        message.data = (u if missed[0] <= mpc.horizon else mpc.safe_input).tolist()
        actions.publish(message)

    node.create_subscription(array, "observation", observe, 1)
    node.create_timer(mpc.model.dt, act)
    return node


if __name__ == "__main__":
    try:
        import rclpy
        from rclpy.node import Node
        from std_msgs.msg import Float64MultiArray
    except ImportError as error:
        sys.exit(f"this needs ROS 2: {error}; source its setup.bash first")
    rclpy.init()
    rclpy.spin(node_of(Node, Float64MultiArray, KoopmanMPC.load(sys.argv[1])))
