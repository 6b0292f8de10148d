"""A VAE in the way of github.com/ashleve/lightning-hydra-template, for peers.py.

    STAMPS=FILE python benchmarks/peer_lightning.py -m data.data_dir=DIR model.latent_dim=10,20

DIR holds the MNIST files where torchvision looks for them. As there: Hydra composes ``peer_lightning.yaml`` and builds
data, model, callbacks, loggers and Trainer from it; torchvision's MNIST with ToTensor is in a DataLoader without
workers; a torchmetrics' mean is logged by epoch, as CSV and to TensorBoard; ModelCheckpoint keeps the best and the last
weights, and the best are tested. Other than there, all 60,000 images train, as in ``experiment=article``.
"""

from collections.abc import Callable, Iterator
from typing import Any

import hydra
import torch
from article import ArticleVAE
from hydra.utils import instantiate
from lightning.pytorch import LightningDataModule, LightningModule, seed_everything
from omegaconf import DictConfig
from torch import Tensor
from torch.nn import Parameter
from torch.nn import functional as F
from torch.utils.data import DataLoader
from torchmetrics import MeanMetric
from torchvision.datasets import MNIST
from torchvision.transforms import ToTensor


class MNISTDataModule(LightningDataModule):
    """torchvision's MNIST in DataLoaders."""

    def __init__(self, data_dir: str, batch_size: int, num_workers: int, pin_memory: bool) -> None:
        super().__init__()
        self.save_hyperparameters(logger=False)
        self.data_dir = data_dir
        self.options: dict[str, Any] = {"batch_size": batch_size, "num_workers": num_workers, "pin_memory": pin_memory}

    def setup(self, stage: str | None = None) -> None:
        self.train, self.test = (MNIST(self.data_dir, train, ToTensor()) for train in (True, False))

    def train_dataloader(self) -> DataLoader[tuple[Tensor, int]]:
        return DataLoader(self.train, shuffle=True, **self.options)

    def test_dataloader(self) -> DataLoader[tuple[Tensor, int]]:
        return DataLoader(self.test, shuffle=False, **self.options)


class VAEModule(LightningModule):
    """The article's VAE."""

    def __init__(self, latent_dim: int, optimizer: Callable[[Iterator[Parameter]], torch.optim.Optimizer]) -> None:
        super().__init__()
        self.save_hyperparameters(ignore="optimizer", logger=False)  # torch would not read it from a checkpoint
        self.net, self.optimizer = ArticleVAE(latent_dim), optimizer
        self.train_loss, self.test_loss = MeanMetric(), MeanMetric()

    def model_step(self, batch: tuple[Tensor, Tensor]) -> Tensor:
        x = batch[0].flatten(1)
        logits, mu, logvar = self.net(x)
        recon = F.binary_cross_entropy_with_logits(logits, x, reduction="sum")
        return (recon - 0.5 * torch.sum(1 + logvar - mu.pow(2) - logvar.exp())) / len(x)

    def training_step(self, batch: tuple[Tensor, Tensor], batch_idx: int) -> Tensor:
        loss = self.model_step(batch)
        self.train_loss(loss)
        self.log("train/loss", self.train_loss, on_step=False, on_epoch=True, prog_bar=True)
        return loss

    def test_step(self, batch: tuple[Tensor, Tensor], batch_idx: int) -> None:
        self.test_loss(self.model_step(batch))
        self.log("test/loss", self.test_loss, on_step=False, on_epoch=True, prog_bar=True)

    def configure_optimizers(self) -> torch.optim.Optimizer:
        return self.optimizer(self.parameters())


@hydra.main(version_base="1.3", config_path=".", config_name="peer_lightning")
def main(cfg: DictConfig) -> float:
    if cfg.seed is not None:
        seed_everything(cfg.seed, workers=True)
    data, model = instantiate(cfg.data), instantiate(cfg.model)
    callbacks = [instantiate(callback) for callback in cfg.callbacks.values()]
    loggers = [instantiate(logger) for logger in cfg.logger.values()]
    trainer = instantiate(cfg.trainer, callbacks=callbacks, logger=loggers)
    trainer.fit(model, datamodule=data)
    loss = float(trainer.callback_metrics["train/loss"])
    trainer.test(model, datamodule=data, ckpt_path=trainer.checkpoint_callback.best_model_path)
    return loss


if __name__ == "__main__":
    main()
