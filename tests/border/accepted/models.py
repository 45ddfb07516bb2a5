"""Fitting and using models: see `allowed`."""

LINES = """
EDMDc.fit_shards pilot: none
EDMDc.fit_shards workers: none
EDMDc.sums shard: empty
Spectrum.spurious tolerance: zero fraction
Spectrum.eigenfunctions x: deep
EDMDc input_features: none
EDMDc regularization: zero fraction
Corrections noise_std: none fraction zero true
Corrections refine_horizon: true
Corrections stability: none fraction
Corrections trim: none fraction
EDMDc least_squares: none
EDMDc corrections: none
EDMDc input_delay: zero minus
EDMDc states: none
EDMDc angles: empty
EDMDc memory: zero
LeastSquares limits: none
EDMDc n_folds: zero
EDMDc.fit y: *
EDMDc.fit sample_weight: none
EDMDc.partial_fit y: *
EDMDc.partial_fit sample_weight: none
EDMDc.score y: none
LiftedModel.save path: text
to_onnx path: text
LiftedModel.simulate actions: longer
LiftedModel.simulate first_outputs: longer
Structure memory: zero
Structure feedthrough: true
identify structure: none
identify angles: empty
identify seconds: fraction
identify n_draws: none
identify random_state: zero
identify checkpoint: none text
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
from_control lift: none
from_control jacobian: none
LiftedModel N: none
Signals action_bounds: none
Signals dt: none fraction
Signals state_names: texts empty
LiftedModel reduction: none
LiftedModel joint: none
Signals input_features: none
Signals ground: none longer rowless
Signals noise: none
Signals input_delay: zero minus
OnlineModel trust: fraction
OnlineModel retain: true
adapt trust: fraction
adapt retain: true
bootstrap_models seed: zero
bootstrap_models redraw_features: true
predict_ensemble U: longer rowless
reduced data: none
spectrum data: none
pseudospectrum points: zero minus fraction true complex empty deep longer rowless
stabilized radius: fraction
stabilized data: none
"""
OTHER_NAMES = """
EDMDc.fit_shards readers: data
EDMDc.fit_shards pilot: data
EDMDc.sums shard: data
LiftedModel.load path: file
EDMDc states: columns
EDMDc.score_left_out seen: data
EDMDc.score_left_out judged: data
LiftedModel.from_arrays B: N
LiftedModel B: action_bounds
predict_ensemble models: source
"""
