"""Real-time convex model-predictive control learned from data, without gradients."""

__version__ = "0.1.0"
