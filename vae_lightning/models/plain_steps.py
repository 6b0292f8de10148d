"""Whether a step needs nothing of the Trainer's."""

from lightning.pytorch import Trainer
from lightning.pytorch.profilers import PassThroughProfiler
from lightning.pytorch.strategies import SingleDeviceStrategy

__all__ = ["steps_are_plain"]


def steps_are_plain(trainer: Trainer) -> bool:
    """Return whether the backward pass and the optimiser may be called directly in a block of steps.

    With a single process, no scaled losses and no profiler, Lightning's own calls do nothing else, but look for
    callbacks several times per step, which takes a fifth of a step's time. Blocks are refused where a callback is there
    (:func:`vae_lightning.data.blocks.looks_between_steps`).
    """
    strategy, precision = trainer.strategy, trainer.precision_plugin
    return (
        type(strategy) is SingleDeviceStrategy
        and type(precision).__module__.startswith("lightning.")
        and getattr(precision, "scaler", None) is None
        and type(trainer.profiler) is PassThroughProfiler  # type: ignore[attr-defined]
    )
