"""Deployment: see `allowed`."""

LINES = """
export_c folder: text
export_c name: text
CompiledMPC.act observation: holed
CompiledMPC.act disturbance: none
CompiledMPC.act applied: none
CompiledMPC.reset previous_input: none
"""
