"""vae-train: train one run, or a sweep's jobs."""

import logging
import os
import shlex
from collections.abc import Callable
from pathlib import Path

from hydra.core.hydra_config import HydraConfig
from hydra.types import RunMode
from omegaconf import DictConfig, OmegaConf

from vae_lightning.commands.command import run_command
from vae_lightning.commands.scripts import started
from vae_lightning.config.errors import InputError
from vae_lightning.distributed import started_outside, world_size
from vae_lightning.runs.checking import check_composed
from vae_lightning.runs.directory import CONFIG
from vae_lightning.runs.extending import extend
from vae_lightning.runs.stored_config import config_to_resume
from vae_lightning.runs.training import train
from vae_lightning.signals import resumes_by
from vae_lightning.sweeps import job_name  # noqa: F401  # registers its resolver
from vae_lightning.sweeps.jobs import run_job

__all__ = ["main"]

log = logging.getLogger(__name__)

MORE_EPOCHS = "trainer.max_epochs="


def main() -> None:
    """Run the console script."""
    with started("vae-train"):
        run_command(_task, "train")


def _task(cfg: DictConfig) -> float | None:
    hydra = HydraConfig.get()
    check_composed(cfg, hydra)
    if hydra.mode == RunMode.MULTIRUN:
        return run_job(cfg, train)
    folder_given = any(override.startswith("hydra.run.dir=") for override in hydra.overrides.hydra)
    if world_size() > 1 and not folder_given:
        raise InputError("hydra.run.dir: must be given when several processes are started, because they share it")
    grids = [hydra.sweeper.get("params") or {}, *(hydra.sweeper.get("grids") or [])]
    if keys := dict.fromkeys(key for grid in grids for key in grid):
        log.warning("one run, not a sweep over %s, which needs -m", ", ".join(keys))
    run = _stored_run(cfg) if cfg.resume is not None else cfg
    resumes_by(_outcome(Path(str(run.run_dir)), restart=run.restart))
    return train(run).get(cfg.sweep.objective)


def _outcome(run: Path, restart: bool) -> Callable[[], str]:
    """Return what an interrupted run says at its end."""

    def written() -> int | None:
        return (run / CONFIG).stat().st_mtime_ns if (run / CONFIG).exists() else None

    earlier = written() if restart else None

    def outcome() -> str:
        if written() == earlier:
            return "nothing was written"
        if started_outside():
            return "the same command resumes after the last complete epoch"
        command = shlex.join(["vae-train", f"resume={os.path.relpath(run)}"])
        return f"{command} resumes after the last complete epoch"

    return outcome


def _stored_run(cfg: DictConfig) -> DictConfig:
    """Return the stored configuration of the run in ``cfg.resume``, with more epochs if they are asked for.

    Raises:
        InputError: if another key than ``trainer.max_epochs`` is overridden, or
            :func:`vae_lightning.runs.stored_config.config_to_resume` or :func:`vae_lightning.runs.extending.extend`
            refuses the folder.
    """
    given = [override for override in HydraConfig.get().overrides.task if not override.startswith("resume=")]
    others = [override for override in given if not override.startswith(MORE_EPOCHS)]
    if others:
        raise InputError(
            f"resume={cfg.resume}: must be given without {others[0]}, because the run has its own configuration; "
            f"only {MORE_EPOCHS} may be raised"
        )
    run = Path(cfg.resume)
    config = config_to_resume(run)
    return OmegaConf.create(extend(run, config, cfg.trainer.max_epochs) if given else config)


if __name__ == "__main__":
    main()
