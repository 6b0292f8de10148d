"""The continuous Bernoulli likelihood."""

import math

import torch
from torch import Tensor
from torch.nn import functional as F

from vae_lightning.likelihoods.likelihood import Likelihood

__all__ = ["ContinuousBernoulli"]


class ContinuousBernoulli(Likelihood):
    r"""Grey values with a density proportional to the Bernoulli probability, normalised on [0, 1].

    .. math:: p(x) = C(l) \, \sigma(l)^x (1 - \sigma(l))^{1 - x}, \qquad C(l) = \frac{l}{\tanh(l / 2)}

    References:
        The continuous Bernoulli: fixing a pervasive error in variational autoencoders, Loaiza-Ganem and Cunningham,
        2019 (https://arxiv.org/abs/1907.06845), equations 4 to 7, where l is the logit of lambda.
    """

    any_batch = True
    support = (0.0, 1.0)
    meaning = "continuous Bernoulli: a density of grey values in [0, 1]"

    # For smaller |l| series are used, whose next terms are under 1e-9; the quotients would lose more precision.
    _SMALL = 0.05

    def nll(self, logits: Tensor, images: Tensor) -> Tensor:
        images = images.expand_as(logits)
        cross_entropy = F.binary_cross_entropy_with_logits(logits, images, reduction="none")
        small = logits.abs() < self._SMALL
        # Even unused elements must not be undefined, because their gradients would be undefined too.
        far = logits.abs().masked_fill(small, 1.0)
        squared = logits.masked_fill(~small, 0.0).square()
        log_norm = torch.where(
            small,
            math.log(2) + squared / 12 - 7 * squared.square() / 1440,
            far.log() - torch.log(torch.tanh(far / 2)),
        )
        return (cross_entropy - log_norm).flatten(-3).sum(-1)

    def mean(self, logits: Tensor) -> Tensor:
        """Return the expected image: 1 / (1 - exp(-l)) - 1 / l."""
        small = logits.abs() < self._SMALL
        far = logits.abs().masked_fill(small, 1.0)
        near = logits.masked_fill(~small, 0.0)
        above = 1 / -torch.expm1(-far) - 1 / far  # for |l|; the mean for -|l| is 1 minus this
        return torch.where(small, 0.5 + near / 12 - near**3 / 720, torch.where(logits > 0, above, 1 - above))
