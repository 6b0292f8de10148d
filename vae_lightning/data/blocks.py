"""Whether training batches may come in blocks of several optimiser steps."""

import logging
from weakref import WeakKeyDictionary

from lightning.pytorch import Callback, LightningModule, Trainer
from lightning.pytorch.callbacks import (
    BaseFinetuning,
    BatchSizeFinder,
    GradientAccumulationScheduler,
    LearningRateFinder,
    LearningRateMonitor,
    ModelCheckpoint,
    ProgressBar,
    StochasticWeightAveraging,
)
from lightning.pytorch.profilers import PyTorchProfiler

from vae_lightning.config.errors import InputError
from vae_lightning.distributed import rank
from vae_lightning.models.trainable import Trainable

__all__ = ["Blocks", "looks_between_steps"]

log = logging.getLogger(__name__)

# The fewest and the most batches in a block, where the number is free, and the bytes that its images should not exceed:
# about half of a processor's last cache.
FEWEST, MOST, BYTES = 16, 64, 16_000_000

# Values of the Trainer's arguments that leave the steps of an epoch alone. All others count batches, or change what a
# step does.
_WITHOUT_EFFECT = {
    "accumulate_grad_batches": (1,),
    "gradient_clip_val": (None, 0),
    "fast_dev_run": (False, 0),
    "overfit_batches": (0,),
    "limit_train_batches": (1.0,),
    "val_check_interval": (1.0,),
}

# Hooks that Lightning calls once per batch, or in which a step may be changed.
_STEP_HOOKS = (
    *("on_train_batch_start", "on_train_batch_end", "on_before_zero_grad"),
    *("on_before_backward", "on_after_backward", "on_before_optimizer_step"),
)
_STEP_METHODS = (
    *("training_step", "configure_optimizers", "optimizer_step", "optimizer_zero_grad", "lr_scheduler_step"),
    *("configure_gradient_clipping", "backward"),
)

# Callbacks that change how steps are taken, in hooks of an epoch.
_CHANGE_STEPS = (
    BaseFinetuning,
    BatchSizeFinder,
    GradientAccumulationScheduler,
    LearningRateFinder,
    StochasticWeightAveraging,
)


def looks_between_steps(trainer: Trainer, model: LightningModule) -> str | None:
    """Return what needs a batch per optimiser step, in words; None if nothing does."""
    if not isinstance(model, Trainable):
        return f"the model is a {type(model).__name__}"
    for name in (*_STEP_HOOKS, *_STEP_METHODS):
        owner = next(each for each in type(model).__mro__ if name in vars(each))
        if not owner.__module__.startswith(("vae_lightning.models.", "lightning.")):
            return f"{owner.__name__} overrides {name}"
    for name, harmless in _WITHOUT_EFFECT.items():
        value = getattr(trainer, name)
        if value not in harmless or (name.startswith("limit") and type(value) is int):
            return f"trainer.{name}={value}"
    if trainer.check_val_every_n_epoch is None:
        return "trainer.check_val_every_n_epoch=null"
    if isinstance(trainer.profiler, PyTorchProfiler):  # type: ignore[attr-defined]
        return "the profiler counts steps"
    found = next((callback for callback in trainer.callbacks if _callback_looks(callback)), None)  # type: ignore[attr-defined]
    return None if found is None else f"{type(found).__name__} looks at every step"


def _callback_looks(callback: Callback) -> bool:
    if isinstance(callback, _CHANGE_STEPS):
        return True
    if type(callback) is ModelCheckpoint:
        return bool(callback._every_n_train_steps or callback._train_time_interval)
    if type(callback) is LearningRateMonitor:
        return callback.logging_interval != "epoch"
    # A progress bar shows whole batches, of whatever size. A custom callback may declare that it does likewise.
    if isinstance(callback, ProgressBar) or getattr(callback, "works_in_blocks", False):
        return False
    return any(
        hook in vars(callback) or getattr(type(callback), hook) is not getattr(Callback, hook) for hook in _STEP_HOOKS
    )


class Blocks:
    """The number of optimiser steps for which a training batch has images.

    Arguments:
        size: the number asked for; with ``"auto"`` it is 16 to 64, depending on the size of a batch, or 1 if something
            looks between steps.

    Attributes:
        without_trainer: the number in a custom training loop.
    """

    def __init__(self, size: int | str) -> None:
        self.size = size
        self.without_trainer = 1 if size == "auto" else int(size)
        # Decided once per Trainer, because Lightning's finders set callbacks aside while they run.
        self._decided: WeakKeyDictionary[Trainer, int] = WeakKeyDictionary()

    def steps(self, trainer: Trainer, model: LightningModule, batch_bytes: int) -> int:
        """Return the number of steps in a batch or block of a Trainer.

        Arguments:
            trainer: the Trainer.
            model: what it fits.
            batch_bytes: bytes of the images of a step.

        Raises:
            InputError: if the number asked for is above 1 and something looks between steps.
        """
        if trainer not in self._decided:
            reason = None if self.size == 1 else looks_between_steps(trainer, model)
            if reason is None:
                free = min(max(BYTES // batch_bytes, FEWEST), MOST)
                self._decided[trainer] = free if self.size == "auto" else int(self.size)
            elif self.size == "auto":
                if rank() == 0:
                    log.info("training takes one step per batch, because %s", reason)
                self._decided[trainer] = 1
            else:
                raise InputError(f"data.block_size={self.size}: must be auto or 1, because {reason}")
        return self._decided[trainer]
