"""Tasks: environments with everything needed to learn and judge a controller for them."""

import lazy_loader

# What there is stands in __init__.pyi; a name is imported when it is first asked for.
__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
