"""The autopilot: see `allowed`."""

LINES = """
Findings.write path: text
Autopilot seed: zero
Autopilot angles: none empty
Autopilot context: none empty
Autopilot ignored: none empty
Autopilot reward: none
Autopilot done: none
Autopilot reference: none
Autopilot levers: none
Levers trim: true
Levers structure: true
Levers value: true
Levers search: true
Levers refine: true
Levers quadratic: true
"""
