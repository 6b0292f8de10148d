"""Runs on several devices, with one process per device."""

import logging
import os
import sys
from collections.abc import Callable, Mapping
from typing import Any

from hydra.core.hydra_config import HydraConfig
from hydra.core.utils import configure_log
from omegaconf import DictConfig, OmegaConf

from vae_lightning.config.errors import InputError
from vae_lightning.distributed import rank, started_outside, world_size
from vae_lightning.runs.environment import cores
from vae_lightning.signals import Interrupted

__all__ = ["check_processes", "launch", "local_devices"]

log = logging.getLogger(__name__)

Train = Callable[[DictConfig], dict[str, float]]

# Failures that are reported in one line, whichever process they occur in.
_EXPECTED = (InputError, FloatingPointError, OSError)


def local_devices(trainer: Mapping[str, Any]) -> int:
    """Return the number of this machine's devices that the Trainer's configuration requests."""
    devices = trainer.get("devices", 1)
    if isinstance(devices, list):
        return len(devices)
    if devices in ("auto", -1):
        import torch

        return 1 if trainer.get("accelerator") == "cpu" else max(1, torch.cuda.device_count())
    return int(devices)


def check_processes(config: Mapping[str, Any]) -> None:
    """Refuse a number of devices that the processes do not match or that exceeds the batch size.

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
            f"data.batch_size={config['data']['batch_size']}: must be at least the number of devices, {wanted}, "
            "because they share each batch"
        )


def launch(train: Train, config: Mapping[str, Any]) -> dict[str, float]:
    """Train in new processes, one per device of this machine; if one fails, end the others.

    Arguments:
        train: the function that each process calls with the configuration.
        config: the configuration, every value resolved.

    Returns:
        The result of the first process.

    Raises:
        InputError, FloatingPointError, OSError: if a process raised this error.
        RuntimeError: if a process failed in any other way.
    """
    from torch.distributed.elastic.multiprocessing.api import SignalException
    from torch.distributed.elastic.multiprocessing.errors import ChildFailedError
    from torch.distributed.launcher.api import LaunchConfig, elastic_launch

    count = local_devices(config["trainer"])
    elastic = "torch.distributed.elastic"
    for name in (elastic, f"{elastic}.agent.server.api", "torch.multiprocessing.spawn"):
        logging.getLogger(name).setLevel(logging.CRITICAL)  # they log many lines for each failure
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
            train, OmegaConf.create(dict(config)), hydra, max(1, cores() // count)
        )[0]
    except SignalException as error:
        raise Interrupted(error.sigval) from None
    except ChildFailedError as error:
        failed, failure = error.get_first_failure()
        # The process's error, as {"message": "ValueError: ...", "extraInfo": ...}; a text if the process was killed.
        message = str(failure.message["message"] if isinstance(failure.message, dict) else failure.message)
        kind, _, text = message.partition(": ")
        for expected in _EXPECTED:
            if kind == expected.__name__:
                raise expected(text) from None
        raise RuntimeError(f"process {failed} of {count} failed: {message}") from None
    return metrics


def _run(train: Train, cfg: DictConfig, hydra: DictConfig | None, threads: int) -> dict[str, float]:
    import torch

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
        sys.stderr = open(os.devnull, "w", encoding="utf-8")  # noqa: SIM115  # the parent reports the error
        raise
