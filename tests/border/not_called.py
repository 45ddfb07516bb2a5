"""Public names that nobody calls with arguments of their own, and why."""

MADE_BY_THE_PACKAGE = """
Backtest Coverage DelayEstimate Episode Evaluation Forecast Learned LogReport ModelReport
PairedDifference ParametricQP QPSolution Reduction Round Spectrum Step TimeTable Trained
BatchMPC Parameters Tube
"""
RAISED_OR_IMPLEMENTED = """
CollectionFailed CollectionInterrupted FileFormatError FileNotWritableError FolderNotWritableError
NoMeaning Controller Signal FeatureMap
"""
# They check for everybody else, or carry out what has been checked.
CHECKS_AND_KERNELS = """
Accumulator RFactor RidgeSolver components runge_kutta stacked ODEEnv ODEVectorEnv
bounds_array check_contents ensure_writable_folder finite_array list_contents load_npz
optional_package positive_float positive_int read_only real_array refusing save_npz
write_atomically write_bytes_atomically write_text_atomically package_versions
"""
# The command line checks what it takes before it calls these.
BEHIND_THE_COMMAND_LINE = """
Condition Key Plan RunFile Subject Variation missing open_runs run_benchmark write_results
"""
NOT_CALLED = {
    *MADE_BY_THE_PACKAGE.split(),
    *RAISED_OR_IMPLEMENTED.split(),
    *CHECKS_AND_KERNELS.split(),
    *BEHIND_THE_COMMAND_LINE.split(),
}
