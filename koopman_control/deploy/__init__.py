"""Controllers where they are used: a loop in real time; native calls; C99 for a robot."""

import lazy_loader

# Names and where they live: `__init__.pyi`. Nothing is imported before it is used.
__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
