"""Public callables that nobody calls with arguments of their own, and why."""

# They hold what has been found.
MADE_BY_THE_PACKAGE = """
Backtest Columns Coverage DelayEstimate Episode Evaluation Forecast Identified Learned
LogJudgement LogReport LogReport.of ModelReport Monomials Neurons NoiseEstimate PairedDifference
ParametricQP QPSolution Reduction Round ShardSums ShardSums.add
Simulation Trial Trial.beats Spectrum Step CompiledStep
BatchMPC Message Rehearsal ServedStep ServingReport Parameters.with_more Tube
EndModel PilotController PilotStep Piloted RewardModel
Suite Judgement Tried Tuned Range Range.suggested
Finding Findings Findings.named InputShape Rate RewardLaw Threshold
"""
# The checks themselves.
CHECKS = """
bounds_array finite_array positive_float positive_int read_only real_array
"""
# They do in every step, or with every row, what their callers have checked.
KERNELS = """
Accumulator Accumulator.absorb Accumulator.add Accumulator.merged
RFactor RFactor.merged RFactor.of
RFactor.solver RidgeSolver RidgeSolver.solve components runge_kutta stacked
Coordinates.along Coordinates.bounds Coordinates.check_circles Coordinates.names Coordinates.state
Coordinates.wrap Coordinates.wrapped_difference
Corrections.applied Corrections.require_plain Corrections.stable
LiftedModel.lift LiftedModel.require_plain_inputs LiftedModel.rolled_out LiftedModel.sensitivities
Signals.lifted_inputs Signals.of Signals.runs
compiled_roll_out lifted linear_response triangular
constant_columns describe_features rebuild_features redrawn seed_names spread
ODEEnv.checked_reset ODEEnv.place
Lines Lines.newest Lines.send ServingReport.add StepLog.write
EndModel.fit PilotController.act PilotController.planned RewardModel.__call__ RewardModel.fit
"""
# Methods by their names: a subclass has them, and what calls them has checked.
CALLED_BACK = """
advance cost draw leaves limit next_reference outputs rates sample_reference sample_state violations
attached compiled_form derivatives fit_to_states values
"""
# It takes seconds; tests/autopilot give it what is wrong.
SLOW = """
Autopilot.learn
"""
# Protocols and bases, which a user's class follows.
BASES = """
Controller.act Signal.sample ODEEnv ODEVectorEnv
"""
NOT_CALLED = {
    *MADE_BY_THE_PACKAGE.split(),
    *CHECKS.split(),
    *KERNELS.split(),
    *BASES.split(),
    *SLOW.split(),
}
NOT_CALLED_METHODS = set(CALLED_BACK.split())
