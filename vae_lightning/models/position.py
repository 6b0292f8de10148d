"""The position of logged values."""

from lightning.pytorch import LightningModule

__all__ = ["log_position"]


def log_position(module: LightningModule) -> None:
    """Log over optimiser steps; by default Lightning counts calls of training_step and adds a curve of the epoch."""
    module.log("step", float(module.global_step))
