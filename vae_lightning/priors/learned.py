"""The posterior's family with learned parameters as a prior."""

import torch
from torch import Tensor, nn

from vae_lightning.posteriors.distribution import Distribution
from vae_lightning.posteriors.posterior import Posterior
from vae_lightning.priors.prior import Encoding, Prior

__all__ = ["Learned"]


class Learned(Prior):
    r"""A member of the posterior's family, with learned parameters that are the same for all images.

    .. math:: p(z) = \prod_d q(z_d; \theta_d)

    In place of an encoder's output for an image, the family gets a vector that is trained with the model. It starts at
    0: fair coins, equal probabilities of the categories, N(0, I) for a Gaussian. The latent variables must be
    independent of each other in the posterior.

    References:
        Neural Variational Inference and Learning in Belief Networks, Mnih and Gregor, 2014
        (https://arxiv.org/abs/1402.0030): the top layer of a sigmoid belief network, whose biases are learned.
    """

    factorised = True
    any_batch = True
    independent = True

    def prepare(self, posterior: Posterior) -> None:
        self.encoded = nn.Parameter(torch.zeros(1, posterior.outputs))

    def forward(self, model: Encoding, like: Tensor) -> Distribution:
        distribution: Distribution = model.posterior(self.encoded)
        return distribution
