"""The mixture prior."""

from collections.abc import Sequence

import torch
from torch import Tensor, nn

from vae_lightning.config.arguments import checked
from vae_lightning.posteriors.gaussian import GaussianDistribution
from vae_lightning.posteriors.mixture import MixtureDistribution
from vae_lightning.priors.prior import Encoding, Prior

__all__ = ["Mixture"]


class Mixture(Prior):
    r"""A learned mixture of Gaussians with diagonal covariances.

    .. math:: p(z) = \sum_k \pi_k \, \mathcal{N}(z; m_k, \operatorname{diag}(s_k^2))

    Weights, means and variances are trained with the model. The components start with means from N(0, I), so that they
    differ, and unit variances.

    Arguments:
        latent_dim: number of latent variables.
        image_shape: ``(C, H, W)``, not used.
        components: number of components.

    Raises:
        InputError: if ``components`` breaks its rule (:mod:`vae_lightning.priors.rules`).

    References:
        VAE with a VampPrior, Tomczak and Welling, 2018, section 2 (https://arxiv.org/abs/1705.07120): the mixture of
        Gaussians.
    """

    support = "real numbers"
    any_batch = True

    @checked
    def __init__(self, latent_dim: int, image_shape: Sequence[int], components: int = 10) -> None:
        super().__init__(latent_dim, image_shape)
        self.logits = nn.Parameter(torch.zeros(components))
        self.mu = nn.Parameter(torch.randn(components, latent_dim))
        self.logvar = nn.Parameter(torch.zeros(components, latent_dim))

    def forward(self, model: Encoding, like: Tensor) -> MixtureDistribution:
        components = GaussianDistribution(self.mu.unsqueeze(-3), self.logvar.unsqueeze(-3))
        return MixtureDistribution(self.logits.unsqueeze(-2), components)
