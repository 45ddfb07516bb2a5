"""Real-time convex model-predictive control learned from data, without gradients.

The rooms, in the order the data walks through them: `trajectories`, `features`, `identification`,
`forecasting`, `mpc`, `evaluation`, `tasks`.
"""

import lazy_loader

# Names and where they live: `__init__.pyi`. Nothing is imported before it is used.
__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)

__version__ = "0.1.0"
