"""The Gaussian likelihood."""

import math

import torch
from torch import Tensor, nn

from vae_lightning.likelihoods.likelihood import Likelihood

__all__ = ["Gaussian"]


class Gaussian(Likelihood):
    r"""Normally distributed pixels, with the sigmoid of the decoder's output as means and one learned variance for all.

    .. math:: \sum_i \tfrac{1}{2} \frac{(x_i - \sigma(l_i))^2}{s^2} + \log s + \tfrac{1}{2} \log 2 \pi

    It is a density: its logarithm may be positive.

    References:
        Simple and Effective VAE Training with Calibrated Decoders, Rybkin, Daniilidis and Levine, 2021
        (https://arxiv.org/abs/2006.13202), section 3.
    """

    any_batch = True
    meaning = "Gaussian: a density of real values, with one learned variance"

    def __init__(self) -> None:
        super().__init__()
        self.log_scale = nn.Parameter(torch.zeros(1))  # log s; has a dimension, which a stack needs for its models

    def nll(self, logits: Tensor, images: Tensor) -> Tensor:
        pixels = math.prod(logits.shape[-3:])
        squares = (images - logits.sigmoid()).square().flatten(-3).sum(-1)
        constant = self.log_scale + 0.5 * math.log(2 * math.pi)
        return 0.5 * squares * torch.exp(-2 * self.log_scale) + pixels * constant
