"""From settings and data to a model: features, regularisation, saturation, averaging."""
