"""Encoding of many images."""

from torch import Tensor

from vae_lightning.models.eval_mode import eval_mode
from vae_lightning.models.vae import VAE
from vae_lightning.posteriors.distribution import Distribution

__all__ = ["encode_all"]

# Images that are encoded at once, which bounds the memory.
AT_ONCE = 1000


def encode_all(vae: VAE, images: Tensor) -> tuple[Distribution, Distribution]:
    """Return the posteriors of images ``(N, C, H, W)``, encoded in eval mode, and the prior, both on the CPU."""
    weights = next(vae.parameters())
    with eval_mode(vae):
        parts = [vae.encode(part.to(weights)).detach().map(Tensor.cpu) for part in images.split(AT_ONCE)]
        return type(parts[0]).concatenated(parts), vae.prior_distribution().detach().map(Tensor.cpu)
