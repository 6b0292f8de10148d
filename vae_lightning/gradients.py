"""How far a gradient estimator is off, and how noisy it is, in the course of training."""

from collections.abc import Iterable
from typing import NamedTuple

import torch
from lightning.pytorch import Callback, LightningModule, Trainer
from torch import Tensor

from vae_lightning.checks import GRADIENTS, InputError, check
from vae_lightning.estimators import Reparameterization
from vae_lightning.streams import NormalStream, generator
from vae_lightning.vae import VAE, draw, exactly

__all__ = ["GradientError", "GradientStatistics", "gradient_error"]


class GradientError(NamedTuple):
    """A gradient estimator against a reference, relative to the reference's norm.

    Attributes:
        bias: the norm of what the mean estimate is off by, the square freed from what noise adds to it in expectation;
            0 if nothing is left.
        noise: what ``bias`` would be for an unbiased estimator if noise were not taken off: a smaller bias is not seen.
        variance: of a single estimate, added up over its elements, relative to the squared norm.
        norm: of the reference, in nats per image.
    """

    bias: float
    noise: float
    variance: float
    norm: float


def gradient_error(estimates: Iterable[Tensor], references: Iterable[Tensor]) -> GradientError:
    """Compare estimates of a gradient with others that are known to be unbiased.

    Arguments:
        estimates: two or more vectors ``(P,)``, drawn independently.
        references: likewise.
    """
    (mean, error, variance), (reference, own_error, _) = _moments(estimates), _moments(references)
    norm = reference.norm()
    noise = error + own_error
    bias = ((mean - reference).square().sum() - noise).clamp(min=0)
    return GradientError(
        *(float(value) for value in (bias.sqrt() / norm, noise.sqrt() / norm, variance / norm**2, norm))
    )


def _moments(vectors: Iterable[Tensor]) -> tuple[Tensor, Tensor, Tensor]:
    """The mean, and added up over elements its squared standard error and the variance; by Welford's recursion."""
    count, mean, squares = 0, torch.zeros(()), torch.zeros(())
    for vector in vectors:
        count += 1
        change = vector.double() - mean
        mean = mean + change / count
        squares = squares + (change * (vector.double() - mean)).sum()
    variance = squares / (count - 1)
    return mean, variance / count, variance


class GradientStatistics(Callback):
    """Logs the error of the encoder's gradient as ``gradient/bias``, ``noise``, ``variance`` and ``norm``.

    The gradient is that of the model's objective on the same images each time, by the model's estimator and in its own
    precision; the reference is the reparameterised gradient in double precision. See :class:`GradientError`.

    Arguments:
        every_n_epochs: how often.
        images: how many, the first of the (shuffled) training images.
        estimates: how many are drawn of the estimator.
        references: how many are drawn of the reference.

    Raises:
        InputError: if an argument is not what :mod:`vae_lightning.checks` allows, or the Trainer has no datamodule.
    """

    def __init__(self, every_n_epochs: int = 1, images: int = 64, estimates: int = 1000, references: int = 500) -> None:
        given = {"every_n_epochs": every_n_epochs, "images": images, "estimates": estimates, "references": references}
        check(given, GRADIENTS)
        self.every_n_epochs, self.images = every_n_epochs, images
        self.estimates, self.references = estimates, references

    def setup(self, trainer: Trainer, pl_module: LightningModule, stage: str) -> None:
        if trainer.datamodule is None:  # type: ignore[attr-defined]
            raise InputError("GradientStatistics needs a datamodule: pass datamodule=... to the Trainer's fit")

    def on_train_epoch_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        if (trainer.current_epoch + 1) % self.every_n_epochs:
            return
        assert isinstance(pl_module, VAE), f"GradientStatistics needs a VAE, and this is a {type(pl_module).__name__}"
        images = self._first_images(trainer.datamodule, pl_module)  # type: ignore[attr-defined]
        reference = type(pl_module)(**pl_module.hparams).to(pl_module.device)
        reference.load_state_dict(pl_module.state_dict())
        reference.double().estimator = Reparameterization()
        with torch.enable_grad():  # the Trainer calls this without
            error = gradient_error(
                *(
                    self._gradients(vae, images, count, trainer, place)
                    for place, (vae, count) in enumerate([(pl_module, self.estimates), (reference, self.references)])
                )
            )
        for name, value in error._asdict().items():
            pl_module.log(f"gradient/{name}", exactly(value), sync_dist=False)

    def _first_images(self, data: object, vae: VAE) -> Tensor:
        parts, count = [], 0
        for images, _ in data.train_dataloader():  # type: ignore[attr-defined]
            parts.append(images.flatten(0, -1 - len(vae.image_shape)))
            count += len(parts[-1])
            if count >= self.images:
                break
        return torch.cat(parts)[: self.images].to(vae.device)

    def _gradients(self, vae: VAE, images: Tensor, count: int, trainer: Trainer, place: int) -> Iterable[Tensor]:
        weights = list(vae.encoder.parameters())
        images = images.to(weights[0])
        source = generator(vae.seed, "gradient", trainer.current_epoch, place)
        noise = NormalStream(source, vae.latent_dim, vae.device, weights[0].dtype)
        samples = vae.objective.samples
        for _ in range(count):
            draws = draw(vae, images, noise.draw(samples * len(images)).view(samples, len(images), -1))
            loss = vae.estimator.loss(vae.objective(draws, trainer.global_step), draws).mean()
            yield torch.cat([gradient.flatten() for gradient in torch.autograd.grad(loss, weights)])
