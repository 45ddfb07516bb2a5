"""Evaluation: see `allowed`."""

LINES = """
simulate_log start_rows: none
judge_on_log skip: zero
write_identification folder: text
write_identification title: text
write_identification notes: texts empty text
RandomPolicy.act observation: *
ZeroPolicy.act observation: *
RandomPolicy action_bounds: wider
RandomPolicy seed: zero
RandomPolicy.seed seed: zero
ZeroPolicy action_bounds: wider
evaluate on_episode: none
evaluate previous_input: none
run_episode seed: zero
run_episode previous_input: none
begin_episode seed: zero
begin_episode previous_input: none
learn first_steps: none
learn n_rounds: zero
learn excitation: none
learn noise: none
learn until: none
learn seed: zero
learn on_step: none
learn checkpoint: none text
Evaluation.figures references: none
Evaluation.figures observation_names: none texts empty
Evaluation.figures action_names: none texts empty
Evaluation.report folder: text
Evaluation.report references: none
Evaluation.report metrics: none
Evaluation.report figures: none
Evaluation.report title: none text
write_report folder: text
write_report title: text
write_report references: none
backtest future: none
backtest lookback: none
backtest horizons: empty
bootstrap_interval x: longer
bootstrap_interval seed: zero
paired_difference seed: zero
interquartile_mean x: deep holed longer wider
interquartile_mean axis: none zero minus
continuous_ranked_probability_score samples: longer
mean_squared_error forecast: holed
mean_squared_error scale: none
valid_prediction_time forecast: holed
valid_prediction_time dt: fraction
valid_prediction_time lyapunov_exponent: fraction
valid_prediction_time threshold: fraction
state_space_divergence generated: holed longer rowless
state_space_divergence truth: longer
spectrum_distance smoothing: fraction
"""
OTHER_NAMES = """
continuous_ranked_probability_score truth: samples
mean_squared_error truth: forecast
valid_prediction_time truth: forecast
state_space_divergence truth: generated
spectrum_distance truth: generated
"""
