"""The control problem: its settings, checked, and its statement in CVXPY."""
