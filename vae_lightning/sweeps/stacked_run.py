"""One run of a stack."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from lightning.pytorch import Callback
from lightning.pytorch.callbacks import ModelCheckpoint

from vae_lightning.callbacks.curves import Curves
from vae_lightning.callbacks.decoder_bias import DecoderBias
from vae_lightning.callbacks.early_stopping import EarlyStopping
from vae_lightning.callbacks.figures import Figures
from vae_lightning.callbacks.gradient_statistics import GradientStatistics
from vae_lightning.callbacks.linear_probe import LinearProbe
from vae_lightning.callbacks.progress import Progress
from vae_lightning.callbacks.throughput import Throughput
from vae_lightning.config.targets import build
from vae_lightning.data.image_data_module import ImageDataModule
from vae_lightning.models.vae import VAE
from vae_lightning.runs.checkpoints import fitting_checkpoint, read_checkpoint
from vae_lightning.runs.run import Run

__all__ = ["COMMON_CALLBACKS", "OWN_CALLBACKS", "StackedRun"]

# Callbacks that serve all models of a stack at once, and callbacks that each run has for itself, with its own view of
# the Trainer.
COMMON_CALLBACKS = (DecoderBias, LinearProbe, Progress, Throughput)
OWN_CALLBACKS = (Curves, EarlyStopping, Figures, GradientStatistics, ModelCheckpoint)


class StackedRun(Run):
    """A run whose model trains within a stack.

    Arguments:
        config: the configuration, every value resolved.
        axes: by short name, the sweep's axes with their values in this run.
        checkpoint: the checkpoint from which the run resumes; None to start from the beginning.

    Attributes:
        vae: the model, with the checkpoint's weights.
        state: the checkpoint's content.
        error: the exception that ended the run; None otherwise.
        pruned: whether the run has been pruned.
        fit: what :meth:`end_fit` has stored, once the run's fit has ended.
        seconds: the run's share of the stack's time: of the fit and in total.

    Raises:
        InputError: if the model or a callback cannot be built, or the checkpoint is damaged or does not
            fit the model.
    """

    def __init__(self, config: Mapping[str, Any], axes: Mapping[str, Any], checkpoint: Path | None) -> None:
        super().__init__(config, axes)
        self.state = None if checkpoint is None else read_checkpoint(checkpoint)
        data = build("data", config["data"], ImageDataModule)  # type: ignore[type-abstract]
        self.vae = self.build_model(data, VAE)
        if checkpoint is not None and self.state is not None:
            weights = self.state["state_dict"]
            with fitting_checkpoint(checkpoint):
                self.vae.to(next(iter(weights.values())).dtype).load_state_dict(weights)
        self.error: Exception | None = None
        self.pruned = False
        self.fit: dict[str, Any] | None = None
        self.seconds = {"fit": 0.0, "total": 0.0}

    def end_fit(self, fit: Mapping[str, Any]) -> None:
        super().end_fit(fit)
        self.fit = dict(fit)

    def prune(self, epoch: int, seconds: float) -> None:
        super().prune(epoch, seconds)
        self.pruned = True

    @property
    def restored(self) -> EarlyStopping | None:
        """The callback that has put the weights of an earlier epoch back, if one has."""
        stopping = [callback for callback in self.own_callbacks if isinstance(callback, EarlyStopping)]
        return next((callback for callback in stopping if callback.restored), None)

    @property
    def active(self) -> bool:
        """Whether the run has neither failed nor been pruned."""
        return self.error is None and not self.pruned

    @property
    def common_callbacks(self) -> list[Callback]:
        """The callbacks that serve all models of the stack at once."""
        return [callback for callback in self.callbacks.values() if isinstance(callback, COMMON_CALLBACKS)]

    @property
    def own_callbacks(self) -> list[Callback]:
        """The callbacks that serve this run alone; checkpoints come last, as in a Trainer, and store all states."""
        own = [callback for callback in self.callbacks.values() if isinstance(callback, OWN_CALLBACKS)]
        return sorted(own, key=lambda callback: isinstance(callback, ModelCheckpoint))
