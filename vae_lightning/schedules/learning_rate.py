"""A schedule of the learning rate as torch and Lightning expect it."""

from typing import Any

from torch.optim import Optimizer
from torch.optim.lr_scheduler import LRScheduler

from vae_lightning.schedules.schedule import Schedule

__all__ = ["CONSTANT_RATE", "ScheduledLR"]

# A key of the parameter groups on which the schedule does not act.
CONSTANT_RATE = "constant_rate"


class ScheduledLR(LRScheduler):
    """The learning rate of each optimiser step: its initial value times the schedule's factor.

    Arguments:
        optimizer: its learning rates are the initial values.
        schedule: the factor for each step.
    """

    def __init__(self, optimizer: Optimizer, schedule: Schedule) -> None:
        self.schedule = schedule
        super().__init__(optimizer)

    def get_lr(self) -> list[Any]:
        groups = zip(self.base_lrs, self.optimizer.param_groups, strict=True)
        return [lr if CONSTANT_RATE in group else self.schedule(self.last_epoch) * lr for lr, group in groups]

    def state_dict(self) -> dict[str, Any]:
        return {"last_epoch": self.last_epoch}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        self.last_epoch = state_dict["last_epoch"]
        for group, lr in zip(self.optimizer.param_groups, self.get_lr(), strict=True):
            group["lr"] = lr
