"""The Bernoulli likelihood."""

from torch import Tensor
from torch.nn import functional as F

from vae_lightning.likelihoods.likelihood import Likelihood

__all__ = ["Bernoulli"]


class Bernoulli(Likelihood):
    r"""Bernoulli pixels, given the log-odds of white.

    .. math:: -\sum_i \left[ x_i \log \sigma(l_i) + (1 - x_i) \log(1 - \sigma(l_i)) \right]

    This is computed from logits, and is therefore finite for logits of any size. For grey values strictly between 0 and
    1 it is the cross-entropy that Kingma and Welling's experiments use, not a normalised likelihood.

    References:
        Auto-Encoding Variational Bayes, Kingma and Welling, 2014, appendix C.1 (https://arxiv.org/abs/1312.6114).
    """

    any_batch = True
    support = (0.0, 1.0)
    meaning = (
        "Bernoulli: for grey values log p(x|z) is a cross-entropy, and log p(x) is not the logarithm of a normalised "
        "likelihood"
    )

    def nll(self, logits: Tensor, images: Tensor) -> Tensor:
        images = images.expand_as(logits)
        return F.binary_cross_entropy_with_logits(logits, images, reduction="none").flatten(-3).sum(-1)
