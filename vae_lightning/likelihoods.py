"""How likely pixels are, given what the decoder says of them."""

import math
from abc import ABC, abstractmethod

import torch
from torch import Tensor, nn
from torch.nn import functional as F

__all__ = ["Bernoulli", "ContinuousBernoulli", "Gaussian", "Likelihood"]


class Likelihood(nn.Module, ABC):
    """p(x|z) of independent pixels, from the decoder's output, one number a pixel (``logits``)."""

    # What log p(x) means under it, for who reads an evaluation.
    meaning: str

    @abstractmethod
    def nll(self, logits: Tensor, images: Tensor) -> Tensor:
        """-log p(x|z) summed over the pixels, in nats per image, ``(...)``.

        Arguments:
            logits: ``(..., C, H, W)``.
            images: values in [0, 1], of the same shape or one that expands to it.
        """

    def mean(self, logits: Tensor) -> Tensor:
        """The expected image, in [0, 1], of the same shape."""
        return logits.sigmoid()


class Bernoulli(Likelihood):
    r"""Bernoulli pixels, by the log-odds of white.

    .. math:: -\sum_i x_i \log \sigma(l_i) + (1 - x_i) \log(1 - \sigma(l_i))

    It is computed from logits, hence finite for logits of any size. For grey values strictly between 0 and 1 it is
    the cross-entropy that Kingma & Welling's experiments use, not a normalised likelihood.

    References:
        Auto-Encoding Variational Bayes, Kingma and Welling, 2014, appendix C.1 (https://arxiv.org/abs/1312.6114).
    """

    meaning = (
        "Bernoulli: of grey values log p(x|z) is a cross-entropy, and log p(x) no logarithm of a normalised likelihood"
    )

    def nll(self, logits: Tensor, images: Tensor) -> Tensor:
        images = images.expand_as(logits)
        return F.binary_cross_entropy_with_logits(logits, images, reduction="none").flatten(-3).sum(-1)


class ContinuousBernoulli(Likelihood):
    r"""Grey values with the density that is proportional to a Bernoulli's probability, and normalised on [0, 1].

    .. math:: p(x) = C(l) \, \sigma(l)^x (1 - \sigma(l))^{1 - x}, \qquad C(l) = \frac{l}{\tanh(l / 2)}

    References:
        The continuous Bernoulli: fixing a pervasive error in variational autoencoders, Loaiza-Ganem and Cunningham,
        2019 (https://arxiv.org/abs/1907.06845), equations 4 to 7 with the logit l of lambda.
    """

    meaning = "continuous Bernoulli: a density of grey values in [0, 1]"

    # Below it, series: their next terms are under 1e-9, and the quotients would lose more.
    _SMALL = 0.05

    def nll(self, logits: Tensor, images: Tensor) -> Tensor:
        images = images.expand_as(logits)
        cross_entropy = F.binary_cross_entropy_with_logits(logits, images, reduction="none")
        small = logits.abs() < self._SMALL
        # Nothing undefined may be computed even where it is not used, for its gradient would be.
        far = logits.abs().masked_fill(small, 1.0)
        squared = logits.masked_fill(~small, 0.0).square()
        log_norm = torch.where(
            small,
            math.log(2) + squared / 12 - 7 * squared.square() / 1440,
            far.log() - torch.log(torch.tanh(far / 2)),
        )
        return (cross_entropy - log_norm).flatten(-3).sum(-1)

    def mean(self, logits: Tensor) -> Tensor:
        """The expected image: 1 / (1 - exp(-l)) - 1 / l."""
        small = logits.abs() < self._SMALL
        far = logits.abs().masked_fill(small, 1.0)
        near = logits.masked_fill(~small, 0.0)
        above = 1 / -torch.expm1(-far) - 1 / far  # of |l|; that of -l is what is missing to 1
        return torch.where(small, 0.5 + near / 12 - near**3 / 720, torch.where(logits > 0, above, 1 - above))


class Gaussian(Likelihood):
    r"""Pixels normal around the sigmoid of the decoder's output, with one variance for all of them, which is learned.

    .. math:: \sum_i \tfrac{1}{2} \frac{(x_i - \sigma(l_i))^2}{s^2} + \log s + \tfrac{1}{2} \log 2 \pi

    It is a density: its logarithm may be positive.

    References:
        Simple and Effective VAE Training with Calibrated Decoders, Rybkin, Daniilidis and Levine, 2021
        (https://arxiv.org/abs/2006.13202), section 3.
    """

    meaning = "Gaussian: a density of real values, with one learned variance"

    def __init__(self) -> None:
        super().__init__()
        self.log_scale = nn.Parameter(torch.zeros(1))  # log s; a dimension, since a stack's has its models there

    def nll(self, logits: Tensor, images: Tensor) -> Tensor:
        pixels = math.prod(logits.shape[-3:])
        squares = (images - logits.sigmoid()).square().flatten(-3).sum(-1)
        constant = self.log_scale + 0.5 * math.log(2 * math.pi)
        return 0.5 * squares * torch.exp(-2 * self.log_scale) + pixels * constant
