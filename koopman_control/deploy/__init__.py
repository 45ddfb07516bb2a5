"""Controllers where they are used: in a loop in real time, as native calls, and as C99."""

import lazy_loader

# Names and where they live: `__init__.pyi`. Nothing is imported before it is used.
__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
