"""Tasks: see `allowed`."""

LINES = """
Task env_id: text
Task summary: text
Task R: zero fraction
Task n_rounds: zero
Task ignored: empty
Task beside: none
Task input_features: none
Task prediction: none
Task states: none empty
Task angles: empty
Task memory: zero
Task reference: zero minus fraction true empty deep
Task input_reference: zero minus fraction
Task noise: none
Task until: none
Task state_names: none texts empty
Task wrap: none
Task name: text
Task.restored data: empty
Task.restored seed: zero
Task.estimator seed: zero
Task.learn seed: zero
Task.learn on_step: none
Task.learn checkpoint: none text
normalised_score env_id: text
normalised_score returns: holed
reference_returns env_id: text
reference_returns seeds: empty
"""
