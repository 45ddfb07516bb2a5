"""What a fit learns from: snapshots of trajectories, and how late their inputs act."""
