"""Group the jobs of a sweep into stacks, and train a stack."""

import json
import logging
import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import pairwise
from pathlib import Path
from typing import Any

import torch
from lightning.pytorch import Callback
from omegaconf import DictConfig
from omegaconf.errors import OmegaConfBaseException

from vae_lightning.config.errors import InputError
from vae_lightning.config.resolving import resolved
from vae_lightning.config.targets import find_class
from vae_lightning.data.image_data_module import ImageDataModule
from vae_lightning.models.stackable import in_common
from vae_lightning.models.vae import VAE
from vae_lightning.runs.checking import check_config
from vae_lightning.runs.checkpoints import checkpoints
from vae_lightning.runs.directory import CONFIG, FIT, JOB, stored_metrics
from vae_lightning.runs.processes import local_devices
from vae_lightning.runs.stored_config import check_same, relocated
from vae_lightning.runs.trainers import stored_matmul_precision
from vae_lightning.sweeps.composing import composed_job
from vae_lightning.sweeps.epoch_end import EpochEnd
from vae_lightning.sweeps.jobs import STOPPED, job_description
from vae_lightning.sweeps.stacked_run import COMMON_CALLBACKS, OWN_CALLBACKS, StackedRun
from vae_lightning.sweeps.stacked_runs import train_stacked
from vae_lightning.whole_files import write_json

__all__ = ["StackedJob", "check_stackable", "resumable_epochs", "stacks", "train_stack"]

log = logging.getLogger(__name__)

MAX_MODELS_ON_CPU, MAX_MODELS_ON_GPU = 64, 256


@dataclass
class StackedJob:
    """A job that can be stacked.

    Attributes:
        place: the job's index in the launcher's list.
        config: the configuration, every value resolved.
        description: the content of ``job.json``.
        checkpoint: the checkpoint from which the job resumes; None to start from the beginning.
        epoch: the number of epochs after which it resumes.
    """

    place: int
    config: Mapping[str, Any]
    description: Mapping[str, Any]
    checkpoint: Path | None = None
    epoch: int = 0

    @property
    def directory(self) -> Path:
        return Path(self.config["run_dir"])


def stacks(composed: Sequence[DictConfig], max_stack: int | None) -> list[list[StackedJob]]:
    """Group the jobs of a sweep into stacks of at least two models; log why the other jobs run alone.

    The jobs of a stack have the same configuration, apart from the options that its models need not share, and have
    completed the same number of epochs. Stacks have about the same size. Complete jobs are in no stack.

    Arguments:
        composed: the configuration of each job, including the ``hydra`` node.
        max_stack: largest number of models in a stack; if None, it depends on the device.
    """
    groups: dict[str, list[StackedJob]] = {}
    for job in stackable(composed):
        groups.setdefault(in_one_stack(job), []).append(job)
    found = []
    for together in (jobs for group in groups.values() for jobs in at_the_same_epoch(group)):
        # Models with the same optimiser share its steps if they are adjacent.
        together.sort(key=lambda job: (json.dumps(job.config["optimizer"], sort_keys=True), job.place))
        count = math.ceil(len(together) / (max_stack or _max_models(together[0].config)))
        bounds = [round(number * len(together) / count) for number in range(count + 1)]
        found += [together[first:last] for first, last in pairwise(bounds)]
    for stack in found:
        if len(stack) == 1:
            log.info("%s runs alone, because no other job can share its stack", stack[0].directory.name)
    return [stack for stack in found if len(stack) > 1]


def train_stack(
    stack: Sequence[StackedJob], sweep: Path, epoch_end: EpochEnd | None = None
) -> list[Exception | None] | None:
    """Train the jobs of a stack, in the folder of their sweep.

    Arguments:
        stack: the jobs.
        sweep: the sweep's folder.
        epoch_end: as for :func:`vae_lightning.sweeps.stacked_runs.train_stacked`.

    Returns:
        The exception that ended each job, or None if the job is complete; None instead of the list if the jobs must run
        one by one.
    """
    if (sweep / STOPPED).exists():
        return None  # each job will log that it is not run
    for job in stack:
        write_json(job.directory / JOB, job.description)
    try:
        runs = [StackedRun(job.config, job.description["axes"], job.checkpoint) for job in stack]
        return train_stacked(runs, epoch_end)
    except InputError as error:
        log.warning("the jobs of this stack run one by one: %s", error)
        return None


