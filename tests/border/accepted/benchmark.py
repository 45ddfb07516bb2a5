"""The benchmark: see `allowed`."""

LINES = """
Condition summary: text
Subject summary: text
Subject train: none
Subject learns: true
Subject needs: none texts
Subject shares_data: true
Subject effort: zero fraction
Variation.__call__ seed: zero
Trained data_steps: zero
Trained seconds: zero fraction
Trained rounds: empty
Key task: text
Key subject: text
Key condition: text
Key seed: zero
Plan first_seed: zero
Plan.jobs keys: empty
RunFile path: text
RunFile.add records: empty
open_runs folder: text
write_results folder: text
"""
