"""Controllers: see `allowed`."""

LINES = """
Parameters.__setitem__ value: zero minus fraction true
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
KoopmanMPC.act applied: none
KoopmanMPC.reset previous_input: none
KoopmanMPC.constrain top: zero minus fraction true deep
KoopmanMPC.penalize price: zero minus fraction true
BatchMPC.act applied: none
BatchMPC.reset copies: none
BatchMPC.reset previous_input: none
compile_qp variables: empty
tube_margins noise: zero fraction true
tube_margins Q: zero fraction true
tube_margins R: zero fraction true
"""
OTHER_NAMES = """
ParametricQP.theta values: theta
ParametricQP.at values: theta
Parameters.__setitem__ value: parameter
ParametricQP.solve values: theta
KoopmanMPC.penalize price: penalize
"""
