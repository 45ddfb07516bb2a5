"""Least squares on numbers alone: R factors of any number of rows, and what solves them."""
