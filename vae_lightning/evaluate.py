"""vae-eval: evaluate a run's checkpoint again."""

from pathlib import Path

from omegaconf import DictConfig, OmegaConf

from vae_lightning.checks import InputError, check, check_config, one_of
from vae_lightning.command import resolved, run_command
from vae_lightning.processes import local_devices
from vae_lightning.run_directory import (
    CONFIG,
    EVALUATION,
    checkpoint_path,
    read_config,
    stored_metrics,
    write_json,
)

__all__ = ["evaluate", "main"]


def main() -> None:
    """The console script."""
    run_command(evaluate, "evaluate")


def evaluate(cfg: DictConfig) -> dict[str, float]:
    """Test and probe a run's checkpoint as ``conf/evaluate.yaml`` says; write ``evaluation.json`` into the run.

    Returns:
        Losses in nats per image and accuracies in [0, 1], by their names in ``metrics.json``.

    Raises:
        InputError: if there is no such run or checkpoint, or one of its files is not what a run writes.
    """
    if OmegaConf.is_missing(cfg, "run"):
        raise InputError("run: must be a run directory, e.g. run=outputs/runs/2026-01-31_12-00-00")
    options = resolved(cfg)
    check(options, {"checkpoint": one_of("last", "best")})
    run = Path(options["run"])
    checkpoint = checkpoint_path(run, options["checkpoint"])
    for file in (run / CONFIG, checkpoint):
        if not file.is_file():
            raise InputError(f"run={run}: must be a run directory, and {file} is not there")
    if local_devices(options["trainer"]) > 1:
        raise InputError(f"trainer.devices={options['trainer']['devices']}: must be 1, for one device evaluates")
    config = read_config(run)
    config["data"] |= {key: value for key, value in options["data"].items() if value is not None}
    check_config(config | {"trainer": options["trainer"]})

    # Only now, since they take seconds to import.
    import lightning.pytorch as pl

    from vae_lightning.checkpoints import read_checkpoint
    from vae_lightning.probe import LinearProbe
    from vae_lightning.targets import build, find_class
    from vae_lightning.train import quiet

    quiet()
    data = build("data", config["data"], pl.LightningDataModule)
    model_class = find_class("model._target_", config["model"]["_target_"], pl.LightningModule)
    read_checkpoint(checkpoint)  # refused here if damaged
    try:
        model = model_class.load_from_checkpoint(checkpoint, map_location="cpu", weights_only=True)
    except (RuntimeError, KeyError, TypeError) as error:  # of another architecture
        raise InputError(f"{checkpoint}: does not fit the model: {' '.join(str(error).split())}") from error
    callbacks = [build("callbacks.probe", node, LinearProbe) for node in [config["callbacks"].get("probe")] if node]
    trainer = build(
        "trainer", options["trainer"], pl.Trainer, callbacks=callbacks, logger=False, enable_progress_bar=False
    )
    trainer.test(model, datamodule=data, verbose=False)
    metrics = {name: float(value) for name, value in trainer.callback_metrics.items() if "/" in name}
    write_json(run / EVALUATION, {"checkpoint": options["checkpoint"], **metrics})
    _print_beside_stored(metrics, run, options["checkpoint"])
    return metrics


def _print_beside_stored(metrics: dict[str, float], run: Path, checkpoint: str) -> None:
    stored = stored_metrics(run) or {}
    print(f"\n{checkpoint + '.ckpt':18}{'now':>22}{'at the end of the run':>26}")
    for name, value in metrics.items():
        print(f"{name:18}{value:>22}{stored.get(name, '-'):>26}")
    print(f"\nwritten to {run / EVALUATION}")


if __name__ == "__main__":
    main()
