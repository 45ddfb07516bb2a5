"""A cluster that is not at hand, from measured unit times: who waits for whom with 1,000 workers.

Tasks go to whichever worker is free, as both engines hand them out. Through joblib every part comes
to the driver, which adds it up; as a Dask graph, a node of the tree fetches its parts from workers.
"""

from __future__ import annotations

import heapq
from dataclasses import dataclass

from koopman_control.identification.workers import FAN_IN

NETWORK = 1192.0  # MiB a second: 10 Gbit/s at every machine


@dataclass(frozen=True)
class Unit:
    """Measured times, in seconds, and sizes.

    Args:
        task: Reading, lifting and summing one task's rows.
        size: MiB of the sums that come out.
        add: Unpacking and adding one part.
        dispatch: What the scheduler takes for a task.
    """

    task: float
    size: float
    add: float
    dispatch: float

    @property
    def fetch(self) -> float:
        """One part over the network."""
        return self.size / NETWORK


def simulated(unit: Unit, workers: int = 1_000) -> list[str]:
    """Describe efficiencies and bottlenecks in words."""
    lines = []
    for n_tasks in (workers, 10 * workers, 100 * workers):
        ideal = n_tasks * unit.task / workers
        for name, run in (("joblib", through_driver), ("Dask graph", as_graph)):
            end, shares = run(unit, workers, n_tasks)
            worst = max(shares, key=lambda what: shares[what])
            lines.append(
                f"{name}, {n_tasks:,} tasks: {end:.0f} s, efficiency {ideal / end:.0%}; longest "
                f"beside the work itself ({ideal:.0f} s): {worst}, {shares[worst]:.0f} s"
            )
    return lines


def _leaves(unit: Unit, workers: int, n_tasks: int) -> tuple[list[float], list[float]]:
    """Return when tasks finish, and when each worker is free again."""
    free, ends = [0.0] * workers, []
    for i in range(n_tasks):
        start = max(heapq.heappop(free), i * unit.dispatch)
        ends.append(start + unit.task)
        heapq.heappush(free, ends[-1])
    return ends, free


def through_driver(unit: Unit, workers: int, n_tasks: int) -> tuple[float, dict[str, float]]:
    """Return the time at which the driver has added up the last part, and what took how long."""
    ends, _ = _leaves(unit, workers, n_tasks)
    now = 0.0
    for end in sorted(ends):
        now = max(now, end) + unit.fetch + unit.add
    shares = {
        "the driver's network": n_tasks * unit.fetch,
        "the driver adding up": n_tasks * unit.add,
        "the scheduler": n_tasks * unit.dispatch,
    }
    return now, shares


def as_graph(unit: Unit, workers: int, n_tasks: int) -> tuple[float, dict[str, float]]:
    """Return the time at which the root of the tree is there, and what took how long."""
    ends, free = _leaves(unit, workers, n_tasks)
    nodes, tree = ends, 0.0
    while len(nodes) > 1:
        groups = [nodes[i : i + FAN_IN] for i in range(0, len(nodes), FAN_IN)]
        own = FAN_IN * (unit.fetch + unit.add) + unit.dispatch
        tree += own
        nodes = []
        for ready in sorted(max(group) for group in groups):
            nodes.append(max(heapq.heappop(free), ready) + own)
            heapq.heappush(free, nodes[-1])
    shares = {
        "the levels of the tree": tree,
        "the scheduler": n_tasks * unit.dispatch,
    }
    return nodes[0] + unit.fetch, shares
