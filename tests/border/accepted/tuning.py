"""Settings by search: see `allowed`."""

LINES = """
settings_of names: none empty
Tuning names: none
tune storage: text
Tuned.gain number: zero minus
Tuned.is_better number: zero minus
write_tuned folder: text
write_tuned source: none text
"""
