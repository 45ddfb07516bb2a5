"""What a fitted model is worth: eigenvalues, residuals, uncertainty, a verdict in words."""
