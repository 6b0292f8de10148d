"""vae-explore: a local page to play with a finished run."""

from pathlib import Path

from omegaconf import DictConfig

from vae_lightning.commands.command import run_command
from vae_lightning.commands.rules import EXPLORE as RULES
from vae_lightning.commands.scripts import started
from vae_lightning.config.extras import check_installed
from vae_lightning.config.resolving import resolved
from vae_lightning.config.rules import check
from vae_lightning.explorer.address import bound
from vae_lightning.runs.checking import check_config
from vae_lightning.runs.directory import find_checkpoint
from vae_lightning.runs.stored_config import read_config
from vae_lightning.signals import resumes_by

__all__ = ["explore", "main"]


def main() -> None:
    """Run the console script."""
    with started("vae-explore"):
        run_command(explore, "explore", bare="run")


def explore(cfg: DictConfig) -> None:
    """Serve the page that ``conf/explore.yaml`` describes until the process is interrupted; write nothing.

    Raises:
        InputError: if a key breaks its rule (:mod:`vae_lightning.commands.rules`), there is no such run, checkpoint,
            split or free port, one of a run's files is damaged or was not written by a run, its data cannot be found,
            or the extra ``explore`` is not installed.
    """
    options = resolved(cfg)
    check(options, RULES)
    check_installed("vae-explore", "explore", "nicegui")
    moved = {key: value for key, value in options["data"].items() if value is not None}
    runs = [Path(run) for run in (options["run"], options["other"]) if run is not None]
    for run in runs:
        find_checkpoint(run, options["checkpoint"])
        config = read_config(run)
        check_config({**config, "data": config["data"] | moved})

    with bound(options["port"]) as listening:
        # Imported here because they take seconds.
        from vae_lightning.explorer.explored_run import ExploredRun
        from vae_lightning.explorer.server import serve
        from vae_lightning.runs.warnings import filter_warnings

        filter_warnings()
        loading = (options["checkpoint"], moved, options["split"], options["images"])
        explored = [ExploredRun.load(run, *loading) for run in runs]
        resumes_by(lambda: "the page is closed")
        serve(explored, runs, listening, options["browser"])


if __name__ == "__main__":
    main()
