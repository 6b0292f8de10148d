"""A run's configuration and hyperparameters in trackers."""

from collections.abc import Iterable, Mapping
from typing import Any

from lightning.pytorch.loggers import Logger, MLFlowLogger, TensorBoardLogger, WandbLogger
from omegaconf import OmegaConf
from torch.utils.tensorboard.summary import hparams

__all__ = ["show_config", "show_result"]

# TensorBoard's "custom scalars": the curves that share a chart.
_STAGES = ("train", "val", "test")
LAYOUT = {
    "loss, nats per image": {
        title: ["Multiline", [f"^{stage}/{term}$" for stage in _STAGES]]
        for title, term in {"loss = -ELBO": "loss", "reconstruction": "recon", "KL": "kl"}.items()
    },
    "latents": {
        "probe accuracy": ["Multiline", [f"^probe/{stage}_acc$" for stage in _STAGES]],
        "active units": ["Multiline", [f"^{stage}/active_units$" for stage in _STAGES]],
    },
    "training": {
        "gradient norm": ["Multiline", ["^train/gradient_norm$"]],
        "learning rate": ["Multiline", ["^train/lr$"]],
        "images per second": ["Multiline", ["^speed/images_per_second$"]],
    },
}
# Of runs that measure gradients: a chart with all estimators.
GRADIENTS = {
    "gradients": {
        title: ["Multiline", [f"^gradient/([^/]+/)?{name}$"]]
        for title, name in {
            "variance, relative to the squared norm": "variance",
            "bias, relative to the norm": "bias",
            "seconds": "seconds",
        }.items()
    }
}


def show_config(
    loggers: Iterable[Logger], config: Mapping[str, Any], hyperparameters: Mapping[str, Any], resumes: bool
) -> None:
    """Log the configuration: to TensorBoard as text, with a layout for the curves; to other trackers as parameters.

    TensorBoard's logger also writes the hyperparameters to ``hparams.yaml``.

    Arguments:
        loggers: loggers of unknown trackers are ignored.
        config: the configuration, every value resolved.
        hyperparameters: those of :func:`show_result`.
        resumes: whether the run resumes, so that TensorBoard has the configuration already; the other trackers may lack
            it if the run was killed early.
    """
    for logger in loggers:
        if isinstance(logger, TensorBoardLogger):
            logger.hparams = _plain(hyperparameters)
            if not resumes:
                lines = OmegaConf.to_yaml(dict(config)).splitlines()
                logger.experiment.add_text("config", "\n".join(f"    {line}" for line in lines), 0)
                nodes = [node for node in config["callbacks"].values() if node]
                measured = any(str(node["_target_"]).endswith(".GradientStatistics") for node in nodes)
                logger.experiment.add_custom_scalars({**LAYOUT, **(GRADIENTS if measured else {})})
                logger.save()
        elif isinstance(logger, WandbLogger) or (isinstance(logger, MLFlowLogger) and not _logged_parameters(logger)):
            logger.log_hyperparams(dict(config))


def _logged_parameters(logger: MLFlowLogger) -> Mapping[str, str]:
    """Return the parameters that the record already holds, because MLflow does not allow changing them."""
    parameters: Mapping[str, str] = logger.experiment.get_run(logger.run_id).data.params
    return parameters


def show_result(loggers: Iterable[Logger], hyperparameters: Mapping[str, Any], metrics: Mapping[str, float]) -> None:
    """Log the hyperparameters that distinguish a run to TensorBoard's HParams.

    Arguments:
        loggers: all loggers except TensorBoard's are ignored.
        hyperparameters: by name.
        metrics: the run's final metrics. Only their names are logged, because HParams shows the curves' last points.
    """
    names = [name for name in ("val/loss", "probe/val_acc", "probe/train_acc") if name in metrics]
    for logger in loggers:
        if isinstance(logger, TensorBoardLogger):
            # Lightning's log_hyperparams would add another point to the metrics' curves.
            for summary in hparams(_plain(hyperparameters), dict.fromkeys(names)):
                logger.experiment._get_file_writer().add_summary(summary)
            logger.finalize("success")


def _plain(hyperparameters: Mapping[str, Any]) -> dict[str, Any]:
    """Return the values as numbers and texts, because HParams has no others."""
    return {name: value if isinstance(value, int | float) else str(value) for name, value in hyperparameters.items()}