def check_stackable(config: Mapping[str, Any]) -> None:
    """Refuse a configuration that would give different results in a stack.

    Raises:
        InputError: with the reason.
    """
    trainer = config["trainer"]
    if local_devices(trainer) > 1 or trainer.get("num_nodes", 1) > 1:
        raise InputError(f"trainer.devices={trainer['devices']}: must be 1 for a stack")
    if str(trainer.get("precision")) in ("16-mixed", "16"):
        raise InputError(
            f"trainer.precision={trainer['precision']}: must be another for a stack, because it scales the losses of "
            "all models by one factor"
        )
    for name in ("fast_dev_run", "overfit_batches"):  # Lightning replaces the batches
        if trainer.get(name):
            raise InputError(f"trainer.{name}={trainer[name]}: must be unset for a stack")
    find_class("data._target_", config["data"].get("_target_"), ImageDataModule)  # type: ignore[type-abstract]
    find_class("model._target_", config["model"].get("_target_"), VAE)
    for name, node in config["callbacks"].items():
        key = f"callbacks.{name}._target_"
        if node and find_class(key, node.get("_target_"), Callback) not in COMMON_CALLBACKS + OWN_CALLBACKS:
            raise InputError(f"{key}={node['_target_']}: must be a callback that is known to work in a stack")
        if (node or {}).get("every_n_steps") is not None:
            raise InputError(
                f"callbacks.{name}.every_n_steps={node['every_n_steps']}: must be null for a stack, whose models are "
                "apart only after epochs"
            )


def resumable_epochs(config: Mapping[str, Any], starts_over: bool = True) -> dict[int, Path | None]:
    """Return the checkpoints from which a run can resume, by their number of epochs; None stands for the beginning.

    Arguments:
        config: the run's configuration.
        starts_over: whether a run that has completed only one epoch may also start over, in case others of its stack
            have completed none.
    """
    directory = Path(config["run_dir"])
    found: dict[int, Path | None] = {}
    if (directory / CONFIG).exists() and not config["restart"]:
        for path, content in checkpoints(directory):
            found.setdefault(content["epoch"] + 1, path)
    return found if found and (min(found) > 1 or not starts_over) else {0: None, **found}


def stackable(composed: Sequence[DictConfig]) -> list[StackedJob]:
    """Return the jobs that are not complete and can be stacked; log why others cannot."""
    jobs = []
    for place, full in enumerate(composed):
        with composed_job(full) as cfg:
            try:
                config = resolved(cfg)
                check_config(config)
                job = StackedJob(place, config, job_description(cfg))
                check_same(job.directory, config)
                check_stackable(config)
            except (InputError, OmegaConfBaseException) as error:
                log.info("%s runs alone (%s)", cfg.run_dir, error)
            else:
                if config["restart"] or stored_metrics(job.directory) is None:
                    jobs.append(job)
    return jobs


def in_one_stack(job: StackedJob) -> str:
    """Return what the jobs of a stack must share, as text.

    It is most of the configuration, whether the fit has ended, and the precision of products before an interruption.
    """
    common = in_common(relocated(job.config, "."))
    common["model"] = in_common(common["model"])
    del common["run_dir"], common["logger"], common["data"]["seed"]
    ended = (job.directory / FIT).exists() and not job.config["restart"]
    resumes = any(job.directory.glob("checkpoints/*.ckpt")) and not job.config["restart"]
    precision = stored_matmul_precision(job.directory) if resumes else None
    return json.dumps([common, ended, precision], sort_keys=True)


def at_the_same_epoch(jobs: Sequence[StackedJob], starts_over: bool = True) -> Iterator[list[StackedJob]]:
    """Yield groups of jobs that resume at the same epoch; after a crash, some may have saved one epoch more."""
    found = [(job, resumable_epochs(job.config, starts_over)) for job in jobs]
    while found:
        epoch = min(max(epochs) for _, epochs in found)
        yield [replace(job, checkpoint=epochs[epoch], epoch=epoch) for job, epochs in found if epoch in epochs]
        found = [(job, epochs) for job, epochs in found if epoch not in epochs]


def _max_models(config: Mapping[str, Any]) -> int:
    accelerator = config["trainer"].get("accelerator", "auto")
    on_cpu = accelerator == "cpu" or (accelerator == "auto" and not torch.accelerator.is_available())
    return MAX_MODELS_ON_CPU if on_cpu else MAX_MODELS_ON_GPU
