"""Callbacks: curves, early stopping, figures, gradients, the linear probe, progress, speed and interruption."""

import lazy_loader

# Names are imported on first use, so that the commands answer --help and refuse bad input before torch is loaded.
__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
