"""Distributed training (DDP): this process's rank, and sums over all processes."""

import os
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from torch import Tensor

__all__ = ["batch_total", "over_processes", "rank", "started_outside", "world_size"]


def world_size() -> int:
    """Return the number of processes that torchrun or SLURM started for this run; 1 without them."""
    # SLURM_NTASKS would be the number of tasks in the allocation, not the number that srun started.
    return int(os.environ.get("WORLD_SIZE") or os.environ.get("SLURM_STEP_NUM_TASKS") or 1)


def rank() -> int:
    """Return the index of this process among them, from 0."""
    return int(os.environ.get("RANK") or os.environ.get("SLURM_PROCID") or 0)


def started_outside() -> bool:
    """Return whether torchrun, or SLURM with several tasks, started this process."""
    return "TORCHELASTIC_RUN_ID" in os.environ or world_size() > 1


def batch_total(values: "Tensor", dim: int) -> "tuple[Tensor, int]":
    """Return the sum over a batch that may be split over processes, and the size of the batch; without gradients.

    Arguments:
        values: values of this process's part.
        dim: dimension of the batch, which is kept with size 1.
    """
    return over_processes(values.detach().sum(dim, keepdim=True), values.shape[dim])


def over_processes(total: "Tensor", count: int) -> "tuple[Tensor, int]":
    """Add up a sum and the number of its terms over all processes; return them unchanged if there is only one."""
    import torch
    from torch import distributed as dist

    if dist.is_available() and dist.is_initialized():
        counted = torch.tensor(count, device=total.device)
        for part in (total, counted):
            dist.all_reduce(part)
        count = int(counted)
    return total, count
