"""The standard prior."""

from torch import Tensor

from vae_lightning.posteriors.distribution import Distribution
from vae_lightning.priors.prior import Encoding, Prior

__all__ = ["Standard"]


class Standard(Prior):
    """The standard distribution on the support of the posterior: N(0, I) for real numbers.

    See :meth:`vae_lightning.posteriors.Posterior.standard` of each family.

    References:
        Auto-Encoding Variational Bayes, Kingma and Welling, 2014, section 3 (https://arxiv.org/abs/1312.6114).
    """

    factorised = True
    any_batch = True

    def forward(self, model: Encoding, like: Tensor) -> Distribution:
        return model.posterior.standard(like)


# The name in earlier versions.
StandardNormal = Standard
