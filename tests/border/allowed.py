"""What else is legitimate for an argument, by labels of `bad_values`; "*" for all of them."""

LINES = """
OrnsteinUhlenbeck correlation_steps: fraction
OrnsteinUhlenbeck scale: fraction
PRBS.sample n_steps: zero
HeldUniform.sample n_steps: zero
Multisine.sample n_steps: zero
OrnsteinUhlenbeck.sample n_steps: zero
Trajectory rewards: none
Trajectory dt: none fraction
Trajectory observation_bounds: none
Trajectory action_bounds: none
Trajectory terminated: true
Trajectory truncated: true
Trajectory seed: none zero minus
Trajectory env_id: none text
Trajectory observation_names: none texts
Trajectory action_names: none
collect seed: zero
collect noise: none
collect until: none
collect on_step: none
collect checkpoint: none text
total_steps trajectories: empty
split_at_gaps time: holed
split_at_gaps observations: holed wider
split_at_gaps actions: holed wider
split_at_gaps dt: none fraction
split_at_gaps max_gap: none fraction
split_at_gaps angles: empty
split_at_gaps angle_period: fraction
split_at_gaps hold_actions: true
split_at_gaps runs: none holed
from_table angles: empty
from_table run: none
estimate_input_delay max_delay: zero
with_input_delay delay: zero
SampledFeatures steepness: fraction
SampledFeatures ignored: empty
SampledFeatures random_state: none zero
FourierFeatures length_scale: fraction
FourierFeatures orthogonal: true
FourierFeatures random_state: none zero
RadialFeatures length_scale: fraction
RadialFeatures random_state: none zero
PolynomialFeatures interaction_only: true
RecurrentFeatures steepness: fraction
RecurrentFeatures random_state: none zero
FunctionFeatures derivative: none
FeatureMap.fit X: wider
FeatureMap.fit y: none wider
SampledFeatures.transform X: longer
SampledFeatures.jacobian X: longer
PolynomialFeatures.transform X: longer
PolynomialFeatures.jacobian X: longer
Coordinates.of states: none empty
Coordinates.of angles: empty
Coordinates.of memory: zero
Coordinates.of n_inputs: zero
EDMDc input_features: none
EDMDc regularization: zero fraction
EDMDc refine_horizon: true
EDMDc stability: none fraction
EDMDc states: none
EDMDc angles: empty
EDMDc memory: zero
EDMDc limits: none
EDMDc n_folds: zero
EDMDc.fit y: *
EDMDc.fit sample_weight: none
EDMDc.partial_fit y: *
EDMDc.partial_fit sample_weight: none
EDMDc.score y: none
save_trajectories path: text
LiftedModel.save path: text
to_onnx path: text
LiftedModel.predict U: longer rowless
LiftedModel.linearize U: longer
LiftedModel.state observation: deep holed
LiftedModel.state actions: none nan inf zero minus fraction true empty deep
LiftedModel.distance x: deep holed
LiftedModel.from_arrays C: none
LiftedModel.from_arrays lift: none
LiftedModel.from_arrays N: none
LiftedModel.from_arrays jacobian: none
LiftedModel.from_arrays dt: none fraction
LiftedModel.from_arrays state_names: none texts
LiftedModel.from_arrays action_bounds: none
LiftedModel.from_arrays coordinates: none
LiftedModel.from_control lift: none
LiftedModel.from_control jacobian: none
LiftedModel N: none
LiftedModel action_bounds: none
LiftedModel dt: none fraction
LiftedModel state_names: texts empty
LiftedModel reduction: none
LiftedModel input_features: none
LiftedModel ground: none longer rowless
OnlineModel trust: fraction
OnlineModel retain: true
adapt trust: fraction
adapt retain: true
bootstrap_models seed: zero
bootstrap_models redraw_features: true
correct_for_noise rollout: none
predict_ensemble U: longer rowless
reduced data: none
spectrum data: none
pseudospectrum points: zero minus fraction true complex empty deep longer rowless
stabilized radius: fraction
stabilized data: none
KalmanObserver measurement_noise: fraction true
KalmanObserver process_noise: zero fraction true
OffsetFree measurement_noise: fraction true
OffsetFree process_noise: zero fraction true
OffsetFree offset_noise: fraction true
MovingHorizonEstimator measurement_noise: fraction true
MovingHorizonEstimator process_noise: zero fraction true
MovingHorizonEstimator state_bounds: none
MovingHorizonEstimator noise_bound: none fraction
KoopmanMPC Q: zero fraction true longer
KoopmanMPC R: zero fraction true
KoopmanMPC S: zero fraction true
KoopmanMPC reference: zero minus fraction true
KoopmanMPC input_reference: zero minus fraction true
KoopmanMPC linear_output: zero minus fraction true
KoopmanMPC linear_input: zero minus fraction true
KoopmanMPC terminal: zero fraction true
KoopmanMPC input_bounds: none
KoopmanMPC rate_bounds: none inf fraction true
KoopmanMPC output_bounds: none
KoopmanMPC terminal_bounds: none
KoopmanMPC terminal_set: none
KoopmanMPC polytope: none
KoopmanMPC soft: true
KoopmanMPC slack_weight: fraction true
KoopmanMPC n_guesses: zero
KoopmanMPC first_guesses: zero
KoopmanMPC safe_input: zero minus fraction true
KoopmanMPC seed: zero
KoopmanMPC inputs: none
KoopmanMPC estimator: none
KoopmanMPC input_delay: zero
KoopmanMPC measured_inputs: empty
KoopmanMPC tighten: zero fraction
KoopmanMPC trust_weight: zero fraction
KoopmanMPC deadline: none fraction
KoopmanMPC.act observation: holed
KoopmanMPC.act disturbance: none
KoopmanMPC.constrain top: zero minus fraction true deep
KoopmanMPC.penalize price: zero minus fraction true
BatchMPC.reset copies: none
compile_qp variables: empty
tube_margins noise: zero fraction true
tube_margins Q: zero fraction true
tube_margins R: zero fraction true
RandomPolicy action_bounds: wider
RandomPolicy seed: zero
RandomPolicy.seed seed: zero
ZeroPolicy action_bounds: wider
evaluate on_episode: none
run_episode seed: zero
begin_episode seed: zero
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
backtest memory: none zero
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
SampledRNN features: none
SampledRNN memory: zero
SampledRNN n_recurrent: zero
SampledRNN increments: true
SampledRNN regularization: zero fraction
SampledRNN n_folds: zero
SampledRNN random_state: zero
SampledRNN.fit series: longer wider
SampledRNN.fit y: *
SampledRNN.fit inputs: none wider
SampledRNN.partial_fit series: longer
SampledRNN.partial_fit y: *
SampledRNN.partial_fit inputs: none
SampledRNN.score series: longer
SampledRNN.score y: *
SampledRNN.score inputs: none
SampledRNN.forecast history: longer
SampledRNN.forecast inputs: none
SampledRNN.forecast_with_intervals history: longer
SampledRNN.forecast_with_intervals inputs: none
Forecast.of_outputs columns: empty
fill_gaps series: holed longer wider
time_table date: none
time_table fill: none
TimeTable.calendar n_more: zero
TimeTable.dates_after n_steps: zero
Task env_id: text
Task summary: text
Task Q: empty
Task R: inf zero minus fraction
Task horizon: zero minus
Task n_steps: zero minus
Task first_steps: zero minus
Task n_rounds: zero minus
Task n_features: empty
Task steepness: empty
Task ignored: empty
Task beside: none
Task input_features: none
Task n_draws: zero minus
Task prediction: none zero minus
Task states: none empty
Task angles: empty
Task memory: zero minus
Task reference: nan inf zero minus fraction true empty deep
Task input_reference: inf zero minus fraction
Task noise: none
Task until: none
Task state_names: none texts empty
Task.estimator seed: zero
Task.learn seed: zero
Task.learn on_step: none
Task.learn checkpoint: none text
normalised_score env_id: text
normalised_score returns: holed
reference_returns env_id: text
reference_returns seeds: empty
"""
ALLOWED = {
    tuple(line.split(": ")[0].split(" ")): set(line.split(": ")[1].split(" "))
    for line in LINES.strip().splitlines()
}

