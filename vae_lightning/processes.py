"""A run on several devices: a process for each, started by torch's elastic agent, by torchrun or by SLURM."""

import logging
import os
import sys
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from hydra.core.hydra_config import HydraConfig
from hydra.core.utils import configure_log
from omegaconf import DictConfig, OmegaConf

from vae_lightning.checks import InputError
from vae_lightning.run_directory import cores

if TYPE_CHECKING:
    from torch import Tensor

__all__ = ["batch_total", "check_processes", "launch", "local_devices", "rank", "started_outside", "world_size"]

log = logging.getLogger(__name__)

# Failures that are told in one line, whichever process they happen in.
_EXPECTED = (InputError, FloatingPointError, OSError)


def world_size() -> int:
    """How many processes torchrun or SLURM started for this run; 1 without them."""
    # SLURM_NTASKS would be what an allocation has room for, and not what srun has started.
    return int(os.environ.get("WORLD_SIZE") or os.environ.get("SLURM_STEP_NUM_TASKS") or 1)


def rank() -> int:
    """Which of them this one is, from 0."""
    return int(os.environ.get("RANK") or os.environ.get("SLURM_PROCID") or 0)


def started_outside() -> bool:
    """Whether this process is one of a run's several already, or all of it."""
    return "TORCHELASTIC_RUN_ID" in os.environ or world_size() > 1


def local_devices(trainer: Mapping[str, Any]) -> int:
    """How many devices of this machine the Trainer's configuration asks for."""
    devices = trainer.get("devices", 1)
    if isinstance(devices, list):
        return len(devices)
    if devices in ("auto", -1):
        import torch

        return 1 if trainer.get("accelerator") == "cpu" else max(1, torch.cuda.device_count())
    return int(devices)


def check_processes(config: Mapping[str, Any]) -> None:
    """Refuse devices that the processes or the batches are not enough for.

    Raises:
        InputError: naming the key.
    """
    trainer = config["trainer"]
    wanted = local_devices(trainer) * trainer.get("num_nodes", 1)
    if started_outside() and wanted != world_size():
        raise InputError(
            f"trainer.devices={trainer['devices']}: times trainer.num_nodes must be {world_size()}, the number of "
            "processes that torchrun or SLURM has started"
        )
    if not started_outside() and trainer.get("num_nodes", 1) > 1:
        raise InputError(
            f"trainer.num_nodes={trainer['num_nodes']}: must be 1, unless torchrun or SLURM starts the run"
        )
    if wanted > config["data"].get("batch_size", wanted):
        raise InputError(
            f"data.batch_size={config['data']['batch_size']}: must be at least the number of devices, {wanted}, for "
            "they share each batch"
        )


def launch(config: Mapping[str, Any]) -> dict[str, float]:
    """Train in fresh processes, one a device of this machine; when one fails the others are ended.

    Returns:
        What the first process returns.

    Raises:
        InputError, FloatingPointError, OSError: what a process raised.
        RuntimeError: for any other failure of a process.
    """
    from torch.distributed.elastic.multiprocessing.api import SignalException
    from torch.distributed.elastic.multiprocessing.errors import ChildFailedError
    from torch.distributed.launcher.api import LaunchConfig, elastic_launch

    from vae_lightning.interruption import Interrupted

    count = local_devices(config["trainer"])
    for name in ("torch.distributed.elastic", "torch.multiprocessing.spawn"):
        logging.getLogger(name).setLevel(logging.CRITICAL)  # they tell of failures at length
    settings = LaunchConfig(
        min_nodes=1,
        max_nodes=1,
        nproc_per_node=count,
        run_id=str(os.getpid()),
        rdzv_backend="c10d",
        rdzv_endpoint="localhost:0",
        max_restarts=0,
    )
    hydra = HydraConfig.instance().cfg
    try:
        metrics: dict[str, float] = elastic_launch(settings, _run)(
            OmegaConf.create(dict(config)), hydra, max(1, cores() // count)
        )[0]
    except SignalException as error:
        raise Interrupted(error.sigval) from None
    except ChildFailedError as error:
        failed, failure = error.get_first_failure()
        # What the process raised, as {"message": "ValueError: ...", "extraInfo": ...}; of a killed one a text.
        message = str(failure.message["message"] if isinstance(failure.message, dict) else failure.message)
        kind, _, text = message.partition(": ")
        for expected in _EXPECTED:
            if kind == expected.__name__:
                raise expected(text) from None
        raise RuntimeError(f"process {failed} of {count} failed: {message}") from None
    return metrics


def _run(cfg: DictConfig, hydra: DictConfig | None, threads: int) -> dict[str, float]:
    import torch

    from vae_lightning.train import train

    if "OMP_NUM_THREADS" not in os.environ and cfg.trainer.accelerator == "cpu":
        torch.set_num_threads(threads)
    if hydra is not None:
        HydraConfig.instance().set_config(hydra)
        configure_log(hydra.hydra.job_logging)
    try:
        return train(cfg)
    except Exception as error:
        if not isinstance(error, _EXPECTED):
            log.exception("process %d failed", rank())
        sys.stderr = open(os.devnull, "w")  # noqa: SIM115  # the parent tells of it
        raise


def batch_total(values: "Tensor", dim: int) -> "tuple[Tensor, int]":
    """The sum over a batch of which each process may have a part, and the size of the batch; no gradient goes through.

    Arguments:
        values: this process's.
        dim: the batch's dimension, which is kept with size 1.
    """
    return over_processes(values.detach().sum(dim, keepdim=True), values.shape[dim])


def over_processes(total: "Tensor", count: int) -> "tuple[Tensor, int]":
    """A sum and the number of its terms, added up over all processes; on one device as they are."""
    import torch
    from torch import distributed as dist

    if dist.is_available() and dist.is_initialized():
        counted = torch.tensor(count, device=total.device)
        for part in (total, counted):
            dist.all_reduce(part)
        count = int(counted)
    return total, count
