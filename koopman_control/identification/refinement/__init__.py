"""A fitted model made better: for a horizon, under noise, stable, smaller, on-line."""
