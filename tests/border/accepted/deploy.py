"""Deployment: see `allowed`."""

LINES = """
CompiledMPC.act applied: none
CompiledMPC.reset previous_input: none
"""
