"""The standard normal prior."""

from torch import Tensor

from vae_lightning.priors.prior import Prior

__all__ = ["StandardNormal"]


class StandardNormal(Prior):
    """N(0, I).

    References:
        Auto-Encoding Variational Bayes, Kingma and Welling, 2014, section 3 (https://arxiv.org/abs/1312.6114).
    """

    def sample(self, noise: Tensor) -> Tensor:
        return noise
