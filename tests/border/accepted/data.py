"""Collecting and logs: see `allowed`."""

LINES = """
from_minari n_episodes: none
from_table time: none
open_store time: none
TrajectoryStore shards: empty
TrajectoryStore.__getitem__ i: zero minus
open_store dt: none fraction
open_store run: none
open_store missing: texts empty
read_columns progress: none
read_columns names: empty
OrnsteinUhlenbeck correlation_steps: fraction
OrnsteinUhlenbeck scale: fraction
PRBS.sample n_steps: zero
adapted max_episode_steps: none
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
Trajectory missing: true
check_trajectories missing: true
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
from_table missing: texts empty
estimate_input_delay max_delay: zero
estimate_input_delay memory: none zero
with_input_delay delay: zero minus
save_trajectories path: text
"""
OTHER_NAMES = """
read_columns path: file
open_store path: file
open_store observations: column
open_store actions: column
open_store time: column
open_store run: column
read_columns names: column
split_at_gaps time: times
load_trajectories path: file
Trajectory observations: observation_bounds
Trajectory actions: action_bounds
save_trajectories trajectories: data
from_table actions: column
from_table time: column
from_table run: column
"""
