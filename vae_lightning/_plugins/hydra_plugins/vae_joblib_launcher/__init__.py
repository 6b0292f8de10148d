"""Hydra's joblib launcher, which tells a search how many jobs it runs at a time."""

from contextlib import suppress

from hydra.core.config_store import ConfigStore

__all__: list[str] = []

with suppress(ImportError):  # without the extra there is no such launcher
    from hydra_plugins.hydra_joblib_launcher import joblib_launcher

    # The preset is conf/hydra/launcher/joblib.yaml, where each key is explained.
    ConfigStore.instance().repo["hydra"]["launcher"].pop("joblib.yaml", None)

    class JoblibLauncher(joblib_launcher.JoblibLauncher):  # type: ignore[misc]  # untyped
        """Runs jobs in worker processes of joblib, several at a time."""

        @property
        def jobs_at_a_time(self) -> int:
            """The number of worker processes."""
            from joblib import effective_n_jobs

            return int(effective_n_jobs(self.joblib["n_jobs"]))
