"""Controllers in a loop of their own, and on models of their plant."""

LINES = """
Observed offset: zero minus fraction true
Observed gain: zero minus fraction true
Observed.__call__ observation: holed longer
ModelEnv data: none
ModelEnv reward: none
ModelEnv observation_noise: zero fraction
ModelEnv process_noise: zero fraction
ModelEnv action_bounds: none
ModelEnv output_bounds: none
ModelEnv.reset seed: none zero
ModelEnv.reset options: none
rehearse data: none
rehearse n_variants: zero
rehearse noise: zero fraction
rehearse seed: zero
Rehearsal.write folder: text
StepLog path: text
StepLog n_measured: zero
serve rate: none fraction
serve deadline: none fraction
serve patience: zero
serve log: none
serve on_step: none
serve n_steps: none
"""
