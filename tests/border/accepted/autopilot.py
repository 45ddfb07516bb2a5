"""The autopilot: see `allowed`."""

LINES = """
Findings.write path: text
"""
