"""The report on excitation and coverage of data: figures, and a table of them in plain words."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class InputCoverage:
    """How one input was excited.

    Args:
        name: Its name.
        low: Lowest value.
        high: Highest value.
        share_of_box: Part of the action box between them, or None if the box is unknown.
        constant: Whether it never moves.
        hold: Median number of steps that a value is held.
        order: Order of persistent excitation: independent patterns in windows of the signal, at
            most the order asked for. A constant has 1, a sum of k sines 2 k, noise all.
        followed: Name of the state that it is most correlated with.
        correlation: That correlation, -1 ... 1; near +-1 the input is (nearly) a function of the
            state, as under feedback, and the two effects cannot be told apart.
    """

    name: str
    low: float
    high: float
    share_of_box: float | None
    constant: bool
    hold: float
    order: int
    followed: str
    correlation: float


@dataclass(frozen=True)
class StateCoverage:
    """Where one observation column has been.

    Args:
        name: Its name.
        low: Lowest value.
        high: Highest value.
        mean: Mean.
        std: Standard deviation.
        empty: Intervals of the range (between the bounds where known) without a single sample.
        at_limits: Share of samples on a known bound.
    """

    name: str
    low: float
    high: float
    mean: float
    std: float
    empty: tuple[tuple[float, float], ...]
    at_limits: float


@dataclass(frozen=True)
class Coverage:
    """Excitation and coverage of data; print it for a table and what follows from it.

    Args:
        n_runs: Number of trajectories.
        n_steps: Steps in all.
        shortest: Steps of the shortest trajectory.
        inputs: One entry per action column.
        states: One entry per observation column.
        order: Longest window for which order is counted.
        joint_order: Order up to which all inputs together are excited, below that of each where
            they move together.
        duplicates: Steps that repeat another one in every number.
        findings: What is wrong or unusual, in plain words; empty if nothing is.
    """

    n_runs: int
    n_steps: int
    shortest: int
    inputs: tuple[InputCoverage, ...]
    states: tuple[StateCoverage, ...]
    order: int
    joint_order: int
    duplicates: int
    findings: tuple[str, ...]

    def _names(self) -> list[str]:
        return [u.name for u in self.inputs] + [x.name for x in self.states]

    def __str__(self) -> str:
        """Tabulate, and say what follows."""
        width = 2 + max(len(name) for name in self._names())
        lines = [
            f"{self.n_runs} trajectories, {self.n_steps} steps (shortest {self.shortest})",
            f"{'input':{width}}{'low':>10}{'high':>10}{'of box':>8}{'hold':>7}{'order':>7}"
            "  most correlated with",
        ]
        for u in self.inputs:
            box = "?" if u.share_of_box is None else f"{u.share_of_box:.0%}"
            order = f"{u.order}+" if u.order == self.order else f"{u.order}"
            lines.append(
                f"{u.name:{width}}{u.low:>10.3g}{u.high:>10.3g}{box:>8}{u.hold:>7.3g}{order:>7}"
                f"  {u.followed} ({u.correlation:+.2f})"
            )
        lines.append(
            f"{'state':{width}}{'low':>10}{'high':>10}{'mean':>10}{'std':>10}{'at limits':>11}"
            "  never visited"
        )
        for x in self.states:
            empty = ", ".join(f"{a:.3g} ... {b:.3g}" for a, b in x.empty) or "-"
            lines.append(
                f"{x.name:{width}}{x.low:>10.3g}{x.high:>10.3g}{x.mean:>10.3g}{x.std:>10.3g}"
                f"{x.at_limits:>11.1%}  {empty}"
            )
        verdict = self.findings or ("nothing unusual: every input is excited, every state moves",)
        return "\n".join([*lines, *(f"- {finding}" for finding in verdict)])
