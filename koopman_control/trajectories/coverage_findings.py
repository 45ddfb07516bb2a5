"""From figures about data to sentences: what is wrong, and what to do about it."""

from __future__ import annotations

from collections.abc import Sequence

from koopman_control.trajectories.coverage_report import InputCoverage, StateCoverage

POOR_ORDER = 3  # one sine with an offset
SMALL_SHARE = 0.5
CLOSE = 0.95
MANY_AT_LIMITS = 0.1


def findings_of(
    inputs: Sequence[InputCoverage],
    states: Sequence[StateCoverage],
    joint_order: int,
    duplicates: int,
    n_steps: int,
    shortest: int,
    n_runs: int,
) -> tuple[str, ...]:
    """Say what is unusual, most serious first; an empty tuple if nothing is."""
    found = [sentence for u in inputs for sentence in _about_input(u)]
    least = min(u.order for u in inputs)
    if joint_order < least:
        found.append(
            f"the inputs move together: each alone is excited to order {least} or more, all "
            f"together to {joint_order}; excite them independently"
        )
    found += [sentence for x in states for sentence in _about_state(x)]
    if duplicates:
        found.append(
            f"{duplicates} of {n_steps} steps repeat another one in every number; if a log was "
            "read twice, drop the copies: they spoil cross-validation"
        )
    if shortest == 1 and n_runs > 1:
        found.append(
            "some trajectories are one step long: they enter the fit, but say nothing about "
            "errors several steps ahead"
        )
    return tuple(found)


def _about_input(u: InputCoverage) -> list[str]:
    if u.constant:
        return [
            f"{u.name} never moves (always {u.low:.3g}), so nothing is known about its effect: "
            "excite it, or leave it out of the actions"
        ]
    found = []
    if u.order <= POOR_ORDER:
        found.append(
            f"{u.name} is excited to order {u.order} only (a sine or a few steps): use a richer "
            "signal, for example HeldUniform or Multisine"
        )
    if u.share_of_box is not None and u.share_of_box < SMALL_SHARE:
        found.append(
            f"{u.name} uses {u.share_of_box:.0%} of its range: a controller that uses all of it "
            "will extrapolate"
        )
    if abs(u.correlation) > CLOSE:
        found.append(
            f"{u.name} is nearly a function of {u.followed} (correlation {u.correlation:+.2f}), as "
            "under feedback: add an excitation, or their effects cannot be told apart"
        )
    return found


def _about_state(x: StateCoverage) -> list[str]:
    if x.low == x.high:
        return [f"{x.name} never moves (always {x.low:.3g}): leave it out of the states"]
    found = []
    if x.at_limits > MANY_AT_LIMITS:
        found.append(
            f"{x.name} sits on a known limit in {x.at_limits:.0%} of the samples: these are left "
            "out of a fit; excite more gently, or begin elsewhere"
        )
    inner = [(a, b) for a, b in x.empty if a > x.low and b < x.high]
    if inner:
        where = ", ".join(f"{a:.3g} ... {b:.3g}" for a, b in inner)
        found.append(f"{x.name} has never been in {where}, though on both sides of it")
    return found
