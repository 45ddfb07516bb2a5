"""Deployment: whole controllers as C99 where Python cannot run, as native calls where it can."""

import lazy_loader

# Names and where they live: `__init__.pyi`. Nothing is imported before it is used.
__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
