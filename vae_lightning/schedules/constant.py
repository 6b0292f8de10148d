"""A constant factor."""

from vae_lightning.schedules.schedule import Schedule

__all__ = ["Constant"]


class Constant(Schedule):
    """A factor of 1 at every step."""

    def __call__(self, step: int) -> float:
        return 1.0