# Other words by which a message names an argument: what it disagrees with, or what it is part of.
ALIASES = {
    ("split_at_gaps", "time"): "times",
    ("load_trajectories", "path"): "file",
    ("LiftedModel.load", "path"): "file",
    ("Trajectory", "observations"): "observation_bounds",
    ("Trajectory", "actions"): "action_bounds",
    ("save_trajectories", "trajectories"): "data",
    ("from_table", "actions"): "column",
    ("from_table", "time"): "column",
    ("from_table", "run"): "column",
    ("time_table", "columns"): "column",
    ("EDMDc", "states"): "columns",
    ("EDMDc.score_left_out", "seen"): "data",
    ("EDMDc.score_left_out", "judged"): "data",
    ("LiftedModel.from_arrays", "B"): "N",
    ("LiftedModel", "B"): "action_bounds",
    ("predict_ensemble", "models"): "source",
    ("ParametricQP.solve", "values"): "theta",
    ("KoopmanMPC.penalize", "price"): "penalize",
    ("continuous_ranked_probability_score", "truth"): "samples",
    ("mean_squared_error", "truth"): "forecast",
    ("valid_prediction_time", "truth"): "forecast",
    ("state_space_divergence", "truth"): "generated",
    ("spectrum_distance", "truth"): "generated",
    ("SampledRNN.fit", "series"): "inputs",
}
