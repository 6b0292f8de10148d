"""Filters for warnings and log lines of Lightning."""

import logging
import warnings

__all__ = ["filter_warnings"]


def filter_warnings() -> None:
    """Silence the messages that Lightning repeats in every run and that users cannot act on."""
    for name in ("lightning.pytorch", "lightning.fabric"):
        logging.getLogger(name).setLevel(logging.WARNING)
    warnings.filterwarnings("ignore", ".*does not have many workers.*")  # the images are in memory
    warnings.filterwarnings("ignore", ".*exists and is not empty.*")  # the run directory, where this is normal
    warnings.filterwarnings("ignore", ".*LeafSpec.*")  # a matter between Lightning and torch
    warnings.filterwarnings("ignore", "Total length of `list` across ranks is zero.*")  # data.val_size=0
    warnings.filterwarnings("ignore", ".*sync_dist=True.*")  # all processes have the same values
    warnings.filterwarnings("ignore", ".*is smaller than the logging interval.*")  # curves have one point per epoch
    warnings.filterwarnings("ignore", ".*could not find the monitored key.*")  # in an epoch without validation
    warnings.filterwarnings("ignore", ".*gradient layout contract.*")  # a stack's gradients are columns of one matrix
