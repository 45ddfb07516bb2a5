"""Controllers: see `allowed`."""

LINES = """
Parameters.__setitem__ value: zero minus inf fraction true
KalmanObserver measurement_noise: fraction true
KalmanObserver process_noise: zero fraction true
OffsetFree measurement_noise: fraction true
OffsetFree process_noise: zero fraction true
OffsetFree offset_noise: fraction true
MovingHorizonEstimator measurement_noise: fraction true
MovingHorizonEstimator process_noise: zero fraction true
MovingHorizonEstimator state_bounds: none
MovingHorizonEstimator noise_bound: none fraction
KoopmanMPC compiled: true
KoopmanMPC Q: none zero fraction true longer
KoopmanMPC R: none zero fraction true
KoopmanMPC cost: none
KoopmanMPC input_bounds: none
KoopmanMPC output_bounds: none
KoopmanMPC bounds: none
KoopmanMPC reference: zero minus fraction true
KoopmanMPC search: none
KoopmanMPC estimator: none
KoopmanMPC inputs: none
Cost Q: none zero fraction true longer
Cost R: none zero fraction true
Cost S: zero fraction true
Cost input_reference: zero minus fraction true
Cost linear_output: zero minus fraction true
Cost linear_input: zero minus fraction true
Cost terminal: zero fraction true
Cost trust: zero fraction
Bounds inputs: none
Bounds rates: none inf fraction true
Bounds outputs: none
Bounds terminal: none
Bounds terminal_set: none
Bounds polytope: none
Bounds soft: true
Bounds slack_weight: fraction true
Bounds tighten: zero fraction
Search guesses: zero
Search first_guesses: zero
Search seed: zero
Search deadline: none fraction
Inputs parametrization: none
Inputs delay: zero
Inputs measured: empty
Inputs safe: zero minus fraction true
KoopmanMPC.act observation: holed
KoopmanMPC.act disturbance: none
KoopmanMPC.act applied: none
KoopmanMPC.reset previous_input: none
KoopmanMPC.constrain top: zero minus inf fraction true deep
KoopmanMPC.save path: text
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
KoopmanMPC.load path: file
Bounds inputs: input_bounds
Bounds outputs: output_bounds
SolverSettings name: solver
ParametricQP.theta values: theta
ParametricQP.at values: theta
Parameters.__setitem__ value: parameter
ParametricQP.solve values: theta
KoopmanMPC.penalize price: penalize
"""
