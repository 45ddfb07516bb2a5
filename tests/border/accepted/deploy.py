"""Deployment: see `allowed`."""

LINES = """
export_c folder: text
export_c name: text
export_c rank_tolerance: none zero
export_c flash: none
export_c certify: true
build_wheel folder: text
build_wheel name: text
CompiledMPC.act observation: holed
CompiledMPC.act disturbance: none
CompiledMPC.act applied: none
CompiledMPC.reset previous_input: none
"""
