"""The terms of the negative evidence lower bound, as pure functions in nats."""

import torch
from torch import Tensor
from torch.nn import functional as F

__all__ = ["bernoulli_nll", "gaussian_kl"]


def bernoulli_nll(logits: Tensor, images: Tensor, event_dims: int = 3) -> Tensor:
    r"""Negative log-likelihood of grey values under independent Bernoulli pixels, summed over the pixels.

    .. math:: -\sum_i x_i \log \sigma(l_i) + (1 - x_i) \log(1 - \sigma(l_i))

    It is computed from logits, hence finite for logits of any size. For grey values strictly between 0 and 1 it is
    the cross-entropy that Kingma & Welling's experiments use, not a normalised likelihood.

    Arguments:
        logits: log-odds of the pixels, ``(..., C, H, W)``.
        images: values in [0, 1], of the same shape or one that expands to it.
        event_dims: how many trailing dimensions make one image.

    Returns:
        Nats per image, shape ``(...)``.

    References:
        Auto-Encoding Variational Bayes, Kingma and Welling, 2014, appendix C.1 (https://arxiv.org/abs/1312.6114).
    """
    images = images.expand_as(logits)
    return F.binary_cross_entropy_with_logits(logits, images, reduction="none").flatten(-event_dims).sum(-1)


def gaussian_kl(mu: Tensor, logvar: Tensor) -> Tensor:
    r"""Kullback-Leibler divergence of N(mu, exp(logvar)) from N(0, I), in nats, for each latent dimension.

    .. math:: -\tfrac{1}{2} (1 + \log \sigma^2 - \mu^2 - \sigma^2)

    Written with ``expm1``, so that it keeps its precision where posterior and prior are nearly the same.

    Arguments:
        mu: posterior means, ``(..., latent_dim)``.
        logvar: logarithms of the posterior variances, of the same shape.

    Returns:
        Nats per latent dimension, of the same shape; the divergence of an image is their sum.

    References:
        Auto-Encoding Variational Bayes, Kingma and Welling, 2014, appendix B (https://arxiv.org/abs/1312.6114).
    """
    return 0.5 * (mu.square() + torch.expm1(logvar) - logvar)
