"""The VampPrior: a mixture of the posteriors of learned pseudo-inputs."""

from collections.abc import Sequence

import torch
from torch import Tensor, nn

from vae_lightning.config.arguments import checked
from vae_lightning.posteriors.mixture import MixtureDistribution
from vae_lightning.priors.prior import Encoding, Prior

__all__ = ["Vamp"]


class Vamp(Prior):
    r"""The mixture of the posteriors of K learned images, the pseudo-inputs.

    .. math:: p(z) = \frac{1}{K} \sum_k q(z|u_k)

    It approximates the best prior, which is the mean of the posteriors of all images. The posterior can be of any
    family. Each evaluation encodes the pseudo-inputs, so that the encoder gets a gradient from the prior as well.

    Arguments:
        latent_dim: number of latent variables.
        image_shape: ``(C, H, W)``.
        components: K, the number of pseudo-inputs.

    Raises:
        InputError: if ``components`` breaks its rule (:mod:`vae_lightning.priors.rules`).

    References:
        VAE with a VampPrior, Tomczak and Welling, 2018, equation 10 (https://arxiv.org/abs/1705.07120).
    """

    any_batch = True
    encodes = True

    @checked
    def __init__(self, latent_dim: int, image_shape: Sequence[int], components: int = 50) -> None:
        super().__init__(latent_dim, image_shape)
        # The images are the sigmoid of these, which keeps them in [0, 1]. They start dark and nearly the same, so that
        # what they learn is visible.
        self.logits = nn.Parameter(0.1 * torch.randn(components, *image_shape) - 2)

    def images(self) -> Tensor:
        """Return the pseudo-inputs, ``(K, C, H, W)``, in [0, 1]."""
        return self.logits.sigmoid()

    def forward(self, model: Encoding, like: Tensor) -> MixtureDistribution:
        components = model.encode(self.images()).as_components()
        shape = self.logits.shape[: self.logits.dim() - len(self.image_shape)]
        return MixtureDistribution(self.logits.new_zeros(shape).unsqueeze(-2), components)
