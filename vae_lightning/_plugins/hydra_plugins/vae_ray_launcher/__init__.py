"""Hydra's Ray launcher, with jobs that start in the command's folder and fail independently."""

import os
from collections.abc import Sequence
from contextlib import suppress
from typing import Any

from hydra.core.config_store import ConfigStore
from hydra.core.singleton import Singleton
from hydra.core.utils import JobReturn
from omegaconf import OmegaConf

__all__: list[str] = []

with suppress(ImportError):  # without the extra there is no such launcher
    from hydra_plugins.hydra_ray_launcher import _config, ray_launcher

    # The preset is conf/hydra/launcher/ray.yaml, where each key is explained.
    assert _config
    ConfigStore.instance().repo["hydra"]["launcher"].pop("ray.yaml", None)

    class RayLauncher(ray_launcher.RayLauncher):
        """Runs jobs as Ray tasks, queued for the CPUs and GPUs that each requests.

        It differs from Hydra's launcher in two ways: a job starts in the command's folder, so that relative paths mean
        the same on every node, and when a worker dies, the other jobs continue.
        """

        @property
        def jobs_at_a_time(self) -> int:
            """The number of jobs for which the cluster has cores and GPUs."""
            import ray
            from hydra_plugins.hydra_ray_launcher._launcher_util import start_ray

            start_ray(self.ray_cfg.init)
            found, each = ray.cluster_resources(), self.ray_cfg.remote
            wanted = {"CPU": each.num_cpus or 0, "GPU": each.num_gpus or 0}
            return max(1, min((int(found.get(name, 0) // count) for name, count in wanted.items() if count), default=1))

        def launch(self, job_overrides: Sequence[Sequence[str]], initial_job_idx: int) -> Sequence[JobReturn]:
            import ray
            from hydra_plugins.hydra_ray_launcher._launcher_util import start_ray

            from vae_lightning.sweeps.composing import load_job
            from vae_lightning.sweeps.jobs import lost_job

            assert self.config is not None
            assert self.hydra_context is not None
            loader = self.hydra_context.config_loader
            start_ray(self.ray_cfg.init)
            options = OmegaConf.to_container(self.ray_cfg.remote)
            assert isinstance(options, dict)
            run = ray.remote(**{str(key): value for key, value in options.items()})(_run)
            jobs = []
            for number, overrides in enumerate(job_overrides, initial_job_idx):
                cfg = load_job(loader, self.config, overrides, number)
                jobs.append(run.remote(os.getcwd(), self.hydra_context, cfg, self.task_function, Singleton.get_state()))
            returned = []
            for number, (overrides, job) in enumerate(zip(job_overrides, jobs, strict=True), initial_job_idx):
                try:
                    returned.append(ray.get(job))
                except ray.exceptions.RayError as error:
                    returned.append(lost_job(loader, self.config, overrides, number, error))
            return returned


def _run(directory: str, *arguments: Any) -> JobReturn:
    from hydra_plugins.hydra_ray_launcher._launcher_util import _run_job

    os.chdir(directory)
    return _run_job(*arguments)
