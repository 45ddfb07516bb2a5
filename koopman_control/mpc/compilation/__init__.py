"""From a stated problem to the small quadratic program that is solved at every step."""
