"""Callbacks: curves, figures, gradient statistics, the linear probe, progress, speed and interruption."""

import lazy_loader

# A name is imported when it is first used: the commands answer --help and bad input before torch is loaded.
__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
