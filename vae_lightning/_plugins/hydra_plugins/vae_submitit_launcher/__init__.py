"""Hydra's submitit launchers, with jobs that use only their own cores and fail independently."""

import os
import shlex
import time
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any

from hydra.core.config_store import ConfigStore
from hydra.core.singleton import Singleton
from hydra.core.utils import JobReturn
from omegaconf import OmegaConf

__all__: list[str] = []

POLL_SECONDS = 0.2

with suppress(ImportError):  # without the extra there are no such launchers
    from hydra_plugins.hydra_submitit_launcher import submitit_launcher
    from hydra_plugins.hydra_submitit_launcher.config import BaseQueueConf

    # The presets are conf/hydra/launcher/submitit_*.yaml, where each key is explained.
    for preset in ("submitit_local", "submitit_slurm"):
        ConfigStore.instance().repo["hydra"]["launcher"].pop(f"{preset}.yaml", None)

    class _Launcher(submitit_launcher.BaseSubmititLauncher):  # type: ignore[misc]  # untyped
        """Hydra's launcher, but a job uses only the cores that it requests, and a dead worker ends only its own job."""

        @property
        def jobs_at_a_time(self) -> int:
            """The number of jobs in the queue at a time."""
            return int(self.params["array_parallelism"])

        def __call__(self, *arguments: Any, **named: Any) -> JobReturn:
            # This runs in the worker, before any numerical library is imported.
            os.environ.setdefault("OMP_NUM_THREADS", str(self.params["cpus_per_task"]))
            job: JobReturn = super().__call__(*arguments, **named)
            return job

        def _parameters(self) -> dict[str, Any]:
            return dict(self.params)

        def launch(self, job_overrides: Sequence[Sequence[str]], initial_job_idx: int) -> Sequence[JobReturn]:
            import submitit
            from submitit.core.utils import FailedJobError, UncompletedJobError

            from vae_lightning.sweeps.jobs import lost_job

            assert self.config is not None
            assert self.hydra_context is not None
            parameters = self._parameters()
            folder, at_a_time = parameters.pop("submitit_folder"), parameters.pop("array_parallelism")
            common = OmegaConf.structured(BaseQueueConf)
            executor = submitit.AutoExecutor(folder, cluster=self._EXECUTOR)
            executor.update_parameters(
                **{key if key in common else f"{self._EXECUTOR}_{key}": value for key, value in parameters.items()}
            )
            jobs: list[submitit.Job[JobReturn]] = []
            for number, overrides in enumerate(job_overrides, initial_job_idx):
                while sum(not job.done() for job in jobs) >= at_a_time:
                    time.sleep(POLL_SECONDS)
                jobs.append(
                    executor.submit(
                        self, list(overrides), "hydra.sweep.dir", number, str(number), Singleton.get_state()
                    )
                )
            returned = []
            for number, (overrides, job) in enumerate(zip(job_overrides, jobs, strict=True), initial_job_idx):
                try:
                    returned.append(job.result())
                except (FailedJobError, UncompletedJobError) as error:
                    loader = self.hydra_context.config_loader
                    returned.append(lost_job(loader, self.config, overrides, number, error))
            return returned

    class LocalLauncher(_Launcher):
        """Runs jobs as processes on this machine."""

        _EXECUTOR = "local"

        def _parameters(self) -> dict[str, Any]:
            # On Ctrl-C, the process that watches over a job writes a traceback where it would hide the command's last
            # line.
            log = (Path(self.params["submitit_folder"]).parent / "watchers.log").absolute()
            commands = [f"mkdir -p {shlex.quote(str(log.parent))}", f"exec 2>> {shlex.quote(str(log))}"]
            return {**self.params, "setup": commands}

    class SlurmLauncher(_Launcher):
        """Submits jobs to SLURM's queue."""

        _EXECUTOR = "slurm"
